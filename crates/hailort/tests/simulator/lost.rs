//! Devices that do not answer, or are gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hailort::{Job, JobError, Model, abandoned};

use crate::{
    counts::Counts,
    machine::{Answers, GENERATIONS, Machine, PATIENCE, Tower, frame, infer, on, submit},
};

/// Long enough for nothing.
const AT_ONCE: Duration = Duration::from_millis(1);

#[track_caller]
fn give_up(job: Job) {
    assert_eq!(job.wait(AT_ONCE).map(drop), Err(JobError::TimedOut(AT_ONCE)));
}

/// Waits for what has no event: callbacks of jobs that nobody waits for.
fn until(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::yield_now();
    }
}

#[test]
fn a_device_that_hangs_is_given_up_and_reset() {
    on(&GENERATIONS, |machine| {
        let (library, at_rest) = Counts::at_rest(machine);
        let (vdevice, mut model) = machine.image();
        let answers = Answers::learn(&model, 0..16);
        for round in 0..3 {
            machine.set("fault", "hang");
            let waiting = submit(&model, &[1, 2]).unwrap();
            give_up(submit(&model, &[3]).unwrap());
            machine.wait_for("stuck_frames", 3 * (round + 1));
            assert_eq!((abandoned(), hailort::under_way()), (1, 2));
            // Their callbacks come, and the one who waits is told.
            model.shutdown().unwrap();
            let JobError::Failed(error) = waiting.wait(PATIENCE).unwrap_err() else { panic!("it ended") };
            assert!(error.status().is_aborted(), "{error}");
            until(|| hailort::under_way() == 0);
            let JobError::Failed(error) = infer(&model, &[1]).unwrap_err() else { panic!("it ended") };
            assert!(error.status().is_aborted(), "{error}");
            machine.unset("fault");
            assert!(model.close().unwrap());
            model = machine.model(&vdevice, Tower::Image);
            answers.check_model(&model);
        }
        assert!(model.close().unwrap() && vdevice.close().unwrap());
        assert_eq!(Counts::now(machine, &library), at_rest);
    });
}

/// Jobs that are not waited for do not keep a model from ending.
#[test]
fn a_model_is_closed_under_a_device_that_hangs() {
    on(&GENERATIONS, |machine| {
        let (library, at_rest) = Counts::at_rest(machine);
        let (vdevice, model) = machine.image();
        machine.set("fault", "hang");
        give_up(submit(&model, &[1]).unwrap());
        machine.wait_for("stuck_frames", 1);
        assert!(model.close().unwrap());
        until(|| hailort::under_way() == 0);
        assert!(vdevice.close().unwrap());
        assert_eq!(Counts::now(machine, &library), at_rest);
    });
}

/// A device may keep frames beyond its model, and give them back with the vdevice.
#[test]
fn a_callback_may_come_after_its_model_is_gone() {
    on(&GENERATIONS, |machine| {
        let (library, at_rest) = Counts::at_rest(machine);
        let (vdevice, model) = machine.image();
        let answers = Answers::learn(&model, 0..16);
        machine.set("fault", "deaf");
        give_up(submit(&model, &[1, 2]).unwrap());
        machine.wait_for("stuck_frames", 2);
        machine.unset("fault");
        assert!(model.close().unwrap());
        assert_eq!((abandoned(), library.open_handles()), (1, 1));
        let next = machine.model(&vdevice, Tower::Image);
        answers.check_model(&next);
        assert!(next.close().unwrap() && vdevice.close().unwrap());
        until(|| hailort::under_way() == 0);
        assert_eq!(Counts::now(machine, &library), at_rest);
    });
}

/// What the device never gives back is never used again, and nothing else is lost with it.
#[test]
fn buffers_without_a_callback_stay_with_the_device() {
    on(&GENERATIONS, |machine| {
        let (library, at_rest) = Counts::at_rest(machine);
        let (vdevice, model) = machine.image();
        let answers = Answers::learn(&model, 0..16);
        machine.set("fault", "never");
        let mut lost = BTreeSet::new();
        for batch in 0..4 {
            let mut frames: Vec<_> = (0..2).map(|index| frame(&model, batch * 2 + index)).collect();
            lost.extend(frames.iter_mut().map(|frame| frame.input::<u8>(0).as_ptr().addr()));
            lost.extend(frames.iter().map(|frame| frame.output::<u8>(0).as_ptr().addr()));
            give_up(model.submit(frames, PATIENCE).unwrap());
        }
        machine.wait_for("stuck_frames", 8);
        assert_eq!((lost.len(), abandoned(), hailort::under_way()), (16, 4, 4));
        machine.unset("fault");
        assert!(model.close().unwrap());
        let model = machine.model(&vdevice, Tower::Image);
        let mut frames: Vec<_> = (0..64).map(|tag| frame(&model, tag)).collect();
        for frame in &mut frames {
            assert!(!lost.contains(&frame.input::<u8>(0).as_ptr().addr()));
            assert!(!lost.contains(&frame.output::<u8>(0).as_ptr().addr()));
        }
        drop(frames);
        answers.check_model(&model);
        assert!(model.close().unwrap() && vdevice.close().unwrap());
        assert_eq!((abandoned(), hailort::buffers(), library.open_handles()), (4, 16, 0));
        let left = Counts::now(machine, &library);
        assert_eq!(left.without_abandoned(), at_rest.without_abandoned());
    });
}

