//! Who may ask: keys, hosts, other pages.

use hailo_clip::http::ApiKey;

use crate::{
    CLASSIFY,
    http_support::{Service, classify_body, picture},
};

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_demanded_where_configured() {
    let service = Service::ready_with(|_, options| {
        options.api_keys = ApiKey::parse_file("camera-key\nphoto-key\n");
    })
    .await;
    let body = classify_body(&["red"]);
    let json = ("content-type", "application/json");
    for headers in [
        &[json][..],
        &[json, ("authorization", "Bearer wrong")],
        &[json, ("authorization", "Bearer ")],
        &[json, ("authorization", "photo-key")],
        &[json, ("authorization", "Basic photo-key")],
    ] {
        let answer = service.request("POST", CLASSIFY, headers, body.clone()).await;
        answer.is_error(401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    for key in ["Bearer camera-key", "bearer photo-key"] {
        let answer = service.request("POST", CLASSIFY, &[json, ("authorization", key)], body.clone()).await;
        assert_eq!(answer.status, 200);
    }
    for path in ["/health", "/health/live", "/health/ready"] {
        assert_eq!(service.get(path).await.status, 200);
    }
    service.get("/").await.is_error(401, "unauthorized");

    // A reload takes effect at once.
    service.options.send_modify(|options| std::sync::Arc::make_mut(options).api_keys.clear());
    service.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_hosts_and_pages_are_refused() {
    let service = Service::ready_with(|_, options| {
        options.allowed_hosts = vec!["clip.example.org".into()];
    })
    .await;
    for path in ["/health", "/", "/nowhere"] {
        let answer = service.request("GET", path, &[("host", "evil.example")], "").await;
        assert!(answer.is_error(403, "host_not_allowed").contains("server.allowed_hosts"));
    }
    for host in ["localhost", "testhost", "10.0.0.9:5000", "clip.example.org", "pi.local"] {
        assert_eq!(service.request("GET", "/health", &[("host", host)], "").await.status, 200, "{host}");
    }
    let form = [("content-type", "image/png"), ("origin", "http://evil.example")];
    let answer = service.request("POST", "/v1/embed/image", &form, picture([9, 9, 9])).await;
    answer.is_error(403, "cross_origin");
    let own = format!("http://{}", service.address);
    let form = [("content-type", "image/png"), ("origin", own.as_str())];
    let answer = service.request("POST", "/v1/embed/image", &form, picture([9, 9, 9])).await;
    assert_eq!(answer.status, 200);
}
