//! Loading the shim, and the devices that are there.

use std::{fs, path::Path, process::Command};

use hailort::{Architecture, Error, Library, LoadError, OpenError, VDevice, VDeviceParams};

use crate::machine::{GENERATIONS, HAILO_8, HAILO_10H, KINDS, Machine, on, run};

const SHIM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../hailort-sys/shim");

/// A shared library of this C code.
fn compile(folder: &Path, name: &str, code: &str, more: &[&str]) {
    let source = folder.join(format!("{name}.c"));
    fs::write(&source, code).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-I", SHIM, "-L"])
        .arg(folder)
        .args(["-Wl,-z,lazy", "-o"])
        .arg(folder.join(name))
        .arg(source)
        .args(more)
        .output()
        .expect("a C compiler is there; \"make packages-test\" installs it");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
}

fn refusal(path: &Path) -> LoadError {
    match Library::open(path).unwrap_err() {
        OpenError::Load(error) => error,
        other => panic!("{other}"),
    }
}

const ABI: &str = "unsigned hailort_shim_abi(void) { return 1; }\n";

#[test]
fn a_library_that_cannot_be_used_says_why() {
    on(&[HAILO_8], |machine| {
        let folder = &machine.folder;
        let missing = refusal(&folder.join("no-such-file.so"));
        assert!(matches!(missing, LoadError::Missing), "{missing}");

        fs::write(folder.join("text.so"), "no library").unwrap();
        let refused = refusal(&folder.join("text.so"));
        assert!(matches!(refused, LoadError::Refused(_)), "{refused}");

        compile(folder, "other.so", "int other;", &[]);
        let no_shim = refusal(&folder.join("other.so"));
        assert!(matches!(no_shim, LoadError::MissingSymbol("hailort_shim_abi")), "{no_shim}");

        compile(folder, "half.so", ABI, &[]);
        let half = refusal(&folder.join("half.so"));
        assert!(matches!(half, LoadError::MissingSymbol("hailort_shim_built_for")), "{half}");

        compile(folder, "future.so", &ABI.replace('1', "2"), &[]);
        let future = refusal(&folder.join("future.so"));
        assert!(matches!(future, LoadError::OtherAbi { found: 2 }), "{future}");

        compile(folder, "libhailort.so", "int hailort;", &["-Wl,-soname,libhailort.so.9.8.7"]);
        compile(folder, "orphan.so", ABI, &["-Wl,--no-as-needed", "-lhailort"]);
        let orphan = refusal(&folder.join("orphan.so"));
        assert!(
            matches!(&orphan, LoadError::MissingDependency(name) if name == "libhailort.so.9.8.7"),
            "{orphan}"
        );

        let call = format!("int elsewhere(void);\nint here(void) {{ return elsewhere(); }}\n{ABI}");
        compile(folder, "misfit.so", &call, &[]);
        let misfit = refusal(&folder.join("misfit.so"));
        assert!(matches!(&misfit, LoadError::Refused(why) if why.contains("undefined symbol")), "{misfit}");

        for error in [missing, refused, no_shim, half, future, orphan, misfit] {
            let text = error.to_string();
            assert!(!text.contains('/') && !text.contains('\n'), "{text}");
        }
    });
}

#[test]
fn a_shim_for_another_version_is_refused() {
    on(&[HAILO_8], |machine| {
        let header = fs::read_to_string(Path::new(SHIM).join("hailort_shim.h")).unwrap();
        let mut code = ABI.to_owned();
        for line in header.lines().filter(|line| !line.starts_with(' ')) {
            let Some((before, _)) = line.split_once('(') else { continue };
            let name = before.rsplit([' ', '*']).next().unwrap();
            if !name.starts_with("hailort_shim_") {
                continue;
            }
            code += &match name {
                "hailort_shim_abi" => continue,
                "hailort_shim_built_for" => {
                    format!("int {name}(int *v) {{ v[0] = 4; v[1] = 22; return 0; }}\n")
                }
                "hailort_shim_library_version" => {
                    format!("int {name}(int *v) {{ v[0] = 4; v[1] = 23; return 0; }}\n")
                }
                _ => format!("int {name}(void) {{ return 0; }}\n"),
            };
        }
        compile(&machine.folder, "old.so", &code, &[]);
        let error = Library::open(&machine.folder.join("old.so")).unwrap_err();
        assert!(matches!(error, OpenError::OtherVersion { .. }), "{error}");
        assert_eq!(error.to_string(), "the shim was made for HailoRT 4.22.0, but 4.23.0 is installed");
    });
}

#[test]
fn nothing_is_loaded_into_a_process_without_the_right_environment() {
    for logger_path in [None, Some(""), Some("/var/log")] {
        run(&[HAILO_10H], logger_path, |machine| {
            let error = Library::open(&machine.shim()).unwrap_err();
            assert!(matches!(error, OpenError::Environment), "{error}");
            let loaded = fs::read_to_string("/proc/self/maps").unwrap();
            assert!(!loaded.contains("libhailort"), "it would write a log");
        });
    }
}

