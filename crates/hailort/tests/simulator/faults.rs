//! Faults of a device that stays where it is.

use std::fs;

use hailort::{Error, JobError, Model, VDevice};

use crate::{
    counts::Counts,
    machine::{
        Answers, GENERATIONS, HAILO_8, HAILO_8L, HAILO_10H, Machine, PATIENCE, Tower, infer, on, options,
        outputs, submit,
    },
};

fn failure<T>(result: Result<T, JobError>) -> Error {
    match result.map(drop).unwrap_err() {
        JobError::Failed(error) => error,
        JobError::TimedOut(_) => panic!("it did not end"),
    }
}

/// After a failure a model is closed and loaded anew, and infers again.
fn reload(machine: &Machine, vdevice: &VDevice, model: Model, answers: &Answers) -> Model {
    assert!(model.close().unwrap());
    let model = machine.model(vdevice, Tower::Image);
    answers.check_model(&model);
    model
}

#[test]
fn the_inference_that_fails_is_the_one_that_is_told() {
    on(&GENERATIONS, |machine| {
        let (library, at_rest) = Counts::at_rest(machine);
        let (vdevice, mut model) = machine.image();
        let answers = Answers::learn(&model, 0..16);
        for status in [8, 63, 87] {
            machine.set("fail", &format!("3 {status}"));
            for tag in [1, 2] {
                answers.check(&[tag], &infer(&model, &[tag]).unwrap());
            }
            assert_eq!(failure(infer(&model, &[3])).status().code(), status);
            // HailoRT's models do not recover.
            assert_eq!(failure(infer(&model, &[4])).status().code(), status);
            model = reload(machine, &vdevice, model, &answers);
        }
        assert!(model.close().unwrap() && vdevice.close().unwrap());
        assert_eq!(Counts::now(machine, &library), at_rest);
    });
}

/// Every job ends, with its own answers or with the failure.
#[test]
fn a_failure_among_many_jobs_crosses_no_answers() {
    on(&GENERATIONS, |machine| {
        let (library, at_rest) = Counts::at_rest(machine);
        let (vdevice, mut model) = machine.image();
        let answers = Answers::learn(&model, 0..64);
        for nth in [1, 8, 9, 20, 36] {
            machine.set("fail", &format!("{nth} 8"));
            let batches: Vec<Vec<u32>> =
                (0..8).map(|batch| (batch * 7..batch * 7 + batch % 8 + 1).collect()).collect();
            let mut failed = 0;
            let jobs: Vec<_> = batches.iter().map(|tags| (tags, submit(&model, tags))).collect();
            for (tags, job) in jobs {
                match job.and_then(|job| job.wait(PATIENCE)) {
                    Ok(frames) => {
                        answers.check(tags, &outputs(&frames));
                    }
                    Err(error) => {
                        assert_eq!(failure(Err::<(), _>(error)).status().code(), 8);
                        failed += 1;
                    }
                }
            }
            assert!(failed > 0 && hailort::under_way() == 0);
            model = reload(machine, &vdevice, model, &answers);
        }
        assert!(model.close().unwrap() && vdevice.close().unwrap());
        assert_eq!(Counts::now(machine, &library), at_rest);
    });
}

#[test]
fn a_submission_that_is_refused_is_told_once() {
    on(&GENERATIONS, |machine| {
        let (library, at_rest) = Counts::at_rest(machine);
        let (vdevice, mut model) = machine.image();
        let answers = Answers::learn(&model, 0..16);
        // In the middle of a batch; its first frames are under way then.
        for nth in [1, 3, 8] {
            machine.set("refuse", &format!("{nth} 71"));
            let error = failure(infer(&model, &[0, 1, 2, 3, 4, 5, 6, 7]));
            assert!(error.status().is_out_of_memory(), "{error}");
            assert_eq!(hailort::under_way(), 0);
            machine.unset("refuse");
            model = reload(machine, &vdevice, model, &answers);
        }
        // HailoRT may report a frame as failed, and refuse it too.
        machine.set("fail_call", "run_twice 8");
        assert_eq!(failure(infer(&model, &[0, 1])).status().code(), 8);
        assert_eq!(hailort::under_way(), 0);
        machine.unset("fail_call");
        model = reload(machine, &vdevice, model, &answers);
        assert!(model.close().unwrap() && vdevice.close().unwrap());
        assert_eq!(Counts::now(machine, &library), at_rest);
    });
}

