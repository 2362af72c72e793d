//! Inference that works.

use std::thread;

use hailort::{Format, Model, ModelOptions};

use crate::{
    counts::Counts,
    machine::{Answers, GENERATIONS, KINDS, Machine, PATIENCE, Tower, infer, on, options, outputs, submit},
};

#[test]
fn networks_run_as_their_streams_say() {
    on(&KINDS, |machine| {
        // The networks themselves, on the simulator's CPU.
        machine.set("mode", "cpu");
        let vdevice = machine.vdevice();
        for (tower, input, output) in
            [(Tower::Image, [224, 224, 3], [1, 1, 128]), (Tower::Text, [1, 77, 128], [1, 77, 128])]
        {
            let model = machine.model(&vdevice, tower);
            let width = if tower == Tower::Image { 1 } else { 2 };
            let ([inputs], [outputs]) = (model.inputs(), model.outputs()) else {
                panic!("one in, one out");
            };
            assert_eq!((inputs.shape, outputs.shape), (input, output));
            assert_eq!(inputs.frame_size, input.iter().product::<usize>() * width);
            assert_eq!(outputs.frame_size, output.iter().product::<usize>() * size_of::<f32>());
            assert!(!inputs.name.is_empty() && inputs.name != outputs.name);
            assert!(outputs.scale > 0.0 && !outputs.quantized_by_channel);
            assert_eq!(model.queue_size(), 16);

            let floats = infer(&model, &[1, 2]).unwrap();
            assert!(floats.iter().flatten().all(|number| number.is_finite()));
            assert_ne!(floats[0], floats[1]);
            assert_eq!(floats[0].len(), output.iter().product::<usize>());

            // The device's own numbers, by the stream's quantisation, are the same.
            let raw = ModelOptions { output: Format::Auto, ..options(tower) };
            let raw = Model::open(&vdevice, &machine.hef(tower), &raw).unwrap();
            let stream = &raw.outputs()[0];
            assert_eq!(stream.frame_size, output.iter().product::<usize>());
            let frames = submit(&raw, &[1, 2]).unwrap().wait(PATIENCE).unwrap();
            for (frame, floats) in frames.iter().zip(&floats) {
                for (&number, &float) in frame.output::<u8>(0).iter().zip(floats) {
                    let value = stream.scale * (f32::from(number) - stream.zero_point);
                    assert!((value - float).abs() <= stream.scale * 1e-3, "{value} is not {float}");
                }
            }
        }
    });
}

#[test]
fn batches_of_every_size_answer_every_frame() {
    on(&GENERATIONS, |machine| {
        let (vdevice, model) = machine.image();
        let answers = Answers::learn(&model, 1..9);
        machine.set("text_us", "600000000 600000000");
        for size in 1..=8 {
            // While something else is on the device, all frames of the batch come.
            let other = machine.model(&vdevice, Tower::Text);
            let endless = submit(&other, &[0]).unwrap();
            machine.wait_for("running_batches", 1);
            let tags: Vec<u32> = (1..=size).rev().collect();
            let counter = format!("batches_of_{size}");
            let job = submit(&model, &tags).unwrap();
            let before = machine.counter(&counter);
            other.shutdown().unwrap();
            assert!(endless.wait(PATIENCE).is_err());
            answers.check(&tags, &outputs(&job.wait(PATIENCE).unwrap()));
            let ended = i64::from(size == 1);
            assert_eq!(machine.counter(&counter), before + 1 + ended, "one batch of {size}");
        }
    });
}

#[test]
fn two_models_share_a_device() {
    on(&GENERATIONS, |machine| {
        let vdevice = machine.vdevice();
        let models = [Tower::Image, Tower::Text].map(|tower| machine.model(&vdevice, tower));
        let answers = models.each_ref().map(|model| Answers::learn(model, 0..64));
        thread::scope(|scope| {
            for (model, answers) in models.iter().zip(&answers) {
                scope.spawn(move || {
                    for first in 0..56 {
                        let tags: Vec<u32> = (first..first + 8).collect();
                        answers.check(&tags, &infer(model, &tags).unwrap());
                    }
                });
            }
        });
        assert_eq!(hailort::under_way(), 0);
    });
}

/// Threads with batches of all sizes, each with several jobs under way, waited for in any order.
#[test]
fn many_threads_get_their_own_answers() {
    on(&GENERATIONS, |machine| {
        let (library, at_rest) = Counts::at_rest(machine);
        let (vdevice, model) = machine.image();
        let answers = Answers::learn(&model, 0..256);
        thread::scope(|scope| {
            for thread in 0..8 {
                let (model, answers) = (&model, &answers);
                scope.spawn(move || {
                    for round in 0..40 {
                        let batches: Vec<Vec<u32>> = (0..3)
                            .map(|batch| {
                                let size = (thread + round + batch) % 8 + 1;
                                (0..size)
                                    .map(|frame| (thread * 40 + round * 7 + batch * 3 + frame) % 256)
                                    .collect()
                            })
                            .collect();
                        let mut jobs: Vec<_> =
                            batches.iter().map(|tags| (tags, submit(model, tags).unwrap())).collect();
                        jobs.rotate_left(round as usize % 3);
                        for (tags, job) in jobs {
                            let frames = job.wait(PATIENCE).unwrap();
                            answers.check(tags, &outputs(&frames));
                        }
                    }
                });
            }
        });
        assert!(model.close().unwrap() && vdevice.close().unwrap());
        assert_eq!(Counts::now(machine, &library), at_rest);
    });
}

/// What is submitted beyond the queue waits, and is refused when its time is over.
#[test]
fn a_full_queue_makes_submitters_wait() {
    on(&GENERATIONS, |machine: &Machine| {
        machine.set("queue_depth", "8");
        let (vdevice, model) = machine.image();
        let answers = Answers::learn(&model, 0..16);
        machine.set("fault", "hang");
        let stuck = submit(&model, &[0, 1, 2, 3, 4, 5, 6, 7]).unwrap();
        let limit = std::time::Duration::from_millis(10);
        let error = model.submit(vec![model.frame()], limit).unwrap_err();
        assert_eq!(error, hailort::JobError::TimedOut(limit));
        model.shutdown().unwrap();
        assert!(stuck.wait(PATIENCE).is_err());
        machine.unset("fault");
        drop(model);

        let model = machine.model(&vdevice, Tower::Image);
        let jobs =
            [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]].map(|tags| (tags, submit(&model, &tags).unwrap()));
        for (tags, job) in jobs {
            let frames = job.wait(PATIENCE).unwrap();
            answers.check(&tags, &outputs(&frames));
        }
    });
}
