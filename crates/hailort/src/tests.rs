//! Handles, callbacks and buffers on a fake device.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tracing::{Event, Level, Metadata, Subscriber, span};

use crate::{
    Architecture, Frame, Job, JobError, Model, Status, VDevice, VDeviceParams, abandoned,
    buffer::FramePool,
    fake::{Fake, LENGTH, QUEUE_SIZE, library, open_model},
    under_way,
};

/// Longer than anything takes, unless a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

fn frame(model: &Model, tag: u8) -> Frame {
    let mut frame = model.frame();
    frame.input(0).fill(tag);
    frame
}

fn submit(model: &Model, tags: &[u8]) -> Job {
    model.submit(tags.iter().map(|&tag| frame(model, tag)).collect(), PATIENCE).unwrap()
}

#[track_caller]
fn check(frames: &[Frame], tags: &[u8]) {
    let answers: Vec<&[f32]> = frames.iter().map(|frame| frame.output(0)).collect();
    let expected: Vec<[f32; LENGTH]> = tags.iter().map(|&tag| [f32::from(tag) + 1.0; LENGTH]).collect();
    assert_eq!(answers, expected);
}

fn pool(model: &Model) -> Weak<FramePool> {
    Arc::downgrade(model.pool())
}

#[test]
fn every_frame_gets_its_own_answer() {
    let (fake, _vdevice, model) = Fake::with_model();
    let jobs = [submit(&model, &[1, 2]), submit(&model, &[3])];
    // In another order than they were submitted.
    fake.finish(1, 0);
    fake.finish(0, 0);
    let [first, second] = jobs.map(|job| job.wait(PATIENCE).unwrap());
    check(&first, &[1, 2]);
    check(&second, &[3]);
    assert_eq!(model.pool().kept(), 0);
    drop((first, second));
    assert_eq!(model.pool().kept(), 3);
}

#[test]
fn a_waiter_is_woken_by_the_callback() {
    let (fake, _vdevice, model) = Fake::with_model();
    let job = submit(&model, &[7]);
    let waiter = thread::spawn(move || job.wait(PATIENCE).unwrap());
    fake.finish(0, 0);
    check(&waiter.join().unwrap(), &[7]);
}

#[test]
fn a_late_callback_gives_the_buffers_back_and_not_before() {
    let (fake, _vdevice, model) = Fake::with_model();
    let limit = Duration::from_millis(1);
    assert_eq!(submit(&model, &[1]).wait(limit).unwrap_err(), JobError::TimedOut(limit));
    assert!(abandoned() >= 1 && under_way() >= abandoned());
    assert_eq!(model.pool().kept(), 0, "the device may still write");
    fake.finish(0, 0);
    assert_eq!(model.pool().kept(), 1);
    // It is a frame as any other.
    let job = submit(&model, &[2]);
    assert_eq!(model.pool().kept(), 0);
    fake.finish(1, 0);
    check(&job.wait(PATIENCE).unwrap(), &[2]);
}

#[test]
fn buffers_outlive_their_model_while_the_device_has_them() {
    let (fake, vdevice, model) = Fake::with_model();
    let pool = pool(&model);
    drop(submit(&model, &[1]));
    assert!(model.close().unwrap() && vdevice.close().unwrap());
    assert_eq!(fake.open_handles(), 0);
    assert!(pool.upgrade().is_some(), "the device never called back");
    fake.finish(0, 63);
    assert!(pool.upgrade().is_none(), "nothing is left");
}

#[test]
fn a_second_callback_does_nothing() {
    let (fake, _vdevice, model) = Fake::with_model();
    let job = submit(&model, &[1]);
    fake.finish(0, 0);
    fake.call_back_again(0);
    check(&job.wait(PATIENCE).unwrap(), &[1]);
    let next = submit(&model, &[2]);
    fake.call_back_again(0);
    assert!(next.wait(Duration::ZERO).is_err(), "it is not the next one's");
    fake.finish(1, 0);
    fake.call_back_again(1);
    assert_eq!(model.pool().kept(), 1);
}

#[test]
fn a_failed_job_says_why_and_frees_its_buffers() {
    let (fake, _vdevice, model) = Fake::with_model();
    for (index, (status, words)) in [
        (36, "cannot run the model: the Hailo device went away"),
        (61, "cannot run the model: HailoRT says HAILO_NOT_FOUND (status 61)"),
        (4711, "cannot run the model: HailoRT fails with status 4711"),
        (-3, "cannot run the model: HailoRT failed in an unforeseen way"),
    ]
    .into_iter()
    .enumerate()
    {
        let job = submit(&model, &[1]);
        fake.finish(index, status);
        let error = job.wait(PATIENCE).unwrap_err();
        assert!(error.to_string().starts_with(words), "{error}");
        assert_eq!(model.pool().kept(), 1);
    }
}

#[test]
fn a_refused_submission_frees_its_buffers() {
    let (fake, _vdevice, model) = Fake::with_model();
    let pool = pool(&model);
    fake.fail("model_submit", 88);
    let error = model.submit(vec![frame(&model, 1)], PATIENCE).unwrap_err();
    assert!(matches!(&error, JobError::Failed(error) if error.status().is_lost()), "{error}");
    assert_eq!(model.pool().kept(), 1);
    drop(model);
    assert!(pool.upgrade().is_none(), "nothing is under way");
}

