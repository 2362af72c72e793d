//! What becomes of requests that find the queue full: Immich's wait, all others are refused.

mod http_support;

use hyper::body::Bytes;
use serde_json::json;

use self::http_support::{Service, classify_body, patiently, red};

const FORM: &str = "multipart/form-data; boundary=b";

fn predict(model: &str) -> Bytes {
    let part = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let entries = json!({"clip": {"textual": {"modelName": model}}}).to_string();
    (part("entries", &entries) + &part("text", "red") + "--b--\r\n").into()
}

#[tokio::test(flavor = "multi_thread")]
async fn immich_waits_where_others_are_refused() {
    let service = Service::ready_with(|settings, _| settings.performance.max_queue_size = 1).await;
    service.encoder.hold();
    let first = service.post_json("/v1/classify", classify_body(&["red"]));
    let immich = async {
        service.in_flight(1).await;
        service.request("POST", "/predict", &[("content-type", FORM)], predict("demo__alias")).await
    };
    let others = async {
        service.in_flight(1).await;
        // In flight for the engine's counts: asked, and not yet done with.
        patiently(async {
            while service.engine.statistics().snapshot().requests != 2 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let body = json!({"model": "demo", "input": "red"}).to_string();
        let refused = service.post_json("/v1/embeddings", body).await;
        let picture = json!({"model": "demo", "modality": "image", "input": [red(), red()]}).to_string();
        let refused_picture = service.post_json("/v1/embeddings", picture).await;
        service.encoder.release();
        (refused, refused_picture)
    };
    let (first, immich, (refused, refused_picture)) = tokio::join!(first, immich, others);
    assert_eq!((first.status, immich.status), (200, 200), "{}", immich.body);
    assert!(immich.body["clip"].is_string());
    for refused in [refused, refused_picture] {
        assert_eq!((refused.status, &refused.body["error"]["code"]), (503, &json!("queue_full")));
        assert_eq!(refused.body["error"]["type"], "server_error");
        assert!(refused.header("retry-after").is_some());
    }
    let counts = service.engine.statistics().snapshot();
    assert_eq!((counts.answered, counts.refused), (2, 2));

    // Once one picture is in, a request's others wait for their places.
    let picture = json!({"model": "demo", "modality": "image", "input": [red(), red(), red()]}).to_string();
    let answer = service.post_json("/v1/embeddings", picture).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["data"].as_array().unwrap().len(), 3);
}
