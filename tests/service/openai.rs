//! OpenAI's interface, with requests by hand and with its own client.

use std::process::Command;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    http::{Answer, base64, get, post, request, sample},
    interop::{ALIAS, Aliased, client, python, succeed},
};

fn embed(service: &Aliased, body: &Value) -> Answer {
    post(&service.daemon, "/v1/embeddings", body)
}

#[track_caller]
fn vectors(answer: &Answer) -> Vec<Vec<f32>> {
    let json = answer.json();
    assert_eq!(answer.status, 200, "{json}");
    assert_eq!(json["object"], "list");
    let vector = |(index, item): (usize, &Value)| {
        assert_eq!((&item["object"], &item["index"]), (&json!("embedding"), &json!(index)));
        serde_json::from_value(item["embedding"].clone()).unwrap()
    };
    json["data"].as_array().unwrap().iter().enumerate().map(vector).collect()
}

/// Status, parameter and code of an error in OpenAI's form.
#[track_caller]
fn error(answer: &Answer) -> (u16, String, String) {
    let json = answer.json();
    let error = json["error"].as_object().unwrap_or_else(|| panic!("{json}"));
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty() && !text.contains('\n')), "{json}");
    let expected = if answer.status >= 500 { "server_error" } else { "invalid_request_error" };
    assert_eq!(error["type"], expected);
    let param = error["param"].as_str().unwrap_or_default().to_owned();
    (answer.status, param, error["code"].as_str().unwrap().to_owned())
}

#[test]
fn texts_are_embedded_in_order() {
    let service = Aliased::start();
    let own = |text: &str| {
        let answer = post(&service.daemon, "/v1/embed/text", &json!({ "text": text })).json();
        serde_json::from_value::<Vec<f32>>(answer["embedding"].clone()).unwrap()
    };
    let (star, circle) = (own("a blue star"), own("a red circle"));
    let several = embed(&service, &json!({"model": "demo", "input": ["a blue star", "a red circle"]}));
    assert_eq!(vectors(&several), [star.clone(), circle.clone()]);
    assert_eq!(several.json()["model"], "demo");
    let usage = &several.json()["usage"];
    assert!(usage["prompt_tokens"].as_u64().unwrap() >= 2 * 5, "{usage}");
    assert_eq!(usage["prompt_tokens"], usage["total_tokens"]);
    assert!(several.head.to_lowercase().contains("server-timing: "));

    let one =
        embed(&service, &json!({"model": ALIAS, "input": "a blue star", "dimensions": 128, "user": "x"}));
    assert_eq!(vectors(&one), vec![star.clone()]);
    let answer =
        embed(&service, &json!({"model": "demo", "input": "a blue star", "encoding_format": "base64"}));
    let bytes = STANDARD.decode(answer.json()["data"][0]["embedding"].as_str().unwrap()).unwrap();
    let floats: Vec<f32> = bytes.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    assert_eq!(floats, star);
}

#[test]
fn pictures_are_embedded_in_order() {
    let service = Aliased::start();
    let names =
        ["red-circle.png", "night-sky.jpg", "blue-star-top-left.png", "empty-shelf.png", "red-circle.png"];
    let own: Vec<Vec<f32>> = names
        .iter()
        .map(|name| {
            let answer = post(&service.daemon, "/v1/embed/image", &json!({"image": base64(&sample(name))}));
            serde_json::from_value(answer.json()["embedding"].clone()).unwrap()
        })
        .collect();
    let input: Vec<String> =
        names.iter().map(|name| format!("data:image/png;base64,{}", base64(&sample(name)))).collect();
    let answer = embed(&service, &json!({"model": "demo", "modality": "image", "input": input}));
    // Pictures that share a batch differ in the last digits.
    for (answered, own) in vectors(&answer).iter().zip(&own) {
        assert!(answered.iter().zip(own).all(|(a, b)| (a - b).abs() < 1e-5));
    }
    assert_eq!(vectors(&answer).len(), names.len());
    assert_eq!(answer.json()["usage"]["total_tokens"], 0);
}

#[test]
fn errors_are_openais() {
    let service = Aliased::start();
    let with = |extra: Value| {
        let mut body = json!({"model": "demo", "input": "a cat"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        error(&embed(&service, &body))
    };
    for (extra, param) in [
        (json!({"model": null}), "model"),
        (json!({"model": 7}), "model"),
        (json!({"input": null}), "input"),
        (json!({"input": []}), "input"),
        (json!({"input": [1, 2, 3]}), "input"),
        (json!({"input": [[1, 2, 3]]}), "input"),
        (json!({"input": {"text": "a cat"}}), "input"),
        (json!({"input": vec!["x"; 1001]}), "input"),
        (json!({"encoding_format": "int8"}), "encoding_format"),
        (json!({"modality": "audio"}), "modality"),
        (json!({"dimensions": "many"}), "dimensions"),
        (json!({"dimensions": 64}), "dimensions"),
        (json!({"modality": "image", "input": "http://example.org/cat.jpg"}), "input"),
    ] {
        assert_eq!(with(extra.clone()), (400, param.into(), "invalid_argument".into()), "{extra}");
    }
    let foreign = with(json!({"model": "text-embedding-3-small"}));
    assert_eq!(foreign, (404, "model".into(), "model_not_found".into()));
    assert_eq!(error(&embed(&service, &json!({}))).0, 400);
    let no_json = request(&service.daemon, "POST", "/v1/embeddings", "text/plain", b"{}");
    assert_eq!(error(&no_json).0, 415);
    let get_it = get(&service.daemon, "/v1/embeddings");
    assert_eq!(error(&get_it).0, 405);
    assert!(get_it.head.to_lowercase().contains("allow: post"), "{}", get_it.head);
    let nothing = get(&service.daemon, "/v1/models/nothing");
    assert_eq!(error(&nothing), (404, "model".into(), "model_not_found".into()));
}

#[test]
fn installed_models_are_listed_and_the_loaded_one_is_marked() {
    let service = Aliased::start();
    let list = get(&service.daemon, "/v1/models").json();
    assert_eq!(list["object"], "list");
    let models = list["data"].as_array().unwrap();
    assert_eq!(models.len(), 1, "{list}");
    let demo = &models[0];
    assert_eq!(
        (&demo["id"], &demo["object"], &demo["loaded"]),
        (&json!("demo"), &json!("model"), &json!(true))
    );
    assert_eq!((&demo["aliases"], &demo["dimension"]), (&json!([ALIAS]), &json!(128)));
    assert!(demo["created"].as_u64().unwrap() > 0);
    assert_eq!(get(&service.daemon, &format!("/v1/models/{ALIAS}")).json(), *demo);

    let empty = tempfile::tempdir().unwrap();
    let broken = empty.path().join("broken");
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(broken.join("model.yaml"), "format: 9\n").unwrap();
    let daemon = crate::common::Daemon::with_models("clip: {model: broken, backend: cpu}\n", empty.path());
    let list = get(&daemon, "/v1/models").json();
    assert_eq!((&list["data"][0]["id"], &list["data"][0]["loaded"]), (&json!("broken"), &json!(false)));
}

#[test]
fn openais_own_client_is_served() {
    let Some(python) = python("OpenAI's client", "test-clients") else { return };
    let service = Aliased::start();
    let picture = crate::common::models().join("demo/samples/red-circle.png");
    let url = format!("http://{}/v1", service.daemon.http);
    succeed(Command::new(python).arg(client("openai_client.py")).arg(url).arg(picture).arg(ALIAS));
}
