//! What an administrator does with the command: `model`, `warmup`, `reload`.

use std::process::Stdio;

use crate::{
    bus::{Bus, Finished},
    fake::{Fake, Refusal},
};

#[test]
fn orders_are_passed_on_and_a_person_may_be_asked() {
    let fake = Fake::start();
    for (arguments, order, said) in [
        (&["model", "load", "clip-vit-b-32"][..], ("LoadModel", "clip-vit-b-32"), "fake is in service\n"),
        (&["model", "load"], ("LoadModel", ""), "fake is in service\n"),
        (
            &["model", "unload"],
            ("UnloadModel", ""),
            "the model is released; the next request loads it again\n",
        ),
        (&["warmup"], ("Warmup", ""), "both encoders have run\n"),
        (&["reload"], ("Reload", ""), "the configuration is in force\n"),
    ] {
        assert_eq!(fake.run(arguments).success(), said);
        let calls = fake.calls();
        assert_eq!(calls.len(), 1, "{arguments:?}");
        assert_eq!(calls[0].order, Some((order.0, order.1.to_owned())));
        assert!(calls[0].interactive, "{arguments:?}");
    }
}

#[test]
fn other_requests_bother_nobody_with_a_password() {
    let fake = Fake::start();
    fake.run(&["embed", "text", "a cat"]).success();
    assert!(!fake.next_call().interactive);
}

#[test]
fn refusals_say_what_to_do_and_are_not_tried_again() {
    let fake = Fake::start();
    for (refusal, code, message) in [
        (
            Refusal::NotAuthorized("polkit does not allow it".to_owned()),
            3,
            "you may not manage the service (polkit does not allow it); root and members of the group \
             hailo-clip may",
        ),
        (
            Refusal::NoSuchModel("model cat is not installed; installed: demo".to_owned()),
            4,
            "model cat is not installed; installed: demo",
        ),
        (
            Refusal::BackendFailed("model cat: image.onnx is missing".to_owned()),
            4,
            "the service failed: model cat: image.onnx is missing; \"journalctl -u hailo-clip -e\" may say more",
        ),
        (
            Refusal::InvalidConfiguration("hailo-clip.yaml:2:3: a\tb\nhailo-clip.yaml:4:1: no".to_owned()),
            4,
            "the old configuration stays in force: hailo-clip.yaml:2:3: a\\tb\nhailo-clip.yaml:4:1: no",
        ),
        (
            Refusal::NotReady("the service is stopping".to_owned()),
            3,
            "the service is not ready: the service is stopping",
        ),
    ] {
        for arguments in [&["model", "load", "cat"][..], &["model", "unload"], &["reload"]] {
            fake.refuse(refusal.clone());
            assert_eq!(fake.run(arguments).failure(code), format!("hailo-clip: {message}\n"));
            assert_eq!(fake.calls().len(), 1, "{arguments:?}: a refusal is an answer");
        }
    }
}

#[test]
fn a_warm_up_waits_for_the_model() {
    let fake = Fake::in_state("loading");
    let child = fake.bus.command(&["warmup"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    fake.next_call();
    fake.set_state("ready");
    Finished::from(child.wait_with_output().unwrap()).success();
}

#[test]
fn an_answer_is_waited_for_as_long_as_asked() {
    let fake = Fake::start();
    let err = fake.run(&["model", "load", "silent", "--timeout", "0.2"]).failure(4);
    assert_eq!(err, "hailo-clip: no answer within 200ms; --timeout gives it more time\n");
}

#[test]
fn a_service_that_does_not_run_is_not_started_to_give_something_up() {
    let bus = Bus::with_config("<servicedir>@</servicedir>");
    bus.file("org.hailo.Clip1.service", "[D-BUS Service]\nName=org.hailo.Clip1\nExec=/bin/false\n");
    for arguments in [&["model", "unload"][..], &["reload"]] {
        let err = bus.run(arguments).failure(3);
        assert!(err.contains("the service is not running; start it with"), "{err}");
    }
    for arguments in [&["model", "load", "demo"][..], &["warmup"]] {
        let err = bus.run(arguments).failure(3);
        assert!(err.contains("the service did not start"), "{err}");
    }
}

#[test]
fn an_older_service_does_not_know_it() {
    let fake = Fake::start();
    fake.remove_manager();
    let err = fake.run(&["warmup"]).failure(3);
    assert!(err.contains("does not understand this command") && err.contains("same version"), "{err}");
}
