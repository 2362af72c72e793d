//! Memory of the service and of the machine, and the disk.

use nix::sys::statvfs::statvfs;

use crate::{
    doctor::{
        finding::{Check, Outcome},
        machine::Machine,
    },
    kernel::memory,
};

/// Shares from which memory is short, in percent.
const NEAR_LIMIT: u64 = 90;
const LITTLE: u64 = 10;
const NEXT_TO_NOTHING: u64 = 3;
/// Shares of the last minute in which something, or everything, waited for memory, in percent.
const SOME_STALLED: f64 = 10.0;
const ALL_STALLED: f64 = 5.0;
/// What a disk should have left, in bytes.
const LITTLE_SPACE: u64 = 64 << 20;

pub(super) const LIMIT: Check = Check {
    id: "memory-limit",
    title: "Memory of the service",
    symptom: "the service is killed, or becomes slow as it comes near its limit",
    looks_at: "memory.current, memory.stat, memory.max and memory.events of the control group; kills in the journal of the last day",
    remedy: "raise `resource_limits.memory_max`, or lower `clip.batch_size`, `performance.worker_threads` or `server.max_image_megapixels`",
    run: limit,
};

fn limit(machine: &Machine) -> Outcome {
    let Some(units) = machine.installed_units() else {
        return Outcome::not_applicable("the service does not run under systemd");
    };
    let more = |outcome: Outcome| {
        outcome
            .advise(
                "raise resource_limits.memory_max, or lower clip.batch_size or server.max_image_megapixels",
            )
            .mend("sudoedit /etc/hailo/hailo-clip.yaml")
            .mend("sudo systemctl restart hailo-clip.service")
    };
    if units.service_state.result.as_deref() == Some("oom-kill") {
        return more(Outcome::failure("the service was killed: out of memory"));
    }
    let killed = machine.journal.iter().flatten().any(|record| record.result.as_deref() == Some("oom-kill"));
    let Some(group) = machine.memory() else {
        return if killed {
            more(Outcome::warning("the service was killed within the last day: out of memory"))
        } else {
            Outcome::not_applicable("the service does not run, or the kernel does not account for memory")
        };
    };
    let of = group.limit.map_or_else(|| "no limit".to_owned(), mib);
    let seen = format!("{} in use of {of}, {} cached beside it", mib(group.used), mib(group.cached));
    if group.kills > 0 {
        return more(Outcome::failure("processes of the service were killed: out of memory"))
            .seen(seen)
            .seen(format!("{} kills since it started", group.kills));
    }
    if group.limit.is_some_and(|limit| group.used >= limit / 100 * NEAR_LIMIT) {
        return more(Outcome::warning("the service is near its limit of memory")).seen(seen);
    }
    if killed {
        return more(Outcome::warning("the service was killed within the last day: out of memory"))
            .seen(seen);
    }
    Outcome::ok("the service has memory left").seen(seen)
}

pub(super) const PRESSURE: Check = Check {
    id: "memory-pressure",
    title: "Memory of the machine",
    symptom: "everything is slow, programs are killed; other Hailo services run on the same machine",
    looks_at: "`/proc/meminfo`, `/proc/pressure/memory`, and the memory of other services with hailo in their names",
    remedy: "stop what is not needed, or choose a smaller model",
    run: pressure,
};

fn pressure(machine: &Machine) -> Outcome {
    let Some(memory::Machine { total, available }) = memory::Machine::read(&machine.root) else {
        return Outcome::not_applicable("the kernel does not tell");
    };
    let stalled = machine.read("/proc/pressure/memory").unwrap_or_default();
    let average = |kind: &str| {
        let line = stalled.lines().find_map(|line| line.strip_prefix(kind))?;
        line.split_whitespace().find_map(|word| word.strip_prefix("avg60="))?.parse::<f64>().ok()
    };
    let (some, full) = (average("some ").unwrap_or(0.0), average("full ").unwrap_or(0.0));
    let share = available * 100 / total.max(1);
    let outcome = if share < NEXT_TO_NOTHING || full >= ALL_STALLED {
        Outcome::failure("the machine is out of memory")
    } else if share < LITTLE || some >= SOME_STALLED {
        Outcome::warning("the machine is short of memory")
    } else {
        Outcome::ok("the machine has memory left")
    };
    let short = outcome.verdict.is_fault();
    let mut outcome = outcome
        .seen(format!("{} available of {}", mib(available), mib(total)))
        .seen(format!("waited for memory: something {some:.0} %, everything {full:.0} % of the last minute"));
    let others = machine.units.iter().flat_map(|units| &units.others);
    for (name, memory) in others {
        let memory = memory.map_or_else(|| "unknown memory".to_owned(), mib);
        outcome = outcome.seen(format!("{name}: {memory}"));
    }
    if short {
        outcome = outcome
            .advise("stop what is not needed, or choose a smaller model")
            .mend("ps -eo rss,pid,user,comm --sort=-rss | head");
    }
    outcome
}

pub(super) const DISK: Check = Check {
    id: "disk-space",
    title: "Disk",
    symptom: "models cannot be installed, the shim cannot be compiled",
    looks_at: "free space where models, shim and the journal are",
    remedy: "free some space",
    run: disk,
};

fn disk(machine: &Machine) -> Outcome {
    let mut outcome = Outcome::ok("there is space left");
    for path in ["/var/lib/hailo-clip", "/usr/lib", "/var/log"] {
        let Ok(stat) = statvfs(&machine.within(path)) else { continue };
        let free = stat.blocks_available() * stat.fragment_size();
        let seen = format!("{path}: {} free", mib(free));
        if free < LITTLE_SPACE {
            return Outcome::warning(format!("the disk of {path} is full"))
                .seen(seen)
                .mend("sudo apt-get clean")
                .mend("sudo journalctl --vacuum-size=100M");
        }
        outcome = outcome.seen(seen);
    }
    outcome
}

pub(super) fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
