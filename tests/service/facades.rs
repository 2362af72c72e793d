//! D-Bus and HTTP at the same time: one engine, the same scores.

use std::collections::HashMap;

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

#[tokio::test(flavor = "multi_thread")]
async fn both_doors_give_identical_scores() {
    let daemon = std::sync::Arc::new(Daemon::start());
    let connection = zbus::connection::Builder::address(daemon.bus.address.as_str()).build().await.unwrap();
    let pictures: Vec<_> = SAMPLES.iter().map(|name| sample(name)).collect();
    let mut both = Vec::new();
    for round in 0..12 {
        let picture = round % pictures.len();
        both.push({
            let (daemon, image) = (std::sync::Arc::clone(&daemon), pictures[picture].clone());
            (picture, tokio::task::spawn_blocking(move || over_http(&daemon, &image)))
        });
        both.push({
            let (connection, image) = (connection.clone(), pictures[picture].clone());
            (picture, tokio::spawn(async move { over_dbus(&connection, &image).await }))
        });
    }
    let mut first: HashMap<usize, Vec<(String, f64)>> = HashMap::new();
    for (picture, answer) in both {
        // An f32 score is written in decimal by HTTP and widened by D-Bus: it is the same f32.
        #[allow(clippy::cast_possible_truncation, reason = "back to the f32 that it was")]
        let answer: Vec<_> =
            answer.await.unwrap().into_iter().map(|(text, score)| (text, f64::from(score as f32))).collect();
        assert_eq!(answer[0].0, PROMPTS[picture], "the right prompt wins");
        let expected = first.entry(picture).or_insert_with(|| answer.clone());
        assert_eq!(answer, *expected);
    }
}
