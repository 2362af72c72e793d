//! Callers that send too much, against the real daemon: memory stays bounded.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod dbus_service;

use std::{collections::HashMap, fs};

use common::Daemon;
use dbus_service::{Classified, Client, Options, RED, connect, picture, refusal};
use zbus::as_variant;

const MIB: u64 = 1 << 20;

/// The most memory that the daemon ever had, and what it has now, in bytes.
fn peak_and_current(daemon: &Daemon) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.process.id())).unwrap();
    let field = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    (field("VmHWM:") * 1024, field("VmRSS:") * 1024)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_value_for_an_option_costs_little_more_than_its_bytes() {
    let daemon = Daemon::start();
    let client = Client(connect(&daemon.bus).await);
    let (_, before) = peak_and_current(&daemon);
    let bytes = vec![7u8; usize::try_from(16 * MIB).unwrap()];
    let options = HashMap::from([("note", as_variant::Serialize(&bytes))]);
    let (error, text) =
        refusal(client.call::<Classified>("Classify", &(picture(RED), ["red"].as_slice(), options)).await);
    assert_eq!(error, "InvalidArgument", "{text}");
    let (peak, _) = peak_and_current(&daemon);
    assert!(peak < before + 4 * 16 * MIB, "{} MiB became {} MiB", before / MIB, peak / MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_large_calls_is_refused() {
    let daemon = Daemon::start();
    let client = Client(connect(&daemon.bus).await);
    client.classify(&picture(RED), &["red"], Options::new()).await.unwrap();
    let (_, before) = peak_and_current(&daemon);
    let large = vec![0; usize::try_from(2 * MIB).unwrap()];
    let calls: Vec<_> = (0..32).map(|_| client.start_embed_image(&large)).collect();
    for call in calls {
        let (error, text) = refusal(call.await.unwrap());
        assert!(["InvalidImage", "QueueFull"].contains(&error.as_str()), "{error}: {text}");
    }
    let (peak, _) = peak_and_current(&daemon);
    assert!(peak < before + 32 * 2 * MIB, "{} MiB became {} MiB", before / MIB, peak / MIB);
    client
        .classify(&picture(RED), &["red"], Options::new())
        .await
        .expect("good requests are served as before");
}
