//! What the command says if the service is not there, not ready, or says no; and `hailo-clip status`.

use std::{os::unix::process::ExitStatusExt, process::Stdio};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    bus::{Bus, Finished},
    fake::{Fake, Refusal},
};

#[test]
fn a_service_that_is_not_running_gets_one_line_that_says_how_to_start_it() {
    let bus = Bus::start();
    bus.file("a.jpg", "one");
    bus.file("b.jpg", "two");
    let expected = format!(
        "hailo-clip: the service is not running; start it with \"systemctl start hailo-clip\" \
         (org.hailo.Clip1 has no owner on the bus at {})\n",
        bus.address
    );
    assert_eq!(bus.run(&["classify", "a.jpg", "b.jpg", "-p", "a cat"]).failure(3), expected);
    assert_eq!(bus.run(&["embed", "text", "a cat", "--json"]).failure(3), expected);
    assert_eq!(bus.run(&["status"]).failure(3), expected);
}

#[test]
fn no_bus() {
    let bus = Bus::start();
    let err = bus.run(&["status", "--bus", "unix:path=/nowhere/bus"]).failure(3);
    assert_eq!(
        err,
        "hailo-clip: cannot connect to the bus at unix:path=/nowhere/bus (No such file or directory); \
         is D-Bus running? --bus chooses another bus\n"
    );
}

#[test]
fn a_bus_that_forbids_it() {
    let bus = Bus::with_config(
        "<policy context='mandatory'><deny send_destination='org.hailo.Clip1'/></policy>\
         <servicedir>@</servicedir>",
    );
    bus.file("org.hailo.Clip1.service", "[D-BUS Service]\nName=org.hailo.Clip1\nExec=/bin/false\n");
    let err = bus.run(&["embed", "text", "a cat"]).failure(3);
    assert!(err.contains("you may not use the service"), "{err}");
}

#[test]
fn a_service_that_does_not_start() {
    let bus = Bus::with_config("<servicedir>@</servicedir>");
    bus.file("org.hailo.Clip1.service", "[D-BUS Service]\nName=org.hailo.Clip1\nExec=/bin/false\n");
    let err = bus.run(&["embed", "text", "a cat"]).failure(3);
    assert!(err.contains("the service did not start"), "{err}");
    assert!(err.contains("journalctl -u hailo-clip"), "{err}");
    // Asking for the state starts nothing.
    let err = bus.run(&["status"]).failure(3);
    assert!(err.contains("the service is not running"), "{err}");
}

