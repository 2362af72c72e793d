//! A device that fails while it works: the right error, no answer lost or crossed, and recovery.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use serde_json::Value;

use crate::{
    common::{
        Daemon,
        simulator::{HAILO_8, HAILO_8L, HAILO_10H, Kind},
    },
    http::Answer,
    support::*,
};

const SOON: &str = "clip: {backend: hailo, device_timeout_ms: 300}\n";

/// Asks from several clients without pause while `meanwhile` happens, and checks that each answer is the
/// one to its own question. Gives the answers that were none.
fn under_load(daemon: &Daemon, meanwhile: impl FnOnce()) -> Vec<(u16, Value)> {
    let expected: Vec<Vec<f64>> =
        SAMPLES.iter().map(|(name, _)| embedding(&embed_image(daemon, name))).collect();
    let (over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let ask = |client: usize| {
        let mut failures = Vec::new();
        let mut turn = client;
        while !over.load(Ordering::Relaxed) {
            turn = (turn + 1) % SAMPLES.len();
            let answer: Answer = embed_image(daemon, SAMPLES[turn].0);
            asked.fetch_add(1, Ordering::Relaxed);
            if answer.status == 200 {
                let cosine = cosine(&embedding(&answer), &expected[turn]);
                assert!(cosine > 0.98, "{cosine}: this is the answer to another question");
            } else {
                failures.push((answer.status, answer.json()));
            }
        }
        failures
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|client| scope.spawn(move || ask(client))).collect();
        while asked.load(Ordering::Relaxed) < 8 {
            thread::yield_now();
        }
        meanwhile();
        let before = asked.load(Ordering::Relaxed);
        while asked.load(Ordering::Relaxed) < before + 16 {
            thread::yield_now();
        }
        over.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

#[test]
fn an_inference_that_fails_is_run_again() {
    let daemon = on_npu(HAILO_8);
    let failures = under_load(&daemon, || {
        // The third frame from now on, with an internal failure.
        machine(&daemon).set("fail", "3 8");
        let started = daemon.log().len();
        while !daemon.log()[started..].contains("inference failed") {
            thread::yield_now();
        }
    });
    assert!(failures.is_empty(), "{failures:?}");
    assert!(is_real(&health(&daemon)));
}

#[test]
fn an_inference_that_always_fails_is_said() {
    let daemon = on_npu(HAILO_8L);
    machine(&daemon).set("fail_call", "run 8");
    let answer = embed_image(&daemon, "red-circle.png");
    assert_eq!((answer.status, answer.code().as_str()), (500, "inference_failed"));
    machine(&daemon).unset("fail_call");
    assert_works(&daemon);
}

#[test]
fn an_exception_is_a_failure_and_no_more() {
    let daemon = on_npu(HAILO_8L);
    machine(&daemon).set("throw", "run");
    let answer = embed_image(&daemon, "red-circle.png");
    assert_eq!((answer.status, answer.code().as_str()), (500, "inference_failed"));
    machine(&daemon).unset("throw");
    assert_works(&daemon);
}

#[test]
fn a_device_that_hangs_costs_its_callers_a_timeout() {
    for (kind, fault) in [(HAILO_8, "hang"), (HAILO_8L, "never"), (HAILO_10H, "hang")] {
        let daemon = on_npu_with(kind, SOON);
        assert_works(&daemon);
        machine(&daemon).set("fault", fault);
        let answer = embed_image(&daemon, "red-circle.png");
        assert_eq!((answer.status, answer.code().as_str()), (504, "timeout"), "{fault}");
        machine(&daemon).unset("fault");
        assert_works(&daemon);
        assert!(is_real(&health(&daemon)));
    }
}

#[test]
fn a_late_device_is_waited_for_and_a_very_late_one_is_not() {
    let daemon = on_npu_with(HAILO_8, "clip: {backend: hailo, device_timeout_ms: 1000}\n");
    machine(&daemon).set("late_ms", "200");
    assert_eq!(embed_image(&daemon, "red-circle.png").status, 200);
    machine(&daemon).set("late_ms", "60000");
    assert_eq!(embed_image(&daemon, "red-circle.png").status, 504);
    machine(&daemon).unset("late_ms");
    assert_works(&daemon);
}

#[test]
fn what_is_no_embedding_is_no_answer() {
    let daemon = on_npu(HAILO_10H);
    machine(&daemon).set("corrupt", "zero");
    let answer = embed_image(&daemon, "red-circle.png");
    assert_eq!((answer.status, answer.code().as_str()), (500, "inference_failed"));
    machine(&daemon).unset("corrupt");
    assert_works(&daemon);
}

fn vanish(daemon: &Daemon, status: &str) {
    machine(daemon).unplug(0);
    machine(daemon).set("vanish", status);
}

fn come_back(daemon: &Daemon) {
    machine(daemon).unset("vanish");
    machine(daemon).plug(0);
}

#[test]
fn a_device_that_vanishes_costs_no_request_where_the_cpu_may_take_over() {
    for (kind, status) in [(HAILO_8, "36"), (HAILO_8L, "87"), (HAILO_8, "88"), (HAILO_10H, "96")] {
        let daemon = on_npu_with(kind, "clip: {backend: auto}\n");
        assert!(is_real(&health(&daemon)));
        let failures = under_load(&daemon, || {
            vanish(&daemon, status);
            let health = wait_for(&daemon, is_degraded);
            assert_eq!(health["backend"], "cpu", "{health}");
            come_back(&daemon);
            let health = wait_for(&daemon, is_real);
            assert_eq!(health["backend"], "hailo", "{health}");
        });
        assert!(failures.is_empty(), "status {status}: {failures:?}\n{}", daemon.log());
        assert!(daemon.log().contains(&format!("HailoRT status {status}")), "{}", daemon.log());
    }
}

#[test]
fn a_device_that_vanishes_is_said_where_nothing_may_take_over() {
    let daemon = on_npu(HAILO_8L);
    let failures = under_load(&daemon, || {
        vanish(&daemon, "36");
        wait_for(&daemon, |health| health["status"] == "unhealthy");
        come_back(&daemon);
        wait_for(&daemon, is_real);
    });
    assert!(!failures.is_empty());
    for (status, body) in &failures {
        assert_eq!((status, &body["code"]), (&503, &"failed".into()), "{body}");
    }
}

#[test]
fn a_hot_device_is_reported() {
    let daemon = on_npu(HAILO_8);
    machine(&daemon).set("temperature", "91");
    machine(&daemon).set("throttling", "2");
    let health = wait_for(&daemon, |health| health["device"]["throttled"] == true);
    assert_eq!(health["device"]["temperature_c"], 91.0);
    assert!(daemon.log().contains("the device is throttled"), "{}", daemon.log());
    machine(&daemon).unset("throttling");
    wait_for(&daemon, |health| health["device"]["throttled"] == false);
}

/// All faults, again and again: nothing of them stays.
#[test]
fn faults_leave_nothing_behind() {
    let kind: Kind = HAILO_8;
    let daemon = on_npu_with(kind, SOON);
    let strike = || {
        for (key, value) in [("fault", "hang"), ("fail_call", "run 8"), ("throw", "run")] {
            machine(&daemon).set(key, value);
            assert!(embed_image(&daemon, "red-circle.png").status >= 500);
            machine(&daemon).unset(key);
            assert_works(&daemon);
        }
        vanish(&daemon, "36");
        // Asked once, the loss is noticed.
        embed_image(&daemon, "red-circle.png");
        come_back(&daemon);
        wait_for(&daemon, is_real);
        assert_works(&daemon);
    };
    let settled = || {
        // The threads that end failed models need a moment.
        while threads(&daemon).iter().any(|name| name == "reset") {
            thread::yield_now();
        }
        let of_device = |name: &String| name == "device" || name.starts_with("hailort");
        (threads(&daemon).iter().filter(|name| of_device(name)).count(), descriptors(&daemon))
    };
    strike();
    let before = settled();
    for _ in 0..5 {
        strike();
    }
    assert_eq!(settled(), before, "threads and descriptors of the device");
}

/// Open descriptors of the device's node.
fn descriptors(daemon: &Daemon) -> usize {
    let root = machine(daemon).root();
    std::fs::read_dir(format!("/proc/{}/fd", daemon.process.id()))
        .unwrap()
        .flatten()
        .filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok())
        .filter(|target| target.starts_with(&root))
        .count()
}
