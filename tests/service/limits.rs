//! Bad input and overload: the right refusal, and afterwards everything is as before.

use std::{
    io::{Read, Write},
    time::Instant,
};

use serde_json::{Value, json};

use crate::{
    common::{Daemon, PATIENCE},
    http::{Answer, base64, connect, post, read_answer, request, sample},
};

/// After each fault: a normal request is answered.
fn still_serves(daemon: &Daemon) {
    let body =
        json!({"image": base64(&sample("red-circle.png")), "prompts": ["a red circle", "a blue star"]});
    let answer = post(daemon, "/v1/classify", &body);
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.json()["classifications"][0]["text"], "a red circle");
}

fn refuses(daemon: &Daemon, answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.json());
    still_serves(daemon);
}

fn picture(daemon: &Daemon, file: &[u8]) -> Answer {
    request(daemon, "POST", "/v1/embed/image", "application/octet-stream", file)
}

#[test]
fn bodies_that_are_too_large() {
    let daemon = Daemon::with_config("server: {host: 127.0.0.1, port: 0, max_body_mb: 1}\n");
    let mut stream = connect(&daemon);
    let head = "POST /v1/embed/image HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 9000000000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    // Nothing of the body is sent: the answer comes before it is read.
    refuses(&daemon, &read_answer(&mut stream), 413, "body_too_large");

    let mut stream = connect(&daemon);
    let head = "POST /v1/embed/image HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = [format!("{:x}\r\n", 1 << 18).into_bytes(), vec![0; 1 << 18], b"\r\n".to_vec()].concat();
    for _ in 0..5 {
        // The answer may come, and the connection end, before all is sent.
        let _ = stream.write_all(&chunk);
    }
    refuses(&daemon, &read_answer(&mut stream), 413, "body_too_large");
}

/// A PNG whose header claims a size that its data does not have.
fn png_that_claims(width: u32, height: u32) -> Vec<u8> {
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(8, 8).write_to(&mut png, image::ImageFormat::Png).unwrap();
    let mut png = png.into_inner();
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let checksum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    png
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// A GIF whose canvas is as large as the format allows, in a few bytes.
fn gif_with_a_huge_canvas() -> Vec<u8> {
    b"GIF89a\xff\xff\xff\xff\x80\x00\x00\x00\x00\x00\xff\xff\xff\x2c\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02\x02\x44\x01\x00\x3b".to_vec()
}

/// A plain picture that is honest and too large.
fn honest(format: image::ImageFormat, side: u32) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(side, side).write_to(&mut file, format).unwrap();
    file.into_inner()
}

#[test]
fn pictures_that_are_too_large() {
    let daemon =
        Daemon::with_config("server: {host: 127.0.0.1, port: 0, max_image_megapixels: 1, max_body_mb: 64}\n");
    still_serves(&daemon);
    let (before, peak_before) = (daemon.anonymous_memory(), daemon.peak_memory());
    let bombs = [
        png_that_claims(60_000, 60_000),
        gif_with_a_huge_canvas(),
        honest(image::ImageFormat::Png, 4000),
        honest(image::ImageFormat::WebP, 4000),
        honest(image::ImageFormat::Gif, 2000),
        honest(image::ImageFormat::Tiff, 2000),
        honest(image::ImageFormat::Bmp, 2000),
        honest(image::ImageFormat::Jpeg, 2000),
    ];
    for bomb in &bombs {
        refuses(&daemon, &picture(&daemon, bomb), 413, "image_too_large");
    }
    let peak = daemon.peak_memory();
    assert!(peak < peak_before + 64 * 1024, "{peak_before} KiB before, {peak} KiB at the peak");
    let after = daemon.anonymous_memory();
    assert!(after < before + 64 * 1024, "{before} KiB before, {after} KiB after");
}

