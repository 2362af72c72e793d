//! Calls on the D-Bus facade: answers, options, file descriptors, errors.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod dbus_service;

use std::{
    collections::HashMap,
    fs::File,
    io::{Seek, SeekFrom},
    os::fd::OwnedFd,
};

use common::PATIENCE;
use dbus_service::{Classified, Client, GREEN, Gate, Options, RED, Service, memfd, picture, refusal};
use hailo_clip::dbus::Limits;
use zbus::{Fd, Message, Variant, message::Flags};

const COLOURS: [&str; 3] = ["red", "green", "blue"];

async fn classify_fd(client: &Client, file: &File) -> zbus::Result<Classified> {
    client.call("ClassifyFd", &(Fd::from(file), COLOURS.as_slice(), Options::new())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn classify_ranks_all_prompts_and_tells_details() {
    let service = Service::start().await;
    let client = service.client().await;
    let (ranked, details) = client.classify(&picture(GREEN), &COLOURS, Options::new()).await.unwrap();

    assert_eq!(ranked[0].0, "green");
    assert_eq!(ranked.len(), 3);
    assert!(ranked.windows(2).all(|pair| pair[0].1 >= pair[1].1));
    assert!((ranked.iter().map(|(_, score)| score).sum::<f64>() - 1.0).abs() < 1e-6);

    let mut keys: Vec<_> = details.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "backend",
            "decode_ms",
            "image_ms",
            "inference_time_ms",
            "model",
            "preprocess_ms",
            "queue_ms",
            "score_ms",
            "text_ms"
        ]
    );
    assert_eq!(*details["model"], Variant::from("demo"));
    assert_eq!(*details["backend"], Variant::from("cpu"));
    for (name, value) in details.iter().filter(|(name, _)| name.ends_with("_ms")) {
        assert!(matches!(**value, Variant::F64(ms) if ms >= 0.0), "{name}: {value:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn embeddings_are_normalised_and_in_order() {
    let service = Service::start().await;
    let client = service.client().await;

    let image = client.embed_image(&picture(RED)).await.unwrap();
    assert_eq!(image.len(), 3);
    assert!((image.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-6);

    let texts: Vec<Vec<f64>> = client.call("EmbedTexts", &(["green", "red"].as_slice(),)).await.unwrap();
    assert_eq!(texts, [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_descriptor_gives_what_the_bytes_give_and_keeps_its_offset() {
    let service = Service::start().await;
    let client = service.client().await;
    let mut file = memfd(&picture(RED));
    file.seek(SeekFrom::Start(5)).unwrap();

    let (by_bytes, _) = client.classify(&picture(RED), &COLOURS, Options::new()).await.unwrap();
    let (by_memfd, _) = classify_fd(&client, &file).await.unwrap();
    assert_eq!(by_memfd, by_bytes);
    assert_eq!(file.stream_position().unwrap(), 5);

    let mut on_disk = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut on_disk, &picture(RED)).unwrap();
    let embedding: Vec<f64> = client.call("EmbedImageFd", &(Fd::from(&on_disk),)).await.unwrap();
    assert_eq!(embedding, client.embed_image(&picture(RED)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_say_what_became_of_the_requests() {
    let service = Service::with(|settings| settings.performance.max_queue_size = 1, Limits::default()).await;
    let client = service.client().await;
    let counts = async || client.call::<HashMap<String, f64>>("Statistics", &()).await.unwrap();
    let fresh = counts().await;
    assert!(fresh["uptime_s"] > 0.0);
    assert!(
        !["first_answer_ms", "median_answer_ms", "p95_answer_ms"].iter().any(|key| fresh.contains_key(*key))
    );
    let numbers = [
        "requests",
        "answered",
        "rejected",
        "refused",
        "not_ready",
        "timed_out",
        "failed",
        "text_cache_hits",
        "text_cache_misses",
    ];
    assert!(numbers.iter().all(|key| fresh[*key] == 0.0), "{fresh:?}");

    // Another client's requests count as well.
    let other = service.client().await;
    for _ in 0..2 {
        other.classify(&picture(RED), &COLOURS, Options::new()).await.unwrap();
    }
    refusal(other.embed_image(b"no picture").await);
    service.close_gate();
    let held = other.start_embed_image(&picture(RED));
    service.in_flight(1).await;
    refusal(client.embed_image(&picture(RED)).await);
    service.open_gate();
    held.await.unwrap().unwrap();
    service.gate.send_replace(Gate::Broken);
    refusal(other.embed_image(&picture(RED)).await);
    service.close_gate();
    refusal(client.classify(&picture(RED), &["red"], HashMap::from([("timeout_ms", 1u32.into())])).await);
    service.open_gate();
    service.engine.drain(PATIENCE).await;
    refusal(other.embed_image(&picture(RED)).await);

    let counts = counts().await;
    let expected = [8.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 4.0, 3.0];
    for (key, expected) in numbers.into_iter().zip(expected) {
        assert_eq!(counts[key], expected, "{key} of {counts:?}");
    }
    let [first, median, p95] =
        ["first_answer_ms", "median_answer_ms", "p95_answer_ms"].map(|key| counts[key]);
    assert!(first > 0.0 && median > 0.0 && median <= p95, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn options_take_effect() {
    let service = Service::start().await;
    let client = service.client().await;
    let classify = async |options: Options<'static>| {
        client.classify(&picture([200, 100, 0]), &COLOURS, options).await.unwrap().0
    };

    let cosines = classify(HashMap::from([("apply_softmax", false.into())])).await;
    assert_eq!(cosines.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>(), COLOURS);
    assert!((cosines[0].1 - 201.0 / f64::sqrt(201.0 * 201.0 + 101.0 * 101.0 + 1.0)).abs() < 1e-6);

    // As gdbus and busctl users write it: a plain number is an `i`.
    assert_eq!(classify(HashMap::from([("top_k", 1i32.into())])).await.len(), 1);
    let above = HashMap::from([("apply_softmax", false.into()), ("threshold", 0.4f64.into())]);
    assert_eq!(classify(above).await.len(), 2);
    let flat = classify(HashMap::from([("logit_scale", 1i32.into())])).await;
    assert!(flat[0].1 < 0.6, "softmax of cosines is flat: {flat:?}");
    let templates = HashMap::from([("templates", Variant::new(vec!["{} thing", "{}"]))]);
    assert_eq!(classify(templates).await[0].0, "red");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_options_are_named() {
    let service = Service::start().await;
    let client = service.client().await;
    let bad: [(&str, Variant<'_>, &str); 8] = [
        ("topk", 5.into(), "did you mean \"top_k\""),
        ("top_k", "five".into(), "\"top_k\" must be"),
        ("top_k", (-1).into(), "\"top_k\" must be"),
        ("top_k", 0.into(), "top_k"),
        ("threshold", f64::NAN.into(), "threshold"),
        ("logit_scale", (-1.0).into(), "logit_scale"),
        ("templates", Variant::new(vec!["no placeholder"]), "\"templates\""),
        ("note", Variant::new(vec![7u8; 1000]), "unknown option \"note\""),
    ];
    for (name, value, expected) in bad {
        let options = HashMap::from([(name, value)]);
        let (error, text) = refusal(client.classify(&picture(RED), &COLOURS, options).await);
        assert_eq!(error, "InvalidArgument", "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_are_no_request_are_refused() {
    let service = Service::with(|settings| settings.server.max_body_bytes = 1 << 20, Limits::default()).await;
    let client = service.client().await;
    let picture = picture(RED);
    let refused =
        async |image: &[u8], prompts: &[&str]| refusal(client.classify(image, prompts, Options::new()).await);

    assert_eq!(refused(&picture, &[]).await.0, "InvalidArgument");
    assert_eq!(refused(&picture, &vec!["red"; 10_000]).await.0, "InvalidArgument");
    assert_eq!(refused(&picture, &["x".repeat(1_000_000).as_str()]).await.0, "InvalidArgument");
    assert_eq!(refused(&picture, &["x".repeat(2_000_000).as_str()]).await.0, "TooLarge");
    assert_eq!(refused(&picture, &vec![""; 300_000]).await.0, "TooLarge");
    assert_eq!(
        refusal(client.call::<Vec<Vec<f64>>>("EmbedTexts", &(Vec::<&str>::new(),)).await).0,
        "InvalidArgument"
    );

    for bad in [&b""[..], b"not a picture", &picture[..picture.len() / 2]] {
        assert_eq!(refused(bad, &COLOURS).await, ("InvalidImage".into(), "Failed to decode image".into()));
    }
    let (error, text) = refusal(client.embed_image(&vec![0; (1 << 20) + 1]).await);
    assert_eq!(error, "TooLarge");
    assert!(text.contains("1048577") && text.contains("server.max_body_mb"), "{text}");

    let (error, _) = refusal(client.call::<Classified>("Classify", &("a path?", COLOURS.as_slice())).await);
    assert_eq!(error, "org.freedesktop.DBus.Error.InvalidArgs");
    let (error, _) = refusal(client.call::<()>("Train", &()).await);
    assert_eq!(error, "org.freedesktop.DBus.Error.UnknownMethod");

    client.embed_image(&picture).await.expect("good requests are served as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_of_too_many_pixels_is_refused() {
    let service = Service::with(|settings| settings.server.max_image_pixels = 31, Limits::default()).await;
    let (error, _) = refusal(service.client().await.embed_image(&picture(RED)).await);
    assert_eq!(error, "TooLarge");
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptors_that_are_no_picture_files_are_refused() {
    let service = Service::with(|settings| settings.server.max_body_bytes = 1 << 20, Limits::default()).await;
    let client = service.client().await;
    let (reader, _writer) = nix::unistd::pipe().unwrap();
    let (socket, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write_only = File::create(folder.path().join("picture")).unwrap();
    let large = memfd(b"");
    large.set_len((1 << 20) + 1).unwrap();
    let half = picture(RED);

    for (file, expected) in [
        (File::from(reader), "InvalidArgument"),
        (File::from(OwnedFd::from(socket)), "InvalidArgument"),
        (File::open(folder.path()).unwrap(), "InvalidArgument"),
        (File::open("/dev/zero").unwrap(), "InvalidArgument"),
        (write_only, "InvalidArgument"),
        (large, "TooLarge"),
        (memfd(b""), "InvalidImage"),
        (memfd(&half[..half.len() / 2]), "InvalidImage"),
    ] {
        let (error, text) = refusal(classify_fd(&client, &file).await);
        assert_eq!(error, expected, "{text}");
        assert!(!text.contains('/'), "no path: {text}");
    }
    classify_fd(&client, &memfd(&picture(RED))).await.expect("good requests are served as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passed_deadline_leaves_no_work() {
    let service = Service::start().await;
    let client = service.client().await;
    service.close_gate();
    let options = HashMap::from([("timeout_ms", 1u32.into())]);
    let (error, text) = refusal(client.classify(&picture(RED), &COLOURS, options).await);
    assert_eq!(error, "Timeout", "{text}");
    service.in_flight(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses() {
    let service = Service::with(|settings| settings.performance.max_queue_size = 1, Limits::default()).await;
    let client = service.client().await;
    service.close_gate();
    let first = client.start_embed_image(&picture(RED));
    service.in_flight(1).await;
    let (error, text) = refusal(service.client().await.embed_image(&picture(RED)).await);
    assert_eq!(error, "QueueFull", "{text}");
    service.open_gate();
    first.await.unwrap().expect("what was accepted is answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_waits_for_the_model_to_be_loaded() {
    let service = Service::without_model(|_| {}, Limits::default()).await;
    let call = service.client().await.start_embed_image(&picture(RED));
    service.in_flight(1).await;
    service.engine.load().await.unwrap();
    call.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_service_refuses_calls() {
    let service = Service::start().await;
    let client = service.client().await;
    service.engine.drain(PATIENCE).await;
    let (error, text) = refusal(client.embed_image(&picture(RED)).await);
    assert_eq!(error, "NotReady");
    assert!(text.contains("stopping"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_encoder_is_told() {
    let service = Service::start().await;
    service.gate.send_replace(Gate::Broken);
    let (error, text) = refusal(service.client().await.embed_image(&picture(RED)).await);
    assert_eq!(error, "BackendFailed");
    assert!(text.contains("out of order"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_wants_no_answer_costs_no_work() {
    let service = Service::start().await;
    let client = service.client().await;
    let message = Message::method_call(hailo_clip::dbus::PATH, "EmbedImage")
        .destination(hailo_clip::dbus::NAME)
        .interface(hailo_clip::dbus::NAME)
        .with_flags(Flags::NO_REPLY_EXPECTED)
        .build(&(picture(RED),))
        .unwrap();
    for _ in 0..20 {
        client.0.send(&message).await.unwrap();
    }
    client.embed_image(&picture(GREEN)).await.unwrap();
    assert_eq!(service.pictures(), 1);
}