#[test]
fn devices_say_who_they_are() {
    on(&KINDS, |machine| {
        machine.set("devices", "2");
        machine.set("serial", "HL0000000000007");
        machine.set("board", "A board with thirty-two letters!");
        let library = machine.library();
        assert_eq!(library.version().to_string(), machine.kind.hailort);
        let devices = library.scan().unwrap();
        let names: Vec<String> = devices.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["0000:01:00.0", "0001:01:00.0"]);
        let expected = match machine.kind.architecture {
            "hailo8" => Architecture::Hailo8,
            "hailo8l" => Architecture::Hailo8L,
            _ => Architecture::Hailo10H,
        };
        let identity = library.identify(&devices[0]).unwrap();
        assert_eq!(identity.device_id, names[0]);
        assert_eq!(identity.architecture, expected);
        assert_eq!(identity.firmware, library.version());
        assert_eq!(identity.board_name, "A board with thirty-two letters!");
        assert_eq!(identity.serial_number, "HL0000000000007");

        let params = VDeviceParams { group: None, device_ids: vec![devices[1].clone()] };
        let vdevice = VDevice::open(&library, &params).unwrap();
        let identities = vdevice.identities().unwrap();
        assert_eq!(identities.len(), 1);
        assert_eq!((&identities[0].device_id, identities[0].architecture), (&names[1], expected));
        machine.set("devices", "0");
        assert_eq!(library.scan().unwrap(), []);
    });
}

#[test]
fn sensors_tell_what_they_can() {
    on(&KINDS, |machine| {
        let vdevice = machine.vdevice();
        let health = || vdevice.health(0).unwrap();
        let tells = machine.kind.hailort.starts_with('4');
        assert_eq!(health().throttling, tells.then_some(false));
        machine.set("temperature", "85.5");
        machine.set("throttling", "0");
        assert_eq!(health().temperature, Some(85.5));
        assert_eq!(health().throttling, tells.then_some(true));
        machine.unset("throttling");
        machine.set("overcurrent", "1");
        assert_eq!(health().throttling, tells.then_some(true));
        machine.set("temperature", "none");
        assert_eq!(health().temperature, None);
        assert!(vdevice.health(1).is_err(), "there is one device");
        machine.set("fail_call", "temperature 36");
        assert!(vdevice.health(0).unwrap_err().status().is_lost());
    });
}

#[test]
fn several_devices_are_side_by_side() {
    on(&GENERATIONS, |machine| {
        machine.set("devices", "2");
        let library = machine.library();
        let open = |params: &VDeviceParams| VDevice::open(&library, params);
        let vdevices: Vec<VDevice> = library
            .scan()
            .unwrap()
            .into_iter()
            .map(|id| open(&VDeviceParams { group: None, device_ids: vec![id] }).unwrap())
            .collect();
        assert_eq!(vdevices.len(), 2);
        let busy = |result: Result<VDevice, Error>| result.unwrap_err().status().is_busy();
        assert!(busy(open(&VDeviceParams::default())), "both are taken");
        drop(vdevices);
        let both = VDeviceParams { group: None, device_ids: library.scan().unwrap() };
        // A Hailo-10H cannot.
        assert_eq!(open(&both).is_ok(), machine.kind == HAILO_8);
    });
}

#[test]
fn vdevices_of_a_group_share_their_device() {
    on(&GENERATIONS, |machine| {
        let library = machine.library();
        let group = VDeviceParams { group: Some("hailo-clip".into()), device_ids: Vec::new() };
        let first = VDevice::open(&library, &group).unwrap();
        let second = VDevice::open(&library, &group).unwrap();
        let error = machine.try_vdevice().unwrap_err();
        assert!(error.status().is_busy(), "{error}");
        assert!(first.close().unwrap());
        assert_eq!(second.identities().unwrap().len(), 1);
        assert!(second.close().unwrap());
        drop(machine.vdevice());
    });
}

/// A device node that nobody holds can be locked.
#[test]
fn a_closed_vdevice_lets_another_process_have_the_device() {
    on(&GENERATIONS, |machine: &Machine| {
        let node = machine.folder.join("hailo");
        machine.set("node", node.to_str().unwrap());
        let vdevice = machine.vdevice();
        let node = fs::File::open(machine.folder.join("hailo0")).unwrap();
        assert!(node.try_lock().is_err(), "we hold it");
        assert!(vdevice.close().unwrap());
        node.try_lock().unwrap();
        let error = machine.try_vdevice().unwrap_err();
        assert!(error.status().is_busy(), "{error}");
        assert!(error.to_string().contains("another process holds the Hailo device"), "{error}");
        node.unlock().unwrap();
        drop(machine.vdevice());
    });
}
