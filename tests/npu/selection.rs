//! Which processor is taken, and what is said where the NPU cannot be.

use std::fs;

use serde_json::Value;

use crate::{
    common::{
        Daemon,
        simulator::{HAILO_8, HAILO_8L, HAILO_10H, Machine},
    },
    support::*,
};

/// What the service says of an NPU that it cannot use: once forced to it, once free to choose.
#[track_caller]
fn refused(machine: Machine, models: &std::path::Path) -> String {
    let forced = Daemon::on_with_models(machine, "clip: {backend: hailo}\n", models);
    let health = health(&forced);
    assert_eq!(health["status"], "unhealthy", "never the CPU silently: {health}");
    let reason = health["error"].as_str().unwrap().to_owned();
    assert_eq!(embed_text(&forced, "red").status, 503);
    assert_eq!(embed_text(&forced, "red").json()["error"], reason.as_str());
    assert!(!reason.contains('\n') && !reason.contains("/tmp"), "one line, no paths of ours: {reason}");
    let free = forced.restart("clip: {backend: auto}\n");
    let health = wait_for(&free, is_degraded);
    let said = health["error"].as_str().unwrap();
    assert!(said.starts_with(&reason) && said.contains("running on the CPU"), "{said}");
    assert_eq!(health["backend"], "cpu");
    assert_eq!(free.log().matches(&reason).count(), 1, "it is said once: {}", free.log());
    assert_works(&free);
    reason
}

#[track_caller]
fn assert_says(reason: &str, parts: &[&str]) {
    for part in parts {
        assert!(reason.contains(part), "{reason:?} does not say {part:?}");
    }
}

#[test]
fn without_a_device() {
    let machine = Machine::new(HAILO_8);
    machine.unplug(0);
    machine.set("devices", "0");
    assert_says(&refused(machine, &Machine::models()), &["no Hailo device found", "hailo-all"]);
}

#[test]
fn without_a_driver() {
    let machine = Machine::new(HAILO_8);
    machine.unplug(0);
    let pci = machine.root().join("sys/bus/pci/devices/0000:01:00.0");
    fs::create_dir_all(&pci).unwrap();
    fs::write(pci.join("vendor"), "0x1e60\n").unwrap();
    assert_says(&refused(machine, &Machine::models()), &["no driver serves it", "hailo-h10-all", "reboot"]);
}

#[test]
fn without_the_shim() {
    let mut machine = Machine::new(HAILO_8);
    let empty = machine.root().join("nothing");
    fs::create_dir(&empty).unwrap();
    machine.use_shim_dir(empty);
    assert_says(&refused(machine, &Machine::models()), &["shim", "not there", "hailo-clip-build-shim"]);
}

#[test]
fn with_a_shim_whose_library_is_gone() {
    let mut machine = Machine::new(HAILO_8);
    let folder = machine.root().join("shim");
    fs::create_dir(&folder).unwrap();
    // A library that asks for one that is nowhere.
    let status = std::process::Command::new("cc")
        .args(["-shared", "-x", "c", "/dev/null", "-x", "none", "-o"])
        .arg(folder.join("libhailo_clip_shim-4.23.0.so"))
        .args(["-Wl,--no-as-needed", "-Wl,--allow-shlib-undefined"])
        .arg(gone_library(&folder))
        .status()
        .unwrap();
    assert!(status.success());
    fs::remove_file(gone_library(&folder)).unwrap();
    machine.use_shim_dir(folder);
    let reason = refused(machine, &Machine::models());
    assert_says(&reason, &["libgone.so.1 is missing", "hailo-clip-build-shim"]);
}

fn gone_library(folder: &std::path::Path) -> std::path::PathBuf {
    let path = folder.join("libgone.so.1");
    if !path.exists() {
        let status = std::process::Command::new("cc")
            .args(["-shared", "-x", "c", "/dev/null", "-Wl,-soname,libgone.so.1", "-o"])
            .arg(&path)
            .status()
            .unwrap();
        assert!(status.success());
    }
    path
}

#[test]
fn without_the_environment_that_libhailort_needs() {
    let mut machine = Machine::new(HAILO_8);
    machine.spoil_environment();
    assert_says(&refused(machine, &Machine::models()), &["HAILORT_LOGGER_PATH"]);
}

