//! What the clients of the replaced Python service rely on, case by case.

use serde_json::{Value, json};

use crate::{
    common::Daemon,
    http::{base64, get, post, request},
};

/// A red square, as its clients send pictures.
fn red_square() -> String {
    let mut jpeg = std::io::Cursor::new(Vec::new());
    let red = image::RgbImage::from_pixel(224, 224, image::Rgb([255, 0, 0]));
    red.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    format!("data:image/jpeg;base64,{}", base64(&jpeg.into_inner()))
}

fn classify(daemon: &Daemon, prompts: &[&str], more: Value) -> Value {
    let mut body = json!({"image": red_square(), "prompts": prompts});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = post(daemon, "/v1/classify", &body);
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()
}

fn count(answer: &Value) -> usize {
    answer["classifications"].as_array().unwrap().len()
}

#[test]
fn health() {
    let daemon = Daemon::start();
    let answer = get(&daemon, "/health");
    assert_eq!(answer.status, 200);
    let health = answer.json();
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["service"], "hailo-clip");
    assert_eq!(health["model_loaded"], true);
    assert_eq!(health["model"], "demo");
    assert_eq!(health["runtime_mode"], "real");
}

#[test]
fn classification() {
    let daemon = Daemon::start();
    let answer = classify(&daemon, &["red object", "blue object", "green object"], json!({"top_k": 1}));
    assert_eq!(count(&answer), 1);
    assert_eq!(answer["model"], "demo");
    let time = answer["inference_time_ms"].as_f64().unwrap();
    assert!(time > 0.0);

    let answer = classify(&daemon, &["test1", "test2"], json!({"top_k": 2}));
    assert_eq!(count(&answer), 2);
    for (index, classification) in answer["classifications"].as_array().unwrap().iter().enumerate() {
        assert!(classification["text"].is_string());
        assert_eq!(classification["rank"], index + 1);
        assert!((0.0..=1.0).contains(&classification["score"].as_f64().unwrap()));
    }

    let colours = ["red", "blue", "green", "yellow", "purple"];
    assert_eq!(count(&classify(&daemon, &colours, json!({"top_k": 2}))), 2);
    assert_eq!(count(&classify(&daemon, &colours, json!({}))), 3, "the default");
    assert_eq!(count(&classify(&daemon, &["red", "blue"], json!({"top_k": 99}))), 2, "capped at the prompts");

    let three = ["test1", "test2", "test3"];
    let confident = classify(&daemon, &three, json!({"threshold": 0.9}));
    let scores = confident["classifications"].as_array().unwrap();
    assert!(scores.iter().all(|c| c["score"].as_f64().unwrap() >= 0.9));

    let prompts = ["red object", "test item"];
    let first = classify(&daemon, &prompts, json!({"top_k": 1}));
    for _ in 0..2 {
        let again = classify(&daemon, &prompts, json!({"top_k": 1}));
        assert_eq!(again["classifications"], first["classifications"]);
    }
}

#[test]
fn embeddings() {
    let daemon = Daemon::start();
    let image = post(&daemon, "/v1/embed/image", &json!({"image": red_square()}));
    let text = post(&daemon, "/v1/embed/text", &json!({"text": "person wearing red shirt"}));
    for answer in [&image, &text] {
        assert_eq!(answer.status, 200);
        let answer = answer.json();
        let embedding: Vec<f64> =
            answer["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        assert_eq!(answer["dimension"], embedding.len());
        let norm = embedding.iter().map(|x| x * x).sum::<f64>().sqrt();
        assert!((norm - 1.0).abs() < 1e-5, "{norm}");
        assert_eq!(answer["model"], "demo");
    }
    assert_eq!(image.json()["dimension"], text.json()["dimension"]);
}

#[test]
fn errors() {
    let daemon = Daemon::start();
    let refused = |body: Value, sentence: &str| {
        let answer = post(&daemon, "/v1/classify", &body);
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(answer.json()["error"], sentence);
    };
    refused(json!({}), "No JSON body");
    refused(json!({"prompts": ["test"]}), "Failed to decode image");
    refused(json!({"image": red_square()}), "Missing or invalid 'prompts' array");
    refused(json!({"image": red_square(), "prompts": []}), "Missing or invalid 'prompts' array");
    refused(json!({"image": red_square(), "prompts": "red"}), "Missing or invalid 'prompts' array");
    refused(
        json!({"image": "data:image/jpeg;base64,invalid!!!", "prompts": ["test"]}),
        "Failed to decode image",
    );

    let answer = post(&daemon, "/v1/embed/text", &json!({}));
    assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some("Missing 'text' field")));
    let answer = post(&daemon, "/v1/embed/text", &json!({"txt": "red"}));
    assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some("Missing 'text' field")));
    let answer = post(&daemon, "/v1/embed/image", &json!({"image": "AAAA"}));
    assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some("Failed to decode image")));

    assert_eq!(request(&daemon, "POST", "/v1/classify", "application/json", b"not json").status, 400);
    let answer = get(&daemon, "/v1/nonexistent");
    assert_eq!((answer.status, answer.json()["error"].as_str()), (404, Some("Endpoint not found")));
    assert_eq!(get(&daemon, "/v1/classify").status, 405);
}

#[test]
fn three_at_a_time() {
    let daemon = Daemon::start();
    std::thread::scope(|scope| {
        let requests: Vec<_> =
            (0..3).map(|_| scope.spawn(|| classify(&daemon, &["test"], json!({"threshold": -1})))).collect();
        for request in requests {
            assert_eq!(count(&request.join().unwrap()), 1);
        }
    });
}