#[test]
fn a_full_queue_is_tried_again_until_the_time_is_over() {
    let (fake, _vdevice, model) = Fake::with_model();
    fake.calls();
    fake.fail("model_submit", 82);
    let limit = Duration::from_millis(1);
    let error = model.submit(vec![frame(&model, 1)], limit).unwrap_err();
    assert_eq!(error, JobError::TimedOut(limit));
    assert!(fake.calls().starts_with(&["model_wait_ready", "model_submit"]));
    fake.fail("model_submit", 0);
    let job = submit(&model, &[2]);
    fake.finish(0, 0);
    check(&job.wait(PATIENCE).unwrap(), &[2]);
    fake.fail("model_wait_ready", 4);
    let error = model.submit(vec![frame(&model, 1)], limit).unwrap_err();
    assert_eq!(error, JobError::TimedOut(limit));
}

#[test]
fn a_batch_fits_into_the_queue() {
    let (fake, _vdevice, model) = Fake::with_model();
    fake.calls();
    for count in [0, QUEUE_SIZE + 1] {
        let frames = (0..count).map(|_| model.frame()).collect();
        assert!(matches!(model.submit(frames, PATIENCE), Err(JobError::Failed(_))));
    }
    assert_eq!(fake.calls(), Vec::<&str>::new(), "HailoRT is not asked");
}

#[test]
#[should_panic(expected = "the frames are this model's")]
fn a_frame_of_another_model_is_refused() {
    let (_fake, vdevice, model) = Fake::with_model();
    let other = open_model(&vdevice).unwrap();
    let _ = model.submit(vec![other.frame()], PATIENCE);
}

#[test]
fn parents_outlive_their_children() {
    let (fake, vdevice, model) = Fake::with_model();
    let job = submit(&model, &[1]);
    drop(vdevice);
    assert!(!model.close().unwrap(), "the job uses it");
    assert!(!fake.calls().contains(&"model_close"));
    fake.finish(0, 0);
    let frames = job.wait(PATIENCE).unwrap();
    assert_eq!(fake.calls(), ["model_close", "vdevice_close"]);
    check(&frames, &[1]);
}

#[test]
fn handles_are_closed_once() {
    let (fake, vdevice, model) = Fake::with_model();
    let clone = model.clone();
    assert!(clone.is(&model));
    fake.calls();
    assert!(!clone.close().unwrap());
    assert!(model.close().unwrap());
    assert!(vdevice.close().unwrap());
    assert_eq!(fake.calls(), ["model_close", "vdevice_close"]);
    assert_eq!(fake.open_handles(), 0);
}

#[test]
fn close_reports_what_drop_logs() {
    let (fake, vdevice, model) = Fake::with_model();
    fake.fail("model_close", 4);
    fake.fail("vdevice_close", 36);
    assert!(model.close().unwrap_err().status().is_timeout());
    assert!(vdevice.close().unwrap_err().status().is_lost());

    let (fake, vdevice, model) = Fake::with_model();
    fake.fail("model_close", 4);
    fake.fail("vdevice_close", 36);
    let warnings = Warnings::default();
    tracing::subscriber::with_default(warnings.clone(), || drop((model, vdevice)));
    assert_eq!(warnings.0.load(Ordering::Relaxed), 2);
    assert_eq!(fake.open_handles(), 0);
}

#[test]
fn a_model_that_cannot_be_set_up_is_closed() {
    let (fake, vdevice) = Fake::start();
    let steps = [
        "model_open",
        "model_set_batch_size",
        "model_stream_count",
        "model_set_format",
        "model_configure",
        "model_queue_size",
        "model_stream",
    ];
    for step in steps {
        fake.fail(step, 93);
        let error = open_model(&vdevice).unwrap_err();
        assert_eq!(error.status().code(), 93, "{step}");
        assert_eq!(fake.open_handles(), 1, "{step}");
        fake.fail(step, 0);
    }
    fake.set_frame_size(u64::MAX);
    assert!(open_model(&vdevice).unwrap_err().status().is_out_of_memory());
    assert_eq!(fake.open_handles(), 1);
    fake.calls();
    drop(vdevice);
    assert_eq!(fake.calls(), ["vdevice_close"]);
}

#[test]
fn a_device_need_not_tell_its_health() {
    let (fake, vdevice) = Fake::start();
    assert_eq!(vdevice.health(0).unwrap(), crate::Health::default());
    assert_eq!(vdevice.identities().unwrap()[0].architecture, Architecture::Hailo10H);
    fake.fail("vdevice_health", 87);
    assert!(vdevice.health(0).unwrap_err().status().is_lost());
}

#[test]
fn what_c_fills_to_the_brim_is_read_to_the_brim() {
    let library = library();
    assert_eq!(library.version().to_string(), "5.2.0");
    let devices = library.scan().unwrap();
    assert!(devices.iter().all(|device| device.to_string() == "x".repeat(64)));
    assert_eq!(devices.len(), 32, "there is room for so many");
    assert_eq!(library.identify(&devices[0]).unwrap().architecture, Architecture::Other(99));
}

#[test]
fn a_group_has_a_name_that_c_can_read() {
    let params = VDeviceParams { group: Some("a\0b".into()), device_ids: Vec::new() };
    assert_eq!(VDevice::open(&library(), &params).unwrap_err().status(), Status::INVALID_ARGUMENT);
}

/// Counts warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicUsize>);

impl Subscriber for Warnings {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        if *event.metadata().level() == Level::WARN {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}