#[test]
fn with_a_driver_of_another_version() {
    let machine = Machine::new(HAILO_8);
    machine.driver("4.20.0");
    assert_says(&refused(machine, &Machine::models()), &["4.23.0", "4.20.0", "same", "full-upgrade"]);

    // The kernel does not tell, but HailoRT notices.
    let machine = Machine::new(HAILO_10H);
    fs::remove_file(machine.root().join("sys/module/hailo_pci/version")).unwrap();
    machine.set("driver", "5.1.1");
    assert_says(&refused(machine, &Machine::models()), &["different versions", "(HailoRT status 76)"]);
}

#[test]
fn with_a_model_for_other_devices() {
    let without = changed_models(|manifest, _| {
        for tower in ["image", "text"] {
            manifest["towers"][tower].as_object_mut().unwrap().remove("hailo8l");
        }
    });
    let reason = refused(Machine::new(HAILO_8L), without.path());
    assert_says(&reason, &["model demo has no encoders for Hailo-8L", "clip.model"]);

    let wrong = changed_models(|manifest, _| {
        manifest["towers"]["image"]["hailo8l"] = manifest["towers"]["image"]["hailo10h"].clone();
    });
    let reason = refused(Machine::new(HAILO_8L), wrong.path());
    assert_says(&reason, &["another kind of Hailo device", "(HailoRT status 93)"]);
}

#[test]
fn with_a_damaged_hef() {
    let altered = changed_models(|_, folder| {
        let file = folder.join("image-hailo8.hef");
        let mut bytes = fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(file, bytes).unwrap();
    });
    let reason = refused(Machine::new(HAILO_8), altered.path());
    assert_says(&reason, &["image-hailo8.hef is altered or damaged", "reinstall"]);

    // Its digest is right, and still it is none.
    let none = changed_models(|manifest, folder| {
        let file = folder.join("image-hailo8.hef");
        fs::write(&file, "no HEF at all").unwrap();
        manifest["towers"]["image"]["hailo8"] = entry(&file);
    });
    assert_says(&refused(Machine::new(HAILO_8), none.path()), &["HEF", "reinstall the model"]);
}

fn entry(file: &std::path::Path) -> Value {
    use sha2::Digest as _;
    let bytes = fs::read(file).unwrap();
    let digest: String = sha2::Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    serde_json::json!({"file": file.file_name().unwrap().to_str(), "size": bytes.len(), "sha256": digest})
}

#[test]
fn with_a_hef_of_another_version_or_too_little_memory() {
    for (call, status, part) in [
        ("create_infer_model", "92", "not a HEF that this HailoRT knows"),
        ("create_infer_model", "91", "the HEF is damaged"),
        ("configure", "81", "not enough memory"),
        ("configure", "71", "not enough memory"),
    ] {
        let machine = Machine::new(HAILO_8);
        machine.set("fail_call", &format!("{call} {status}"));
        assert_says(&refused(machine, &Machine::models()), &[part]);
    }
}

#[test]
fn with_a_device_that_is_not_there() {
    let machine = Machine::new(HAILO_8);
    let daemon = Daemon::on(machine, "clip: {backend: hailo, device: 3}\n");
    let reason = health(&daemon)["error"].as_str().unwrap().to_owned();
    assert_says(&reason, &["clip.device is 3", "one device", "count from 0"]);
}

#[test]
fn a_device_that_comes_later_is_taken() {
    let without = Machine::new(HAILO_10H);
    without.unplug(0);
    without.set("devices", "0");
    let daemon = Daemon::on(without, "clip: {backend: auto}\n");
    assert!(is_degraded(&health(&daemon)));
    machine(&daemon).set("devices", "1");
    machine(&daemon).plug(0);
    wait_for(&daemon, is_real);
    assert_works(&daemon);
}

#[test]
fn nothing_links_to_hailort() {
    let output = std::process::Command::new("ldd").arg(env!("CARGO_BIN_EXE_hailo-clipd")).output().unwrap();
    let libraries = String::from_utf8_lossy(&output.stdout);
    assert!(libraries.contains("libc.so") && !libraries.contains("hailort"), "{libraries}");
}
