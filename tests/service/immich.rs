//! Immich's interface, with the requests that Immich sends.

use std::{io::Write, path::Path, process::Command};

use serde_json::Value;

use crate::{
    http::{Answer, base64, connect, get, post, read_answer, request, sample},
    interop::{ALIAS, Aliased, client, python, succeed},
};

/// A form's parts by name.
type Parts<'a> = &'a [(&'a str, &'a [u8])];

const BOUNDARY: &str = "----formdata-undici-1";

fn form(parts: Parts<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, content) in parts {
        let file = if *name == "image" { "; filename=\"blob\"" } else { "" };
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        body.extend([head.as_bytes(), content, b"\r\n"].concat());
    }
    body.extend(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

fn predict(service: &Aliased, parts: Parts<'_>) -> Answer {
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    request(&service.daemon, "POST", "/predict", &content_type, &form(parts))
}

fn entries(encoder: &str, model: &str) -> Vec<u8> {
    format!(r#"{{"clip":{{"{encoder}":{{"modelName":"{model}"}}}}}}"#).into_bytes()
}

/// The vector in a string, as Immich stores it.
#[track_caller]
fn vector(answer: &Answer) -> Vec<f32> {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    serde_json::from_str(answer.json()["clip"].as_str().unwrap()).unwrap()
}

#[track_caller]
fn detail(answer: &Answer, status: u16) -> String {
    let json = answer.json();
    assert_eq!(answer.status, status, "{json}");
    assert_eq!(json.as_object().unwrap().len(), 1, "{json}");
    json["detail"].as_str().unwrap().to_owned()
}

fn embedding(answer: &Value) -> Vec<f32> {
    serde_json::from_value(answer["embedding"].clone()).unwrap()
}

/// The recorded bytes of a request, answered.
fn replay(service: &Aliased, name: &str) -> Answer {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/immich").join(name);
    let recorded = std::fs::read(path).unwrap();
    // So that the end of the answer is the end of the connection.
    let end = recorded.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(recorded[..end].to_vec()).unwrap();
    let head = head.replace("keep-alive", "close");
    assert!(head.to_lowercase().contains("connection: close"));
    let mut stream = connect(&service.daemon);
    stream.write_all(&[head.as_bytes(), &recorded[end..]].concat()).unwrap();
    read_answer(&mut stream)
}

#[test]
fn recorded_requests_of_immich_are_answered() {
    let service = Aliased::start();
    let red = sample("red-circle.png");
    let image = post(&service.daemon, "/v1/embed/image", &serde_json::json!({"image": base64(&red)})).json();
    let text = serde_json::json!({"text": "a red circle – ein Kreis"});
    let text = post(&service.daemon, "/v1/embed/text", &text).json();
    let size = image::load_from_memory(&red).unwrap();
    for client in ["undici", "requests"] {
        let visual = replay(&service, &format!("{client}-visual.http"));
        assert_eq!(vector(&visual), embedding(&image), "{client}");
        assert_eq!(visual.json()["imageWidth"], size.width());
        assert_eq!(visual.json()["imageHeight"], size.height());
        let textual = replay(&service, &format!("{client}-textual.http"));
        assert_eq!(vector(&textual), embedding(&text), "{client}");
        assert_eq!(textual.json().as_object().unwrap().len(), 1);
    }
}

#[test]
fn clients_of_immich_are_served() {
    let service = Aliased::start();
    let url = format!("http://{}", service.daemon.http);
    let picture = crate::common::models().join("demo/samples/red-circle.png");
    // Where there is no node, the recorded requests stand for it.
    if Command::new("node").arg("--version").output().is_ok() {
        succeed(Command::new("node").arg(client("immich.mjs")).args([&url]).arg(&picture).arg(ALIAS));
    }
    if let Some(python) = python("Immich's requests by Python", "test-clients") {
        succeed(Command::new(python).arg(client("immich.py")).args([&url]).arg(&picture).arg(ALIAS));
    }
}

#[test]
fn ping_and_the_index_are_immichs() {
    let service = Aliased::with_config("");
    let pong = get(&service.daemon, "/ping");
    assert_eq!((pong.status, pong.body.as_slice()), (200, &b"pong"[..]));
    assert_eq!(get(&service.daemon, "/").json()["message"], "Immich ML");
}

#[test]
fn both_names_do_and_no_other() {
    let service = Aliased::start();
    let red = sample("red-circle.png");
    let ask = |model: &str| predict(&service, &[("entries", &entries("visual", model)), ("image", &red)]);
    assert_eq!(vector(&ask(ALIAS)), vector(&ask("demo")));
    let refused = detail(&ask("ViT-B-16-SigLIP__webli"), 422);
    assert!(refused.contains("ViT-B-16-SigLIP__webli") && refused.contains(ALIAS), "{refused}");
    let refused =
        predict(&service, &[("entries", &entries("textual", "RN50x4__openai")), ("text", b"a cat")]);
    detail(&refused, 422);
}

#[test]
fn bad_requests_have_details() {
    let service = Aliased::start();
    let red = sample("red-circle.png");
    let visual = entries("visual", ALIAS);
    let textual = entries("textual", ALIAS);
    let faces = br#"{"facial-recognition":{"detection":{"modelName":"buffalo_l"}}}"#;
    let cases: [(Parts<'_>, u16, &str); 8] = [
        (&[("image", &red)], 422, "'entries'"),
        (&[("entries", b"{"), ("image", &red)], 422, "'entries'"),
        (&[("entries", faces), ("image", &red)], 422, "facial-recognition"),
        (&[("entries", &visual)], 400, "'image'"),
        (&[("entries", &textual)], 400, "'text'"),
        (&[("entries", &textual), ("text", b"")], 400, "'text'"),
        (&[("entries", &visual), ("text", b"a cat")], 400, "'image'"),
        (&[("entries", &visual), ("image", b"no picture")], 400, "decode"),
    ];
    for (parts, status, says) in cases {
        let text = detail(&predict(&service, parts), status);
        assert!(text.contains(says), "{text}");
    }
    detail(&request(&service.daemon, "POST", "/predict", "application/json", b"{}"), 415);
    detail(&request(&service.daemon, "GET", "/predict", "text/plain", b""), 405);
    // The picture wins, and good requests are served as before.
    let both = predict(&service, &[("entries", &visual), ("text", b"a cat"), ("image", &red)]);
    assert!(both.json()["imageWidth"].is_u64());
}

/// A model that cannot be loaded is no reason to wait for.
#[test]
fn a_failed_model_is_told() {
    let empty = tempfile::tempdir().unwrap();
    let daemon = crate::common::Daemon::with_models("", empty.path());
    let body = form(&[("entries", &entries("textual", "demo")), ("text", b"a cat")]);
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    let text = detail(&request(&daemon, "POST", "/predict", &content_type, &body), 500);
    assert!(text.contains("demo"), "{text}");
    assert_eq!(get(&daemon, "/ping").status, 200);
}
