//! Pictures as they are: multipart and raw bodies, and the spellings of base64.

mod http_support;

use bytes::Bytes;
use hailo_clip::http::Options;
use serde_json::json;

use self::http_support::{Answer, Service, picture, red};

const BOUNDARY: &str = "----boundary7";

fn multipart(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, content) in parts {
        let file = if *name == "image" { "; filename=\"a.png\"\r\nContent-Type: image/png" } else { "" };
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

async fn post_multipart(service: &Service, path: &str, body: impl Into<Bytes>) -> Answer {
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    service.request("POST", path, &[("content-type", &content_type)], body).await
}

fn texts(answer: &Answer) -> Vec<&str> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let classifications = answer.body["classifications"].as_array().unwrap();
    classifications.iter().map(|c| c["text"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_send_a_picture_gives_the_same_answer() {
    let service = Service::ready().await;
    let image = picture([200, 0, 0]);
    let base64 = red();
    let urlsafe = base64.replace('+', "-").replace('/', "_").replace('=', "");
    let lines: String =
        base64.as_bytes().chunks(20).map(|line| format!("{}\n", str::from_utf8(line).unwrap())).collect();
    let mut answers = Vec::new();
    for field in [base64.clone(), urlsafe, lines, format!("data:image/png;base64,{base64}")] {
        let body = json!({ "image": field, "prompts": ["blue", "red", "else"], "top_k": 2 });
        answers.push(service.post_json("/v1/classify", body.to_string()).await);
    }
    // As PHP writes it.
    let escaped =
        format!(r#"{{"image":"{}","prompts":["blue","red","else"],"top_k":2}}"#, base64.replace('/', "\\/"));
    answers.push(service.post_json("/v1/classify", escaped).await);
    let parts: &[(&str, &[u8])] = &[
        ("image", &image),
        ("prompts", b"blue"),
        ("prompts", b"red"),
        ("prompts", b"else"),
        ("top_k", b"2"),
    ];
    answers.push(post_multipart(&service, "/v1/classify", multipart(parts)).await);
    let parts: &[(&str, &[u8])] =
        &[("top_k", b"2"), ("prompts", br#"["blue", "red", "else"]"#), ("threshold", b""), ("image", &image)];
    answers.push(post_multipart(&service, "/v1/classify", multipart(parts)).await);
    for content_type in ["image/png", "image/jpeg", "application/octet-stream"] {
        let path = "/v1/classify?prompts=blue&prompts=red&prompts=else&top_k=2";
        answers.push(service.request("POST", path, &[("content-type", content_type)], image.clone()).await);
    }
    for answer in &answers {
        assert_eq!(texts(answer), ["red", "blue"]);
        assert_eq!(answer.body["classifications"], answers[0].body["classifications"]);
    }

    let json = service.post_json("/v1/embed/image", json!({ "image": base64 }).to_string()).await;
    let form = post_multipart(&service, "/v1/embed/image", multipart(&[("image", &image)])).await;
    let raw = service.request("POST", "/v1/embed/image", &[("content-type", "image/png")], image).await;
    assert_eq!(json.status, 200);
    assert_eq!((&form.body, &raw.body), (&json.body, &json.body));
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_of_forms_and_queries_reach_the_engine() {
    let service = Service::ready().await;
    let image = picture([200, 0, 0]);
    let parts: &[(&str, &[u8])] = &[
        ("image", &image),
        ("prompts", b"red"),
        ("prompts", b"blue"),
        ("templates", b"{} thing"),
        ("templates", b"{} one"),
        ("apply_softmax", b"false"),
        ("threshold", b"0.5"),
        ("timeout_ms", b"60000"),
        ("unknown", b"ignored"),
    ];
    assert_eq!(texts(&post_multipart(&service, "/v1/classify", multipart(parts)).await), ["red"]);
    let query = "/v1/classify?prompts=red%20one&prompts=blue+one&logit_scale=0.000001&top_k=2";
    let answer = service.request("POST", query, &[("content-type", "image/png")], image.clone()).await;
    assert_eq!(texts(&answer), ["red one", "blue one"]);
    let score = answer.body["classifications"][0]["score"].as_f64().unwrap();
    assert!((score - 0.5).abs() < 1e-3, "{score}");
    // A prompt may look like JSON without being a list.
    let query = "/v1/classify?prompts=%5Bred%5D&threshold=-1";
    let answer = service.request("POST", query, &[("content-type", "image/png")], image).await;
    assert_eq!(texts(&answer), ["[red]"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_forms_and_queries_are_refused() {
    let service = Service::ready().await;
    let image = picture([200, 0, 0]);
    let image: &[u8] = &image;
    for (parts, code) in [
        (&[("prompts", &b"red"[..])][..], "invalid_image"),
        (&[("image", b""), ("prompts", b"red")], "invalid_image"),
        (&[("image", b"no picture"), ("prompts", b"red")], "invalid_image"),
        (&[("image", image)], "invalid_argument"),
        (&[("image", image), ("prompts", b"[]")], "invalid_argument"),
        (&[("image", image), ("prompts", b"\xff")], "invalid_argument"),
        (&[("image", image), ("prompts", b"red"), ("top_k", b"two")], "invalid_argument"),
        (&[("image", image), ("prompts", b"red"), ("threshold", b"NaN")], "invalid_argument"),
        (&[("image", image), ("prompts", b"red"), ("templates", b"red")], "invalid_argument"),
    ] {
        post_multipart(&service, "/v1/classify", multipart(parts)).await.is_error(400, code);
        service.serves().await;
    }
    let whole = multipart(&[("image", image), ("prompts", b"red")]);
    for malformed in [&b""[..], b"garbage", &whole[..whole.len() / 2], &whole[..whole.len() - 8]] {
        post_multipart(&service, "/v1/classify", malformed.to_vec()).await.is_error(400, "invalid_multipart");
    }
    let no_boundary = [("content-type", "multipart/form-data")];
    let answer = service.request("POST", "/v1/classify", &no_boundary, whole).await;
    answer.is_error(400, "invalid_multipart");
    for (query, code) in [
        ("", "invalid_argument"),
        ("?prompts=%FF", "invalid_argument"),
        ("?prompts=red&top_k=0", "invalid_argument"),
        ("?prompts=red&timeout_ms=x", "invalid_argument"),
    ] {
        let path = format!("/v1/classify{query}");
        let answer = service.request("POST", &path, &[("content-type", "image/png")], image.to_vec()).await;
        answer.is_error(400, code);
    }
    let empty = service.request("POST", "/v1/classify?prompts=a", &[("content-type", "image/png")], "").await;
    empty.is_error(400, "invalid_image");
    service.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_up_to_the_limit_are_served_and_larger_ones_are_not() {
    let body = json!({ "image": red(), "prompts": ["red"] }).to_string();
    let limit = |options: &mut Options, bytes| options.max_body_bytes = bytes;
    let service = Service::ready_with(|_, options| limit(options, body.len())).await;
    assert_eq!(texts(&service.post_json("/v1/classify", body.clone()).await), ["red"]);
    let answer = service.post_json("/v1/classify", format!("{body} ")).await;
    assert!(answer.is_error(413, "body_too_large").contains("server.max_body_mb"));
    let image = vec![0; body.len() + 1];
    post_multipart(&service, "/v1/classify", multipart(&[("image", &image)]))
        .await
        .is_error(413, "body_too_large");
    let raw = service.request("POST", "/v1/embed/image", &[("content-type", "image/png")], image).await;
    raw.is_error(413, "body_too_large");
    assert_eq!(texts(&service.post_json("/v1/classify", body).await), ["red"]);
}