#[test]
fn wrong_hefs_are_told_apart() {
    on(&GENERATIONS, |machine| {
        let (library, at_rest) = Counts::at_rest(machine);
        let vdevice = machine.vdevice();
        let good = fs::read(machine.hef(Tower::Image)).unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = machine.folder.join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let mut damaged = good.clone();
        *damaged.last_mut().unwrap() ^= 1;
        let other = if machine.kind == HAILO_8 { HAILO_10H } else { HAILO_8L };
        let cases = [
            (Machine::hef_for(Tower::Image, other.architecture), 93, "another kind of Hailo device"),
            (write("damaged.hef", &damaged), 91, "the HEF is damaged"),
            (write("short.hef", &good[..good.len() / 2]), 91, "the HEF is damaged"),
            (write("none.hef", b"no HEF at all"), 92, "not a HEF that this HailoRT knows"),
            (write("empty.hef", b""), 14, "the HEF cannot be read"),
            (machine.folder.clone(), 14, "the HEF cannot be read"),
            (machine.folder.join("missing.hef"), 13, "the HEF cannot be read"),
        ];
        for (path, code, words) in cases {
            let error = Model::open(&vdevice, &path, &options(Tower::Image)).unwrap_err();
            assert_eq!(error.status().code(), code, "{error}");
            let text = error.to_string();
            assert!(text.contains(words) && !text.contains('\n'), "{text}");
            assert!(!text.contains(".hef") && !text.contains('/'), "no paths: {text}");
        }
        infer(&machine.model(&vdevice, Tower::Image), &[1]).unwrap();
        assert!(vdevice.close().unwrap());
        assert_eq!(Counts::now(machine, &library), at_rest);
    });
}

/// A Hailo-8 takes the networks of the 8L, and not the other way round.
#[test]
fn a_smaller_devices_hef_runs_on_the_larger() {
    on(&[HAILO_8, HAILO_8L], |machine| {
        let vdevice = machine.vdevice();
        let other = if machine.kind == HAILO_8 { HAILO_8L } else { HAILO_8 };
        let hef = Machine::hef_for(Tower::Image, other.architecture);
        let model = Model::open(&vdevice, &hef, &options(Tower::Image));
        assert_eq!(
            model.map_err(|error| error.status().code()).err(),
            (machine.kind == HAILO_8L).then_some(93)
        );
    });
}

#[test]
fn memory_may_be_free_later() {
    on(&GENERATIONS, |machine| {
        let (library, at_rest) = Counts::at_rest(machine);
        let (vdevice, mut model) = machine.image();
        let answers = Answers::learn(&model, 0..16);
        for status in [3, 71, 81] {
            for call in ["create_infer_model", "configure"] {
                machine.set("fail_call", &format!("{call} {status}"));
                let error = machine.try_model(&vdevice, Tower::Text).unwrap_err();
                assert!(error.status().is_out_of_memory(), "{error}");
                assert!(error.to_string().contains("there is not enough memory"), "{error}");
                // The model that is loaded goes on.
                answers.check_model(&model);
            }
            for call in ["create_bindings", "run", "wait"] {
                machine.set("fail_call", &format!("{call} {status}"));
                let error = failure(infer(&model, &[1]));
                assert!(error.status().is_out_of_memory(), "{error}");
                machine.unset("fail_call");
                model = reload(machine, &vdevice, model, &answers);
            }
        }
        machine.set("fail_call", "create_vdevice 3");
        assert!(machine.try_vdevice().unwrap_err().status().is_out_of_memory());
        machine.unset("fail_call");
        assert!(model.close().unwrap() && vdevice.close().unwrap());
        assert_eq!(Counts::now(machine, &library), at_rest);
    });
}