#[test]
fn a_service_that_loads_its_model_is_waited_for() {
    let fake = Fake::in_state("loading");
    fake.file("cat.jpg", "a picture");
    let child = fake
        .bus
        .command(&["classify", "cat.jpg", "a cat"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    fake.next_call();
    fake.set_state("ready");
    let out = Finished::from(child.wait_with_output().unwrap()).success();
    assert_eq!(out, "cat.jpg\t0.250000\ta cat\n");
}

#[test]
fn a_service_that_loads_for_too_long() {
    let fake = Fake::in_state("loading");
    let err = fake.run(&["embed", "text", "a cat", "--timeout", "0.1"]).failure(3);
    assert!(err.contains("not ready: it still loads its model after 100ms; try again shortly"), "{err}");
}

#[test]
fn a_service_that_cannot_load_says_why() {
    let fake = Fake::in_state("failed");
    let err = fake.run(&["embed", "text", "a cat"]).failure(3);
    assert_eq!(err, "hailo-clip: the service is not ready: model.onnx is damaged\n");
    let fake = Fake::in_state("draining");
    let err = fake.run(&["embed", "text", "a cat"]).failure(3);
    assert_eq!(err, "hailo-clip: the service is not ready: its state is \"draining\"\n");
}

#[test]
fn a_full_queue_is_tried_again() {
    let fake = Fake::start();
    for _ in 0..2 {
        fake.refuse(Refusal::QueueFull("8 requests are waiting".to_owned()));
    }
    let out = fake.run(&["embed", "text", "a cat"]).success();
    assert_eq!(out, "a cat\t5 0.1 -0.25\n");
    assert_eq!(fake.calls().len(), 3);
}

#[test]
fn a_queue_that_stays_full() {
    let fake = Fake::start();
    for _ in 0..20 {
        fake.refuse(Refusal::QueueFull("8 requests are waiting".to_owned()));
    }
    let err = fake.run(&["embed", "text", "a cat", "--timeout", "0.3"]).failure(4);
    assert_eq!(err, "hailo-clip: the service is busy (8 requests are waiting); try again later\n");
}

#[test]
fn no_answer_in_time() {
    let fake = Fake::start();
    fake.file("cat.jpg", "silent");
    let err = fake.run(&["classify", "cat.jpg", "a cat", "--timeout", "0.2"]).failure(4);
    assert_eq!(err, "hailo-clip: cat.jpg: no answer within 200ms; --timeout gives it more time\n");
}

#[test]
fn refusals_are_told_in_the_service_s_words() {
    let fake = Fake::start();
    fake.file("a.jpg", "one");
    fake.file("b.jpg", "two");
    for (refusal, code, message) in [
        (Refusal::InvalidArgument("logit_scale: not positive".to_owned()), 4, "logit_scale: not positive"),
        (Refusal::Timeout("no answer within 5 s".to_owned()), 4, "a.jpg: no answer within 5 s"),
        (Refusal::BackendFailed("out of memory".to_owned()), 4, "a.jpg: the service failed: out of memory"),
        (Refusal::TooLarge("300 megapixels".to_owned()), 1, "a.jpg: too large: 300 megapixels"),
        (Refusal::NotAuthorized("no session".to_owned()), 3, "you may not use the service (no session)"),
    ] {
        fake.refuse(refusal);
        let err = fake.run(&["classify", "a.jpg", "-p", "a cat"]).failure(code);
        assert!(err.contains(message), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
}

#[test]
fn what_concerns_every_picture_is_told_once() {
    let fake = Fake::start();
    for name in ["a.jpg", "b.jpg", "c.jpg"] {
        fake.file(name, name);
        fake.refuse(Refusal::InvalidArgument("prompts: too many".to_owned()));
    }
    let err = fake.run(&["classify", "a.jpg", "b.jpg", "c.jpg", "-p", "a cat"]).failure(4);
    assert_eq!(err, "hailo-clip: the service refused the request: prompts: too many\n");
}

#[test]
fn a_service_that_stops_in_the_middle() {
    let fake = Fake::start();
    fake.file("cat.jpg", "vanish");
    let err = fake.run(&["classify", "cat.jpg", "a cat"]).failure(3);
    assert!(err.contains("the service stopped before it answered"), "{err}");
}

#[test]
fn an_interrupt_ends_it_at_once() {
    let fake = Fake::start();
    fake.file("cat.jpg", "silent");
    let mut child = fake.bus.command(&["classify", "cat.jpg", "a cat"]).spawn().unwrap();
    fake.next_call();
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    // A shell reports this as 130.
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGINT as i32));
}

#[test]
fn status_is_a_table() {
    let fake = Fake::start();
    let out = fake.run(&["status"]).success();
    assert_eq!(
        out,
        "State       ready\n\
         Model       fake\n\
         Precision   int8\n\
         Backend     cpu\n\
         Dimension   3\n\
         Image size  224 × 224\n\
         Queue       1 of 8\n\
         Version     1.2.3\n"
    );
}

#[test]
fn status_as_json_and_its_exit_code() {
    let fake = Fake::in_state("failed");
    let finished = fake.run(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&finished.out).unwrap();
    finished.failure(3);
    assert_eq!(
        status,
        serde_json::json!({
            "state": "failed", "version": "1.2.3", "model": "fake", "precision": "int8", "backend": "cpu", "device": null,
            "device_architecture": null, "firmware_version": null, "library_version": null,
            "driver_version": null, "device_temperature": null, "device_throttled": null, "embedding_dimension": 3, "image_size": 224, "idle": null, "queue_depth": 1, "max_queue_size": 8,
            "last_error": "model.onnx is damaged",
        })
    );
    fake.set_state("degraded");
    fake.run(&["status"]).success();
}