#[test]
fn late_answers_are_nobodys() {
    on(&GENERATIONS, |machine| {
        let (library, at_rest) = Counts::at_rest(machine);
        let (vdevice, model) = machine.image();
        let answers = Answers::learn(&model, 0..32);
        machine.set("late_ms", "50");
        for first in 0..4 {
            give_up(submit(&model, &[first]).unwrap());
            // The device is done with one after the other.
            answers.check(&[first + 4], &infer(&model, &[first + 4]).unwrap());
            assert_eq!(abandoned(), 0, "its callback came meanwhile");
        }
        machine.unset("late_ms");
        answers.check_model(&model);
        assert!(model.close().unwrap() && vdevice.close().unwrap());
        assert_eq!(Counts::now(machine, &library), at_rest);
    });
}

#[test]
fn a_device_that_vanishes_fails_its_jobs_and_may_come_back() {
    on(&GENERATIONS, |machine| {
        let (library, at_rest) = Counts::at_rest(machine);
        let (mut vdevice, mut model) = machine.image();
        let answers = Answers::learn(&model, 0..16);
        for status in [36, 87, 88, 96] {
            let text = machine.model(&vdevice, Tower::Text);
            // Time enough to vanish meanwhile.
            machine.set("image_us", "600000000 600000000");
            let jobs = [submit(&model, &[1, 2]).unwrap(), submit(&model, &[3]).unwrap()];
            machine.set("vanish", &status.to_string());
            for job in jobs {
                check_lost(job.wait(PATIENCE), status);
            }
            check_lost(infer(&model, &[1]), status);
            check_lost(infer(&text, &[1]), status);
            assert_eq!(vdevice.health(0).unwrap_err().status().code(), status);
            assert_eq!(machine.try_model(&vdevice, Tower::Text).unwrap_err().status().code(), status);
            assert_eq!(library.scan().unwrap(), []);
            assert!(machine.try_vdevice().unwrap_err().status().is_busy(), "it cannot be told apart");

            machine.unset("vanish");
            machine.set("image_us", "500 1000");
            check_lost(infer(&model, &[1]), status);
            assert!(model.close().unwrap() && text.close().unwrap() && vdevice.close().unwrap());
            (vdevice, model) = machine.image();
            answers.check_model(&model);
        }
        assert!(model.close().unwrap() && vdevice.close().unwrap());
        assert_eq!(Counts::now(machine, &library), at_rest);
    });
}

#[track_caller]
fn check_lost<T>(result: Result<T, JobError>, status: i32) {
    match result.map(drop).unwrap_err() {
        JobError::Failed(error) => {
            assert!(error.status().is_lost() && error.status().code() == status, "{error}");
            assert!(error.to_string().contains("the Hailo device went away"), "{error}");
        }
        JobError::TimedOut(_) => panic!("it did not end"),
    }
}

/// Faults come and go while threads submit, and reset the model as the service does. Every answer that
/// comes is the right one, and every job ends.
#[test]
fn no_answer_is_lost_or_crossed_while_faults_come_and_go() {
    on(&GENERATIONS, |machine| {
        let (library, at_rest) = Counts::at_rest(machine);
        let (vdevice, model) = machine.image();
        let answers = Answers::learn(&model, 0..64);
        let current = std::sync::Mutex::new(model);
        let ended = std::sync::Mutex::new(BTreeMap::new());
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (machine, vdevice, answers) = (&machine, &vdevice, &answers);
                let (current, ended) = (&current, &ended);
                scope.spawn(move || {
                    for round in 0..50_u32 {
                        if thread == 0 && round % 10 == 5 {
                            machine.set("fail", &format!("{} 8 {round}", round % 7 + 1));
                        }
                        let tags: Vec<u32> =
                            (0..round % 5 + 1).map(|frame| (thread * 16 + round + frame) % 64).collect();
                        let model = current.lock().unwrap().clone();
                        let result = infer(&model, &tags);
                        *ended.lock().unwrap().entry(result.is_ok()).or_insert(0) += 1;
                        match result {
                            Ok(got) => answers.check(&tags, &got),
                            Err(_) => reset(machine, vdevice, current, &model),
                        }
                    }
                });
            }
        });
        let ended = ended.into_inner().unwrap();
        assert_eq!(ended.values().sum::<u32>(), 200);
        assert!(ended[&true] > 100 && ended[&false] >= 5, "{ended:?}");
        let model = current.into_inner().unwrap();
        machine.unset("fail");
        assert!(model.close().unwrap() && vdevice.close().unwrap());
        assert_eq!(Counts::now(machine, &library), at_rest);
    });
}

/// The first one who sees a model fail replaces it.
fn reset(machine: &Machine, vdevice: &hailort::VDevice, current: &std::sync::Mutex<Model>, failed: &Model) {
    let mut current = current.lock().unwrap();
    if current.is(failed) {
        failed.shutdown().unwrap();
        *current = machine.model(vdevice, Tower::Image);
    }
}
