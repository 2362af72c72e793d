//! The contract of the service that this one replaces: every case that its own test-suite has, and the
//! answers that its clients rely on. What was added to it has files of its own.

#[path = "../http_support/mod.rs"]
mod http_support;

mod explanation;
mod page;
mod security;

use std::time::Duration;

use serde_json::{Value, json};

use self::http_support::{Answer, Service, classify_body, red};

const CLASSIFY: &str = "/v1/classify";
const EMBED_IMAGE: &str = "/v1/embed/image";
const EMBED_TEXT: &str = "/v1/embed/text";

fn classify(extra: Value) -> String {
    let mut body = json!({ "image": red(), "prompts": ["red", "green", "blue", "else"] });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body.to_string()
}

fn ranked(answer: &Answer) -> Vec<&str> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let classifications = answer.body["classifications"].as_array().unwrap();
    for (classification, rank) in classifications.iter().zip(1..) {
        assert_eq!(classification["rank"], rank);
        assert_eq!(classification.as_object().unwrap().len(), 3);
    }
    let scores: Vec<_> = classifications.iter().map(|c| c["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    classifications.iter().map(|c| c["text"].as_str().unwrap()).collect()
}

// Health

#[tokio::test(flavor = "multi_thread")]
async fn health_says_healthy_once_the_model_is_loaded() {
    let service = Service::not_loaded(|_, _| {}).await;
    let starting = service.get("/health").await;
    assert_eq!(starting.status, 200);
    assert_eq!(starting.body["status"], "starting");
    assert_eq!(starting.body["model_loaded"], false);
    assert_eq!(starting.body["backend"], Value::Null);
    assert_eq!(service.get("/health/live").await.status, 200);
    let ready = service.get("/health/ready").await;
    ready.is_error(503, "loading");
    assert!(ready.header("retry-after").is_some());

    service.engine.load().await.unwrap();
    let healthy = service.get("/health").await;
    assert_eq!(healthy.status, 200);
    let uptime = healthy.body["uptime_s"].clone();
    assert!(uptime.is_u64());
    assert_eq!(
        healthy.body,
        json!({
            "status": "healthy", "service": "hailo-clip", "model_loaded": true, "model": "demo",
            "precision": "fp32", "runtime_mode": "real", "backend": "cpu", "version": env!("CARGO_PKG_VERSION"),
            "uptime_s": uptime, "idle": false, "device_name": "a colour encoder", "queue_depth": 0,
            "max_queue_size": 64, "max_body_bytes": 16 << 20, "max_image_pixels": 64_000_000,
        })
    );
    assert_eq!(service.get("/health/live").await.body, json!({ "status": "alive" }));
    assert_eq!(service.get("/health/ready").await.body, json!({ "status": "ready" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_why_the_service_is_degraded_or_failed() {
    let degraded = Service::ready_with(|settings, _| settings.clip.model = "fallback".into()).await;
    let health = degraded.get("/health").await;
    assert_eq!((health.status, &health.body["status"]), (200, &json!("healthy")));
    assert_eq!(health.body["runtime_mode"], "degraded");
    assert_eq!(health.body["error"], "no NPU was found");

    let failed = Service::not_loaded(|settings, _| settings.clip.model = "broken".into()).await;
    failed.engine.load().await.unwrap_err();
    let health = failed.get("/health").await;
    assert_eq!((health.status, &health.body["status"]), (503, &json!("unhealthy")));
    assert_eq!((&health.body["model"], &health.body["model_loaded"]), (&json!("broken"), &json!(false)));
    assert!(health.body["error"].as_str().unwrap().contains("not installed"));
    failed.get("/health/ready").await.is_error(503, "failed");
    let refused = failed.post_json(CLASSIFY, classify_body(&["red"])).await;
    assert!(refused.is_error(503, "failed").contains("not installed"));
    assert!(refused.header("retry-after").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_draining_while_the_service_stops() {
    let service = Service::ready().await;
    assert!(service.engine.drain(Duration::from_secs(1)).await);
    let health = service.get("/health").await;
    assert_eq!((health.status, &health.body["status"]), (503, &json!("draining")));
    service.get("/health/ready").await.is_error(503, "draining");
    assert_eq!(service.get("/health/live").await.status, 200);
    let refused = service.post_json(CLASSIFY, classify_body(&["red"])).await;
    refused.is_error(503, "draining");
    assert!(refused.header("retry-after").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn health_answers_while_the_encoder_is_busy() {
    let service = Service::ready().await;
    service.encoder.hold();
    let (classified, health) = tokio::join!(service.post_json(CLASSIFY, classify_body(&["red"])), async {
        service.encoder.images_reach(1).await;
        let health = service.get("/health").await;
        service.encoder.release();
        health
    });
    assert_eq!((classified.status, health.status), (200, 200));
}

// Classification

#[tokio::test(flavor = "multi_thread")]
async fn classifies_a_picture() {
    let service = Service::ready().await;
    let answer = service.post_json(CLASSIFY, classify(json!({ "top_k": 1 }))).await;
    assert_eq!(ranked(&answer), ["red"]);
    assert!(answer.body["inference_time_ms"].as_f64().unwrap() > 0.0);
    assert!(answer.body["inference_time_ms"].is_f64());
    assert_eq!(answer.body["model"], "demo");
    assert_eq!(answer.body.as_object().unwrap().len(), 3);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let timing = answer.header("server-timing").unwrap();
    for stage in ["decode", "preprocess", "queue", "image", "text", "score"] {
        assert!(timing.contains(&format!("{stage};dur=")), "{timing}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scores_are_probabilities_and_the_same_each_time() {
    let service = Service::ready().await;
    let first = service.post_json(CLASSIFY, classify(json!({ "top_k": 4 }))).await;
    assert_eq!(ranked(&first).len(), 4);
    let scores = first.body["classifications"].as_array().unwrap().iter();
    let sum: f64 = scores
        .map(|classification| classification["score"].as_f64().unwrap())
        .inspect(|score| assert!((0.0..=1.0).contains(score)))
        .sum();
    assert!((sum - 1.0).abs() < 1e-5, "{sum}");
    for _ in 0..3 {
        let again = service.post_json(CLASSIFY, classify(json!({ "top_k": 4 }))).await;
        assert_eq!(again.body["classifications"], first.body["classifications"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn top_k_is_three_unless_given_and_capped_at_the_prompts() {
    let service = Service::ready().await;
    for (top_k, expected) in [
        (json!({}), 3),
        (json!({ "top_k": null }), 3),
        (json!({ "top_k": 2 }), 2),
        (json!({ "top_k": 2.0 }), 2),
        (json!({ "top_k": 400 }), 4),
        (json!({ "top_k": u64::MAX }), 4),
    ] {
        let answer = service.post_json(CLASSIFY, classify(top_k.clone())).await;
        assert_eq!(ranked(&answer).len(), expected, "{top_k}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_threshold_filters() {
    let service = Service::ready().await;
    let answer = service.post_json(CLASSIFY, classify(json!({ "threshold": 0.5 }))).await;
    assert_eq!(ranked(&answer), ["red"]);
    let answer =
        service.post_json(CLASSIFY, classify(json!({ "threshold": 1.0, "prompts": ["green", "blue"] })));
    assert_eq!(ranked(&answer.await), [""; 0], "no prompt has it all");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_score_of_a_single_prompt_is_its_cosine() {
    let service = Service::ready().await;
    let answer = service.post_json(CLASSIFY, classify(json!({ "prompts": ["blue"] }))).await;
    assert_eq!(ranked(&answer), ["blue"]);
    let score = answer.body["classifications"][0]["score"].as_f64().unwrap();
    assert!(score > 0.0 && score < 0.1, "{score}");

    // The default threshold of 0 drops what points away, and a lower one keeps it.
    let answer = service.post_json(CLASSIFY, classify(json!({ "prompts": ["else"] }))).await;
    assert_eq!(ranked(&answer), [""; 0]);
    let answer = service.post_json(CLASSIFY, classify(json!({ "prompts": ["else"], "threshold": -1 }))).await;
    assert!(answer.body["classifications"][0]["score"].as_f64().unwrap() < 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn options_beyond_the_old_service() {
    let service = Service::ready().await;
    let extra = json!({
        "templates": ["{} as such", "{} again"], "apply_softmax": false, "threshold": -1, "timeout_ms": 60_000,
    });
    let answer = service.post_json(CLASSIFY, classify(extra)).await;
    assert_eq!(ranked(&answer), ["red", "green", "blue"]);
    assert!(answer.body["classifications"][1]["score"].as_f64().unwrap() < 0.1, "a cosine");
    let answer = service.post_json(CLASSIFY, classify(json!({ "logit_scale": 1e-6, "top_k": 1 }))).await;
    let score = answer.body["classifications"][0]["score"].as_f64().unwrap();
    assert!((score - 0.25).abs() < 1e-3, "all the same: {score}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_are_ignored() {
    let service = Service::ready().await;
    let answer = service.post_json(CLASSIFY, classify(json!({ "image_url": "x", "deep": [[[{}]]] }))).await;
    assert_eq!(ranked(&answer)[0], "red");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_run_concurrently() {
    let service = Service::ready().await;
    service.encoder.hold();
    let post = || service.post_json(CLASSIFY, classify_body(&["red"]));
    let (a, b, c, ()) = tokio::join!(post(), post(), post(), async {
        service.in_flight(3).await;
        service.encoder.release();
    });
    assert_eq!([a.status, b.status, c.status], [200; 3]);
}

// Embeddings

#[tokio::test(flavor = "multi_thread")]
async fn embeddings_are_normalised_and_of_one_dimension() {
    let service = Service::ready().await;
    let image = service.post_json(EMBED_IMAGE, json!({ "image": red() }).to_string()).await;
    let text = service.post_json(EMBED_TEXT, json!({ "text": "red shoes" }).to_string()).await;
    for answer in [&image, &text] {
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.body["model"], "demo");
        assert_eq!(answer.body["dimension"], 3);
        let embedding = answer.body["embedding"].as_array().unwrap();
        assert_eq!(embedding.len(), 3);
        let norm: f64 = embedding.iter().map(|x| x.as_f64().unwrap().powi(2)).sum();
        assert!((norm - 1.0).abs() < 1e-6, "{norm}");
        assert!(answer.header("server-timing").unwrap().contains("text;dur="));
    }
    assert_eq!(text.body["embedding"], json!([1.0, 0.0, 0.0]));
}

// Errors

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_get_the_old_texts_and_the_next_one_is_served() {
    let service = Service::ready().await;
    let image = red();
    let cases = [
        (CLASSIFY, String::new(), "No JSON body"),
        (CLASSIFY, " {} ".into(), "No JSON body"),
        (CLASSIFY, "null".into(), "No JSON body"),
        (EMBED_IMAGE, "{}".into(), "No JSON body"),
        (CLASSIFY, json!({ "prompts": ["test"] }).to_string(), "Failed to decode image"),
        // The picture is looked at before the prompts.
        (CLASSIFY, json!({ "foo": 1 }).to_string(), "Failed to decode image"),
        (CLASSIFY, json!({ "image": null, "prompts": ["a"] }).to_string(), "Failed to decode image"),
        (CLASSIFY, json!({ "image": 7, "prompts": ["a"] }).to_string(), "Failed to decode image"),
        (CLASSIFY, json!({ "image": [image], "prompts": ["a"] }).to_string(), "Failed to decode image"),
        (CLASSIFY, json!({ "image": "", "prompts": ["a"] }).to_string(), "Failed to decode image"),
        (CLASSIFY, json!({ "image": "invalid!!!", "prompts": ["a"] }).to_string(), "Failed to decode image"),
        (
            CLASSIFY,
            json!({ "image": "data:image/jpeg;base64,invalid!!!", "prompts": ["a"] }).to_string(),
            "Failed to decode image",
        ),
        (CLASSIFY, json!({ "image": "AAAA", "prompts": ["a"] }).to_string(), "Failed to decode image"),
        (CLASSIFY, json!({ "image": &image[..60], "prompts": ["a"] }).to_string(), "Failed to decode image"),
        (EMBED_IMAGE, json!({ "image_url": "http://x" }).to_string(), "Failed to decode image"),
        (CLASSIFY, json!({ "image": image }).to_string(), "Missing or invalid 'prompts' array"),
        (
            CLASSIFY,
            json!({ "image": image, "prompts": [] }).to_string(),
            "Missing or invalid 'prompts' array",
        ),
        (
            CLASSIFY,
            json!({ "image": image, "prompts": null }).to_string(),
            "Missing or invalid 'prompts' array",
        ),
        (
            CLASSIFY,
            json!({ "image": image, "prompts": "cat" }).to_string(),
            "Missing or invalid 'prompts' array",
        ),
        (
            CLASSIFY,
            json!({ "image": image, "prompts": ["a", 1] }).to_string(),
            "Missing or invalid 'prompts' array",
        ),
        (EMBED_TEXT, String::new(), "Missing 'text' field"),
        (EMBED_TEXT, "{}".into(), "Missing 'text' field"),
        (EMBED_TEXT, json!({ "text": null }).to_string(), "Missing 'text' field"),
        (EMBED_TEXT, json!({ "texts": ["a"] }).to_string(), "Missing 'text' field"),
    ];
    for (path, body, error) in cases {
        let answer = service.post_json(path, body.clone()).await;
        assert_eq!((answer.status, &answer.body["error"]), (400, &json!(error)), "{body}");
        assert!(answer.body["code"].is_string());
        service.serves().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_types_and_ranges_name_their_field() {
    let service = Service::ready().await;
    for (field, values) in [
        ("top_k", &["0", "-1", "2.5", "-3.0", "1e30", "\"3\"", "true", "[]", "99999999999999999999"][..]),
        ("threshold", &["\"0.5\"", "true", "[]", "1e400", "-1e400", "1e39"]),
        ("templates", &["\"a {}\"", "[1]", "{}", "[\"no placeholder\"]", "[\"{} {}\"]"]),
        ("apply_softmax", &["1", "\"true\"", "[]"]),
        ("logit_scale", &["0", "-1", "\"100\"", "1e400", "1e39"]),
        ("timeout_ms", &["0", "-1", "1.5", "\"100\"", "99999999999999999999"]),
    ] {
        for value in values {
            let body = format!(r#"{{"image":"{}","prompts":["red"],"{field}":{value}}}"#, red());
            let answer = service.post_json(CLASSIFY, body).await;
            let error = answer.is_error(400, "invalid_argument");
            assert!(error.contains(field), "{field} {value}: {error}");
        }
        service.serves().await;
    }
    let answer = service.post_json(EMBED_TEXT, r#"{"text": 5}"#).await;
    assert!(answer.is_error(400, "invalid_argument").contains("'text'"));
    let answer = service.post_json(EMBED_TEXT, r#"{"text": "a", "timeout_ms": "soon"}"#).await;
    assert!(answer.is_error(400, "invalid_argument").contains("timeout_ms"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_json_object_is_refused() {
    let service = Service::ready().await;
    let deep = "[".repeat(200_000);
    let deep_prompts = format!(r#"{{"image":"{}","prompts":{deep}"#, red());
    let closed = format!(r#"{{"image":"{}","prompts":{deep}{}}}"#, red(), "]".repeat(200_000));
    for body in [
        "not json".as_bytes(),
        b"{",
        b"[]",
        b"[1]",
        b"\"text\"",
        b"5",
        b"{\"image\": NaN}",
        b"{\"top_k\": Infinity}",
        b"{\"image\": \"a\", \"image\": \"b\"}",
        b"{\"text\": \"\xff\xfe\"}",
        b"{\"text\": \"caf\xe9\"}",
        b"{} {}",
        b"\0\0\0\0",
        deep.as_bytes(),
        deep_prompts.as_bytes(),
    ] {
        for path in [CLASSIFY, EMBED_IMAGE, EMBED_TEXT] {
            service.post_json(path, body.to_vec()).await.is_error(400, "invalid_json");
        }
        service.serves().await;
    }
    service.post_json(CLASSIFY, closed).await.is_error(400, "invalid_argument");
    service.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_and_too_long_prompts_are_refused() {
    let service = Service::ready().await;
    for (prompts, templates) in [
        (json!(vec!["red"; 10_000]), json!([])),
        (json!(["x".repeat(1 << 20)]), json!([])),
        (json!(vec!["red"; 1000]), json!(vec!["a {}"; 6])),
        (json!(["red"]), json!(vec!["a {}"; 10_000])),
    ] {
        let body = json!({ "image": red(), "prompts": prompts, "templates": templates }).to_string();
        service.post_json(CLASSIFY, body).await.is_error(400, "invalid_argument");
        service.serves().await;
    }
    let body = json!({ "text": "x".repeat(1 << 20) }).to_string();
    service.post_json(EMBED_TEXT, body).await.is_error(400, "invalid_argument");
    service.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_methods_that_do_not_exist() {
    let service = Service::ready().await;
    for path in ["/v1/nonexistent", "/v1/classify/", "/v1", "/../etc/passwd"] {
        let answer = service.get(path).await;
        assert_eq!(answer.is_error(404, "not_found"), "Endpoint not found");
    }
    let answer = service.get(CLASSIFY).await;
    answer.is_error(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("POST"));
    let answer = service.post_json("/health", "{}").await;
    answer.is_error(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("GET,HEAD"));
    let answer = service.request("OPTIONS", CLASSIFY, &[], "").await;
    answer.is_error(405, "method_not_allowed");
    assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control")));
    let answer = service.request("HEAD", "/health", &[], "").await;
    assert_eq!((answer.status, answer.body), (200, Value::Null));
    let index = service.get("/").await;
    assert_eq!((index.status, &index.body["service"]), (200, &json!("hailo-clip")));
    assert!(index.body["endpoints"].as_array().unwrap().iter().any(|e| e["path"] == CLASSIFY));
}

#[tokio::test(flavor = "multi_thread")]
async fn content_types_that_a_web_page_could_send_are_refused() {
    let service = Service::ready().await;
    let body = classify_body(&["red"]);
    for headers in [
        &[][..],
        &[("content-type", "text/plain")],
        &[("content-type", "application/x-www-form-urlencoded")],
        &[("content-type", "text/json")],
        &[("content-type", "json")],
        &[("content-type", "application/json"), ("content-encoding", "gzip")],
    ] {
        for path in [CLASSIFY, EMBED_IMAGE, EMBED_TEXT] {
            let answer = service.request("POST", path, headers, body.clone()).await;
            answer.is_error(415, "unsupported_media_type");
        }
    }
    let image = service.request("POST", EMBED_TEXT, &[("content-type", "image/png")], "x").await;
    image.is_error(415, "unsupported_media_type");
    for content_type in [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/vnd.hailo+json",
        "application/json;",
    ] {
        let answer = service.request("POST", CLASSIFY, &[("content-type", content_type)], body.clone()).await;
        assert_eq!(ranked(&answer)[0], "red");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engines_refusals_have_their_status() {
    let service = Service::ready_with(|settings, _| {
        settings.performance.max_queue_size = 1;
        settings.server.max_image_pixels = 250;
    })
    .await;
    service.encoder.hold();
    let first = service.post_json(CLASSIFY, classify_body(&["red"]));
    let (first, ()) = tokio::join!(first, async {
        service.encoder.images_reach(1).await;
        let refused = service.post_json(CLASSIFY, classify_body(&["red"])).await;
        refused.is_error(503, "queue_full");
        assert_eq!(refused.header("retry-after"), Some("1"));
        service.encoder.release();
    });
    assert_eq!(first.status, 200);

    service.encoder.hold();
    let late = service.post_json(CLASSIFY, classify(json!({ "timeout_ms": 30 }))).await;
    late.is_error(504, "timeout");
    service.encoder.release();
    service.in_flight(0).await;
    service.serves().await;

    service.encoder.fail();
    service.post_json(CLASSIFY, classify_body(&["green"])).await.is_error(500, "inference_failed");
    service.encoder.release();
    service.serves().await;

    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(30, 30).write_to(&mut png, image::ImageFormat::Png).unwrap();
    let large =
        service.request("POST", EMBED_IMAGE, &[("content-type", "image/png")], png.into_inner()).await;
    large.is_error(413, "image_too_large");
    service.serves().await;
}
