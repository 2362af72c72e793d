//! What a process holds: to see leaks.

use std::fs;

use hailort::Library;

use crate::machine::Machine;

/// Counts that are the same again when all is closed.
#[derive(Debug, PartialEq, Eq)]
pub struct Counts {
    threads: usize,
    files: usize,
    mappings_of_hefs: usize,
    handles: u32,
    buffers: usize,
    under_way: usize,
    vdevices: i64,
    infer_models: i64,
    configured_models: i64,
    device_threads: i64,
}

impl Counts {
    pub fn now(machine: &Machine, library: &Library) -> Self {
        Self {
            threads: entries("/proc/self/task"),
            files: entries("/proc/self/fd"),
            mappings_of_hefs: fs::read_to_string("/proc/self/maps").unwrap().matches(".hef").count(),
            handles: library.open_handles(),
            buffers: hailort::buffers(),
            under_way: hailort::under_way(),
            vdevices: machine.counter("vdevices"),
            infer_models: machine.counter("infer_models"),
            configured_models: machine.counter("configured_models"),
            device_threads: machine.counter("threads"),
        }
    }

    /// Those that inferences without an end do not change.
    pub fn without_abandoned(self) -> Self {
        Self { buffers: 0, under_way: 0, ..self }
    }

    /// After what makes libhailort set itself up.
    pub fn at_rest(machine: &Machine) -> (Library, Self) {
        let library = machine.library();
        drop(machine.image());
        let counts = Self::now(machine, &library);
        assert_eq!((counts.handles, counts.buffers, counts.under_way), (0, 0, 0));
        (library, counts)
    }
}

fn entries(folder: &str) -> usize {
    fs::read_dir(folder).unwrap().count()
}

/// Memory of this process, to be compared after many rounds of the same.
pub struct Memory {
    in_use: usize,
    resident: usize,
}

impl Memory {
    pub fn now() -> Self {
        let info = mallinfo2();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let resident: usize = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
        Self { in_use: info.uordblks + info.hblkhd, resident: resident << 10 }
    }

    /// The heap holds no more than before. What is resident may grow a little, since the allocator keeps
    /// what was freed in pieces; a frame of a picture lost each time would be hundreds of megabytes.
    #[track_caller]
    pub fn check_flat(self) {
        let now = Self::now();
        let (in_use, resident) =
            (now.in_use.saturating_sub(self.in_use), now.resident.saturating_sub(self.resident));
        assert!(in_use < 64 << 10, "{in_use} bytes more in use");
        assert!(resident < 8 << 20, "{resident} bytes more resident");
    }
}

/// glibc's account of all its arenas.
#[repr(C)]
struct MallInfo2 {
    arena: usize,
    ordblks: usize,
    smblks: usize,
    hblks: usize,
    /// Bytes in mappings of their own.
    hblkhd: usize,
    usmblks: usize,
    fsmblks: usize,
    /// Bytes in use.
    uordblks: usize,
    fordblks: usize,
    keepcost: usize,
}

// SAFETY: as malloc.h declares it; it takes nothing, and may be called at any time.
unsafe extern "C" {
    safe fn mallinfo2() -> MallInfo2;
}