#[test]
fn exceptions_become_errors() {
    on(&GENERATIONS, |machine| {
        let (library, at_rest) = Counts::at_rest(machine);
        let check = |error: Error| {
            assert_eq!(error.status().code(), -3, "{error}");
            assert!(error.to_string().contains("HailoRT failed in an unforeseen way"), "{error}");
        };
        let id = library.scan().unwrap().remove(0);
        machine.set("throw", "scan");
        check(library.scan().unwrap_err());
        machine.set("throw", "create_device");
        check(library.identify(&id).unwrap_err());
        machine.set("throw", "create_vdevice");
        check(machine.try_vdevice().unwrap_err());
        machine.unset("throw");
        let (vdevice, mut model) = machine.image();
        let answers = Answers::learn(&model, 0..16);
        machine.set("throw", "identify");
        check(vdevice.identities().unwrap_err());
        machine.set("throw", "temperature");
        check(vdevice.health(0).unwrap_err());
        for call in ["create_infer_model", "configure"] {
            machine.set("throw", call);
            check(machine.try_model(&vdevice, Tower::Text).unwrap_err());
        }
        for call in ["wait", "create_bindings", "run"] {
            machine.set("throw", call);
            check(failure(infer(&model, &[1, 2])));
            assert_eq!(hailort::under_way(), 0);
            machine.unset("throw");
            model = reload(machine, &vdevice, model, &answers);
        }
        assert!(model.close().unwrap() && vdevice.close().unwrap());
        assert_eq!(Counts::now(machine, &library), at_rest);
    });
}

#[test]
fn a_device_that_others_hold_is_busy_until_they_let_go() {
    on(&GENERATIONS, |machine| {
        let (library, at_rest) = Counts::at_rest(machine);
        machine.set("held", "all");
        assert_eq!(machine.try_vdevice().unwrap_err().status().code(), 74);
        machine.set("held", "0");
        let named = hailort::VDeviceParams { group: None, device_ids: library.scan().unwrap() };
        let error = VDevice::open(&library, &named).unwrap_err();
        assert_eq!(error.status().code(), 73);
        for error in [error, machine.try_vdevice().unwrap_err()] {
            assert!(error.status().is_busy(), "{error}");
            assert!(error.to_string().contains("another process holds the Hailo device"), "{error}");
        }
        machine.unset("held");
        assert!(VDevice::open(&library, &named).unwrap().close().unwrap());
        assert_eq!(Counts::now(machine, &library), at_rest);
    });
}

#[test]
fn a_driver_of_another_version_is_told() {
    on(&GENERATIONS, |machine| {
        let (library, at_rest) = Counts::at_rest(machine);
        machine.set("driver", "4.22.0");
        let error = machine.try_vdevice().unwrap_err();
        assert_eq!(error.status().code(), 76);
        assert!(error.status().is_version_mismatch());
        assert!(error.to_string().contains("are of different versions"), "{error}");
        machine.unset("driver");
        drop(machine.vdevice());
        assert_eq!(Counts::now(machine, &library), at_rest);
    });
}

#[test]
fn hailort_4_does_not_drive_a_hailo_10h() {
    on(&[HAILO_8], |machine| {
        machine.set("architecture", "hailo10h");
        let error = machine.try_vdevice().unwrap_err();
        assert_eq!(error.status().code(), 79);
        assert!(error.to_string().contains("Hailo-10H needs HailoRT 5"), "{error}");
    });
}

/// HailoRT does not notice it, so nobody else can; but the numbers stay numbers, and stay where they are.
#[test]
fn corrupt_outputs_are_numbers_all_the_same() {
    on(&GENERATIONS, |machine| {
        let (_vdevice, model) = machine.image();
        let answers = Answers::learn(&model, 0..16);
        machine.set("corrupt", "zero");
        let [first, second] = infer(&model, &[1, 2]).unwrap().try_into().unwrap();
        let nought = model.outputs()[0].scale;
        assert!(first.iter().chain(&second).all(|number| number.abs() < nought), "{first:?}");
        machine.set("corrupt", "noise");
        let noise = infer(&model, &[1, 2]).unwrap();
        assert!(noise.iter().flatten().all(|number| number.is_finite()));
        machine.unset("corrupt");
        answers.check_model(&model);
    });
}

#[test]
fn closing_that_fails_closes_all_the_same() {
    on(&GENERATIONS, |machine| {
        let (library, at_rest) = Counts::at_rest(machine);
        let (vdevice, model) = machine.image();
        machine.set("fail_call", "shutdown 4");
        assert!(model.shutdown().unwrap_err().status().is_timeout());
        assert!(model.close().unwrap_err().status().is_timeout());
        drop(machine.model(&vdevice, Tower::Text));
        assert!(vdevice.close().unwrap());
        assert_eq!(Counts::now(machine, &library), at_rest);
    });
}
