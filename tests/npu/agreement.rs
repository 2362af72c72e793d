//! The NPU gives what the CPU gives, as closely as 8 bits allow.

use crate::{
    common::{
        Daemon, models,
        simulator::{HAILO_8L, HAILO_10H, KINDS, Machine},
    },
    support::*,
};

#[test]
fn every_kind_classifies_and_says_what_it_is() {
    for kind in KINDS {
        let daemon = on_npu(kind);
        assert_works(&daemon);
        let health = wait_for(&daemon, |health| health["device"]["temperature_c"].is_number());
        assert!(is_real(&health), "{health}");
        assert_eq!((&health["backend"], &health["model"]), (&"hailo".into(), &"demo".into()));
        let device = &health["device"];
        assert_eq!(device["architecture"], kind.name);
        for version in ["firmware", "library", "driver"] {
            assert_eq!(device[version], kind.hailort, "{device}");
        }
        assert_eq!(classify(&daemon, "red-circle.png").status, 200);
    }
}

#[test]
fn embeddings_agree_with_the_cpu() {
    let texts = [
        "a red circle",
        "two green triangles",
        "a person on a bicycle",
        "an empty shelf",
        "the night sky with a moon",
        "a house with a red roof and a tree beside it",
        "x",
    ];
    let cpu = Daemon::with_models("", &models());
    for kind in KINDS {
        let npu = on_npu(kind);
        let mut images: Vec<f64> = Vec::new();
        for (name, _) in SAMPLES {
            images.push(cosine(&embedding(&embed_image(&cpu, name)), &embedding(&embed_image(&npu, name))));
        }
        let mut captions: Vec<f64> = Vec::new();
        for text in texts {
            captions.push(cosine(&embedding(&embed_text(&cpu, text)), &embedding(&embed_text(&npu, text))));
        }
        let least = |cosines: &[f64]| cosines.iter().copied().fold(1.0, f64::min);
        println!("{}: images {:.4}, texts {:.4} at least", kind.name, least(&images), least(&captions));
        assert!(least(&images) >= 0.98, "{images:?}");
        assert!(least(&captions) >= 0.98, "{captions:?}");
        assert!(least(&images) < 1.0 && least(&captions) < 1.0, "it is quantised");
    }
}

#[test]
fn towers_may_run_apart() {
    for (without, device) in [("text", "Hailo-8L for pictures, CPU"), ("image", "Hailo-8L for texts, CPU")] {
        let folder = changed_models(|manifest, _| {
            manifest["towers"][without].as_object_mut().unwrap().remove("hailo8l");
        });
        let daemon =
            Daemon::on_with_models(Machine::new(HAILO_8L), "clip: {backend: hailo}\n", folder.path());
        assert_works(&daemon);
        assert!(is_real(&health(&daemon)));
        assert!(daemon.log().contains(device), "{}", daemon.log());
    }
}

#[test]
fn a_lone_cpu_tower_needs_no_other() {
    // Without the ONNX of the tower that runs on the NPU.
    let folder = changed_models(|manifest, folder| {
        manifest["towers"]["image"].as_object_mut().unwrap().remove("cpu");
        manifest["towers"]["text"].as_object_mut().unwrap().remove("hailo10h");
        std::fs::remove_file(folder.join("image.onnx")).unwrap();
    });
    let daemon = Daemon::on_with_models(Machine::new(HAILO_10H), "clip: {backend: auto}\n", folder.path());
    assert_works(&daemon);
}

#[test]
fn several_devices_work_side_by_side() {
    let machine = Machine::new(HAILO_8L);
    machine.plug(1);
    machine.set("devices", "2");
    let daemon = Daemon::on(machine, "clip: {backend: hailo, device: [0, 1]}\n");
    assert!(daemon.log().contains("2 × Hailo-8L"), "{}", daemon.log());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..4).for_each(|_| assert_works(&daemon)));
        }
    });
}
