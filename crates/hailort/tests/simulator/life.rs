//! Opening and closing, again and again and in any order.

use std::thread;

use hailort::JobError;

use crate::{
    counts::{Counts, Memory},
    machine::{Answers, GENERATIONS, Machine, PATIENCE, Tower, infer, on, outputs, submit},
};

fn cycle(machine: &Machine) {
    let vdevice = machine.vdevice();
    let models = [Tower::Image, Tower::Text].map(|tower| machine.model(&vdevice, tower));
    for model in models {
        infer(&model, &[1, 2]).unwrap();
        assert!(model.close().unwrap());
    }
    assert!(vdevice.close().unwrap());
}

#[test]
fn a_thousand_loads_leave_nothing_behind() {
    on(&GENERATIONS, |machine| {
        let (library, at_rest) = Counts::at_rest(machine);
        for _ in 0..200 {
            cycle(machine);
        }
        let warm = Memory::now();
        for _ in 0..1000 {
            cycle(machine);
        }
        assert_eq!(Counts::now(machine, &library), at_rest);
        warm.check_flat();
    });
}

/// The networks themselves, on the simulator's CPU.
#[test]
fn networks_that_run_leave_nothing_behind() {
    on(&GENERATIONS, |machine| {
        machine.set("mode", "cpu");
        cycle(machine);
        let (library, at_rest) = Counts::at_rest(machine);
        for _ in 0..10 {
            cycle(machine);
        }
        assert_eq!(Counts::now(machine, &library), at_rest);
    });
}

#[test]
fn failures_leave_nothing_behind() {
    on(&GENERATIONS, |machine| {
        let (library, at_rest) = Counts::at_rest(machine);
        machine.set("shutdown_timeout_ms", "1000");
        let fail = |round: u32| {
            let (vdevice, model) = machine.image();
            match round % 4 {
                0 => {
                    machine.set("fail", &format!("1 8 {round}"));
                    assert!(infer(&model, &[1]).is_err());
                }
                1 => {
                    machine.set("fault", "hang");
                    let job = submit(&model, &[1]).unwrap();
                    model.shutdown().unwrap();
                    assert!(matches!(job.wait(PATIENCE), Err(JobError::Failed(_))));
                    machine.unset("fault");
                }
                2 => {
                    machine.set("vanish", "96");
                    assert!(infer(&model, &[1]).is_err());
                    machine.unset("vanish");
                }
                _ => {
                    machine.set("fail_call", "configure 3");
                    assert!(machine.try_model(&vdevice, Tower::Text).is_err());
                    machine.unset("fail_call");
                }
            }
        };
        (0..40).for_each(fail);
        let warm = Memory::now();
        (0..200).for_each(fail);
        assert_eq!(Counts::now(machine, &library), at_rest);
        warm.check_flat();
    });
}

#[test]
fn handles_may_be_dropped_in_any_order_on_any_thread() {
    on(&GENERATIONS, |machine| {
        let (library, at_rest) = Counts::at_rest(machine);
        for order in 0..6 {
            let vdevice = machine.vdevice();
            let image = machine.model(&vdevice, Tower::Image);
            let text = machine.model(&vdevice, Tower::Text);
            let answers = Answers::learn(&image, 0..8);
            let job = submit(&image, &[1, 2]).unwrap();
            let mut handles: Vec<Box<dyn Send>> = vec![Box::new(vdevice), Box::new(image), Box::new(text)];
            handles.swap(0, order % 3);
            handles.swap(1, 1 + order / 3);
            for handle in handles {
                thread::spawn(move || drop(handle)).join().unwrap();
            }
            // It keeps what it needs.
            let frames = job.wait(PATIENCE).unwrap();
            answers.check(&[1, 2], &outputs(&frames));
            drop(frames);
            assert_eq!(Counts::now(machine, &library), at_rest);
        }
    });
}

/// Threads load and unload models of one vdevice while others infer.
#[test]
fn models_come_and_go_beside_others() {
    on(&GENERATIONS, |machine| {
        let (library, at_rest) = Counts::at_rest(machine);
        let (vdevice, image) = machine.image();
        let answers = Answers::learn(&image, 0..8);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..30 {
                        let model = machine.model(&vdevice, Tower::Text);
                        infer(&model, &[1, 2, 3]).unwrap();
                        assert!(model.close().unwrap());
                    }
                });
            }
            for _ in 0..60 {
                answers.check_model(&image);
            }
        });
        assert!(image.close().unwrap() && vdevice.close().unwrap());
        assert_eq!(Counts::now(machine, &library), at_rest);
    });
}
