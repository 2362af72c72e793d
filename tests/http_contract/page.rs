//! The web page, and what it may do.

use hailo_clip::http::ApiKey;
use serde_json::json;

use crate::http_support::{Service, head, patiently, send};

const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

#[tokio::test(flavor = "multi_thread")]
async fn another_model_takes_a_key_that_manages() {
    let service = Service::ready_with(|_, options| {
        options.api_keys = ApiKey::parse_file("plain\nmanage admin\n");
    })
    .await;
    let use_model = async |key: Option<&str>, body: &str| {
        let bearer = key.map(|key| format!("Bearer {key}"));
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        service.request("POST", "/v1/models/use", &headers, body.to_owned()).await
    };
    let other = r#"{"model":"other"}"#;
    use_model(None, other).await.is_error(401, "unauthorized");
    use_model(Some("wrong"), other).await.is_error(401, "unauthorized");
    use_model(Some("plain"), other).await.is_error(403, "not_authorized");
    assert_eq!(service.engine.status().borrow().model, "demo");
    use_model(Some("admin"), r#"{"model":7}"#).await.is_error(400, "invalid_argument");
    use_model(Some("admin"), "").await.is_error(400, "invalid_json");
    let refused = use_model(Some("admin"), r#"{"model":"broken"}"#).await;
    assert!(refused.is_error(503, "failed").contains("not installed"));
    assert_eq!(*service.chosen.borrow(), None);
    assert_eq!(use_model(Some("admin"), other).await.body, json!({ "model": "other" }));
    assert_eq!(service.get("/health").await.body["model"], "other");
    assert_eq!(service.chosen.borrow().as_deref(), Some("other"));

    let keyless = Service::ready().await;
    keyless.post_json("/v1/models/use", other).await.is_error(403, "not_authorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_was_asked_for_is_loaded_and_recorded_even_if_the_client_hangs_up() {
    let service = Service::ready_with(|_, options| {
        options.api_keys = ApiKey::parse_file("manage admin\n");
        options.connections.max_open = 1;
    })
    .await;
    service.encoder.hold();
    let mut client = service.connect().await;
    let body = r#"{"model":"slow"}"#;
    let headers = [
        ("Authorization", "Bearer admin".to_owned()),
        ("Content-Type", "application/json".to_owned()),
        ("Content-Length", body.len().to_string()),
    ];
    send(&mut client, head("POST", "/v1/models/use", &headers) + body).await;
    service.encoder.loads_reach(2).await;
    drop(client);
    // There is one place: that this is answered says that the server has seen the other one leave.
    assert_eq!(service.get("/health").await.body["model"], "demo");

    service.encoder.release();
    let mut chosen = service.chosen.clone();
    patiently(chosen.wait_for(|model| model.as_deref() == Some("slow"))).await.unwrap();
    assert_eq!(service.get("/health").await.body["model"], "slow");
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_are_given_the_endpoints_and_only_with_a_key_if_there_are_any() {
    let service = Service::ready_with(|_, options| options.api_keys = vec![ApiKey::new("k")]).await;
    service.get("/").await.is_error(401, "unauthorized");
    let index = service.request("GET", "/", &[("authorization", "Bearer k")], "").await;
    assert_eq!(index.body["service"], "hailo-clip");
    // The page itself holds nothing, and asks for the key.
    let page = service.request("HEAD", "/", &[BROWSER], "").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(page.header("permissions-policy").unwrap().contains("camera=(self)"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    for path in ["/", "/page.css", "/page.js", "/service.js", "/page.svg"] {
        let first = service.request("HEAD", path, &[BROWSER], "").await;
        assert_eq!((first.status, first.header("cache-control")), (200, Some("no-cache")), "{path}");
        let tag = first.header("etag").unwrap().to_owned();
        let again = service.request("GET", path, &[BROWSER, ("if-none-match", &tag)], "").await;
        assert_eq!((again.status, again.header("etag")), (304, Some(tag.as_str())), "{path}");
    }
}
