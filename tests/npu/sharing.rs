//! One device, several programs.

use crate::{
    common::{
        Daemon,
        simulator::{HAILO_8L, HAILO_10H, Machine},
    },
    support::*,
};

#[test]
fn a_device_in_use_is_named_with_its_holder_and_taken_when_it_is_free() {
    let machine = Machine::new(HAILO_8L);
    let first = Daemon::on(machine.clone(), "clip: {backend: hailo}\n");
    let second = Daemon::on(machine, "clip: {backend: hailo}\n");
    let reason = health(&second)["error"].as_str().unwrap().to_owned();
    let holder = format!("/dev/hailo0 is in use by hailo-clipd (process {})", first.process.id());
    assert!(reason.contains(&holder), "{reason}");
    assert_works(&first);
    drop(first);
    wait_for(&second, is_real);
    assert_works(&second);
}

#[test]
fn an_idle_service_lets_others_have_the_device() {
    let machine = Machine::new(HAILO_10H);
    let idle = "clip: {backend: hailo}\nperformance: {idle_unload_seconds: 1}\n";
    let first = Daemon::on(machine.clone(), idle);
    assert_works(&first);
    let second = Daemon::on(machine, idle);
    wait_for(&second, is_real);
    assert_works(&second);
    // Both go on, in turns.
    let answered = |daemon: &Daemon| embed_image(daemon, "red-circle.png").status == 200;
    for _ in 0..2 {
        for daemon in [&first, &second] {
            let started = std::time::Instant::now();
            while !answered(daemon) {
                assert!(started.elapsed() < crate::common::PATIENCE, "{}", daemon.log());
            }
        }
    }
}
