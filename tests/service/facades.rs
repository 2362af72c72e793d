//! D-Bus and HTTP at the same time: one engine, the same scores.

use std::{collections::HashMap, sync::Arc};

use serde_json::json;
use zbus::Connection;

use crate::{
    common::Daemon,
    http::{base64, post, sample},
};

const PROMPTS: [&str; 4] = ["a red circle", "a blue star", "an empty shelf", "a person on a bicycle"];
const SAMPLES: [&str; 4] =
    ["red-circle.png", "blue-star-top-left.png", "empty-shelf.png", "person-on-bicycle.jpg"];

type Classified = (Vec<(String, f64)>, HashMap<String, zbus::OwnedVariant>);

async fn over_dbus(connection: &Connection, image: &[u8]) -> Vec<(String, f64)> {
    let options = HashMap::<&str, zbus::Variant<'_>>::new();
    let name = "org.hailo.Clip1";
    let reply = connection
        .call_method(Some(name), "/org/hailo/Clip1", Some(name), "Classify", &(image, &PROMPTS[..], options))
        .await
        .unwrap();
    let (classifications, _): Classified = reply.body().deserialize().unwrap();
    classifications
}

fn over_http(daemon: &Daemon, image: &[u8]) -> Vec<(String, f64)> {
    let body = json!({"image": base64(image), "prompts": PROMPTS, "top_k": PROMPTS.len()});
    let answer = post(daemon, "/v1/classify", &body).json();
    let classifications = answer["classifications"].as_array().unwrap();
    classifications
        .iter()
        .map(|c| (c["text"].as_str().unwrap().to_owned(), c["score"].as_f64().unwrap()))
        .collect()
}

/// Scores as `f32`: D-Bus widens them, and HTTP writes them in decimal.
fn scores(answer: Vec<(String, f64)>) -> Vec<(String, f32)> {
    #[allow(clippy::cast_possible_truncation, reason = "back to the f32 that it was")]
    answer.into_iter().map(|(text, score)| (text, score as f32)).collect()
}

async fn connect(daemon: &Daemon) -> Connection {
    zbus::connection::Builder::address(daemon.bus.address.as_str()).build().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_doors_give_identical_scores_in_turns() {
    let daemon = Daemon::start();
    let connection = connect(&daemon).await;
    for (winner, name) in PROMPTS.into_iter().zip(SAMPLES) {
        let image = sample(name);
        let first = scores(over_dbus(&connection, &image).await);
        assert_eq!(first[0].0, winner);
        for _ in 0..3 {
            assert_eq!(scores(over_http(&daemon, &image)), first);
            assert_eq!(scores(over_dbus(&connection, &image).await), first);
        }
    }
}

/// At the same time, pictures share batches. The encoder then rounds differently in the last digits,
/// and that is all.
#[tokio::test(flavor = "multi_thread")]
async fn both_doors_give_the_same_scores_at_the_same_time() {
    let daemon = Arc::new(Daemon::start());
    let connection = connect(&daemon).await;
    let mut alone = Vec::new();
    for name in SAMPLES {
        alone.push(scores(over_dbus(&connection, &sample(name)).await));
    }
    let mut requests = Vec::new();
    for round in 0..12 {
        let picture = round % SAMPLES.len();
        let image = sample(SAMPLES[picture]);
        let (daemon, connection) = (Arc::clone(&daemon), connection.clone());
        requests.push((picture, tokio::task::spawn_blocking(move || over_http(&daemon, &image))));
        let image = sample(SAMPLES[picture]);
        requests.push((picture, tokio::spawn(async move { over_dbus(&connection, &image).await })));
    }
    for (picture, answer) in requests {
        let answer = scores(answer.await.unwrap());
        for ((text, score), (expected_text, expected)) in answer.iter().zip(&alone[picture]) {
            assert_eq!(text, expected_text);
            assert!((score - expected).abs() < 1e-5, "{text}: {score}, alone {expected}");
        }
    }
}

/// Where tests are to run on an NPU, they do.
#[test]
fn the_backend_that_is_tested_is_the_one_that_answers() {
    let daemon = Daemon::start();
    let health = crate::http::get(&daemon, "/health").json();
    assert_eq!(health["backend"], crate::common::backend());
    let device = crate::common::simulator::kind_to_test().map(|kind| kind.name);
    assert_eq!(health["device"]["architecture"].as_str(), device);
}