#[test]
fn damaged_pictures() {
    let daemon = Daemon::start();
    for name in ["red-circle.png", "night-sky.jpg"] {
        let whole = sample(name);
        refuses(&daemon, &picture(&daemon, &whole[..whole.len() / 2]), 400, "invalid_image");
    }
    let noise: Vec<u8> = (0..5000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    refuses(&daemon, &picture(&daemon, &noise), 400, "invalid_image");
    refuses(&daemon, &picture(&daemon, b""), 400, "invalid_image");
}

#[test]
fn wrong_values() {
    let daemon = Daemon::start();
    let image = base64(&sample("red-circle.png"));
    let with = |field: &str, value: Value| {
        let mut body = json!({"image": image, "prompts": ["a red circle", "a blue star"]});
        body[field] = value;
        body
    };
    for (field, value) in [
        ("top_k", json!("three")),
        ("top_k", json!(0)),
        ("top_k", json!(-1)),
        ("top_k", json!(1.5)),
        ("top_k", json!(1e30)),
        ("threshold", json!("high")),
        ("threshold", json!([])),
        ("logit_scale", json!(-100)),
        ("logit_scale", json!(0)),
        ("timeout_ms", json!(-5)),
        ("apply_softmax", json!("yes")),
        ("templates", json!(["no placeholder"])),
        ("templates", json!("a {}")),
    ] {
        let answer = post(&daemon, "/v1/classify", &with(field, value.clone()));
        assert_eq!(answer.status, 400, "{field}: {value}: {}", answer.json());
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        let named = error.contains(field) || error.contains("template");
        assert!(named, "{field}: {value}: {error}");
    }
    still_serves(&daemon);

    let raw = |body: String| request(&daemon, "POST", "/v1/classify", "application/json", body.as_bytes());
    for value in ["NaN", "Infinity", "1e400"] {
        let body = format!(r#"{{"image": "{image}", "prompts": ["a", "b"], "threshold": {value}}}"#);
        assert_eq!(raw(body).status, 400, "{value}");
    }
    let deep =
        format!(r#"{{"image": "{image}", "prompts": {}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(raw(deep).status, 400);
    let invalid = [br#"{"image": "AAAA", "prompts": [""#.as_slice(), &[0xff, 0xfe], b"\"]}"].concat();
    assert_eq!(request(&daemon, "POST", "/v1/classify", "application/json", &invalid).status, 400);
    assert_eq!(request(&daemon, "POST", "/v1/classify", "text/plain", b"{}").status, 415);
    still_serves(&daemon);
}

#[test]
fn too_many_and_too_long_prompts() {
    let daemon = Daemon::start();
    let image = base64(&sample("red-circle.png"));
    let many: Vec<String> = (0..10_000).map(|n| format!("prompt {n}")).collect();
    let answer = post(&daemon, "/v1/classify", &json!({"image": image, "prompts": many}));
    refuses(&daemon, &answer, 400, "invalid_argument");
    let answer =
        post(&daemon, "/v1/classify", &json!({"image": image, "prompts": ["x".repeat(1 << 20), "y"]}));
    refuses(&daemon, &answer, 400, "invalid_argument");
    let answer = post(&daemon, "/v1/embed/text", &json!({"text": "x".repeat(1 << 20)}));
    refuses(&daemon, &answer, 400, "invalid_argument");
}

#[test]
fn a_full_queue_and_a_passed_deadline() {
    let daemon = Daemon::with_config(
        "performance: {max_queue_size: 1, worker_threads: 1}\nserver: {host: 127.0.0.1, port: 0, max_image_megapixels: 64, max_body_mb: 64}\n",
    );
    // Long enough a decoding that eight at a time meet.
    let slow = honest(image::ImageFormat::Png, 4000);
    let mut answers = std::thread::scope(|scope| {
        let requests: Vec<_> = (0..8).map(|_| scope.spawn(|| picture(&daemon, &slow))).collect();
        requests.into_iter().map(|request| request.join().unwrap()).collect::<Vec<_>>()
    });
    let refused =
        answers.iter().position(|answer| answer.status != 200).expect("not all fit in a queue of one");
    let refused = answers.swap_remove(refused);
    assert!(answers.iter().any(|answer| answer.status == 200), "one at a time is answered");
    assert!(refused.head.to_ascii_lowercase().contains("retry-after: "), "{}", refused.head);
    refuses(&daemon, &refused, 503, "queue_full");

    let body = json!({"image": base64(&slow), "prompts": ["a", "b"], "timeout_ms": 1});
    let late = post(&daemon, "/v1/classify", &body);
    // The decoder cannot be stopped within a picture, but its place in the queue is free at once.
    refuses(&daemon, &late, 504, "timeout");
}

#[test]
fn a_client_that_leaves_is_no_burden() {
    let daemon = Daemon::start();
    for _ in 0..20 {
        let mut stream = connect(&daemon);
        let head = "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"image\"";
        stream.write_all(head.as_bytes()).unwrap();
    }
    let mut half_open = connect(&daemon);
    half_open.write_all(b"POST /v1/classify HTTP/1.1\r\nHost: loc").unwrap();
    half_open.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    half_open.read_to_end(&mut answer).unwrap();
    still_serves(&daemon);
}

#[test]
fn a_slow_client_is_cut_after_a_limit() {
    let daemon = Daemon::start();
    let mut slow_head = connect(&daemon);
    slow_head.write_all(b"POST /v1/classify HTTP/1.1\r\nHost: loc").unwrap();
    let mut slow_body = connect(&daemon);
    let head = "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    slow_body.write_all(head.as_bytes()).unwrap();
    // Both wait for the daemon to lose patience, and meanwhile others are served.
    still_serves(&daemon);
    let mut rest = Vec::new();
    slow_head.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&rest));
    refuses(&daemon, &read_answer(&mut slow_body), 408, "body_timeout");
}

#[test]
fn a_burst_of_large_bodies_leaves_no_memory_behind() {
    let daemon = Daemon::start();
    let body = {
        // A picture that fills a body, so that it is held as text, as bytes and as pixels.
        let picture = honest(image::ImageFormat::Bmp, 1900);
        json!({"image": base64(&picture), "prompts": ["a red circle", "a blue star"]})
    };
    assert_eq!(post(&daemon, "/v1/classify", &body).status, 200);
    still_serves(&daemon);
    let before = daemon.anonymous_memory();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(post(&daemon, "/v1/classify", &body).status, 200));
        }
    });
    let limit = before + 32 * 1024;
    // The service gives pages back every ten seconds.
    let burst = Instant::now();
    while daemon.anonymous_memory() > limit {
        assert!(burst.elapsed() < PATIENCE, "{before} KiB before, {} KiB after", daemon.anonymous_memory());
        still_serves(&daemon);
    }
}
