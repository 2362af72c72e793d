//! llama.cpp's interface, with the requests that Frigate sends.

use std::process::Command;

use serde_json::{Value, json};

use crate::{
    http::{base64, get, post, sample},
    interop::{ALIAS, Aliased, client, python, succeed},
};

fn vector(embedding: &Value) -> Vec<f32> {
    serde_json::from_value(embedding.clone()).unwrap()
}

#[test]
fn texts_and_pictures_keep_their_order() {
    let service = Aliased::start();
    let (red, night) = (base64(&sample("red-circle.png")), base64(&sample("night-sky.jpg")));
    let text = post(&service.daemon, "/v1/embed/text", &json!({"text": "a red circle"})).json();
    let own = |image: &str| {
        vector(&post(&service.daemon, "/v1/embed/image", &json!({"image": image})).json()["embedding"])
    };
    let picture = |image: &str| json!({"prompt_string": "<__media__>\n", "multimodal_data": [image]});
    let content = json!([picture(&night), {"prompt_string": "a red circle"}, picture(&red), "a red circle"]);
    let answer = post(&service.daemon, "/embeddings", &json!({"model": ALIAS, "content": content}));
    assert_eq!(answer.status, 200, "{}", answer.json());
    let answer = answer.json();
    let expected = [own(&night), vector(&text["embedding"]), own(&red), vector(&text["embedding"])];
    assert_eq!(answer.as_array().unwrap().len(), expected.len());
    for (index, (item, expected)) in answer.as_array().unwrap().iter().zip(&expected).enumerate() {
        assert_eq!(item["index"], index);
        assert_eq!(item["embedding"].as_array().unwrap().len(), 1);
        let vector = vector(&item["embedding"][0]);
        // Pictures that share a batch differ in the last digits.
        assert!(vector.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{index}");
    }
    let props = get(&service.daemon, "/props?model=demo").json();
    assert_eq!(props["media_marker"], "<__media__>");
}

#[test]
fn errors_are_llama_cpps() {
    let service = Aliased::start();
    for (body, status, says) in [
        (json!({}), 400, "JSON"),
        (json!({"model": "demo"}), 400, "content"),
        (json!({"content": "a cat"}), 400, "array"),
        (json!({"content": []}), 400, "1 to 1000"),
        (json!({"content": vec!["x"; 1001]}), 400, "1001"),
        (json!({"content": ["a cat", 7]}), 400, "Number 2"),
        (json!({"content": [{"prompt_string": "a", "multimodal_data": ["AAAA"]}]}), 400, "alone"),
        (json!({"content": ["a cat"], "model": 7}), 400, "model"),
        (json!({"content": ["a cat"], "model": "nomic"}), 404, "nomic"),
        (json!({"content": [{"prompt_string": "<__media__>", "multimodal_data": ["AAAA"]}]}), 400, "decode"),
    ] {
        let answer = post(&service.daemon, "/embeddings", &body);
        let json = answer.json();
        assert_eq!((answer.status, &json["error"]["code"]), (status, &json!(status)), "{body}: {json}");
        assert!(json["error"]["message"].as_str().unwrap().contains(says), "{body}: {json}");
    }
    let good = post(&service.daemon, "/embeddings", &json!({"content": ["a cat"]}));
    assert_eq!(good.status, 200);
}

#[test]
fn frigates_requests_are_served() {
    let Some(python) = python("Frigate's requests", "test-clients") else { return };
    let service = Aliased::start();
    let picture = crate::common::models().join("demo/samples/red-circle.png");
    let url = format!("http://{}", service.daemon.http);
    succeed(Command::new(python).arg(client("frigate.py")).arg(url).arg(picture).arg(ALIAS));
}
