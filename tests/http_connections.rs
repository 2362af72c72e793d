//! Connections: slow, half-open, departed, pipelined, too many; and how the server stops.

mod http_support;

use std::{sync::Arc, time::Duration};

use hailo_clip::http::{ApiKey, Listener, Server};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};
use tokio_util::sync::CancellationToken;

use self::http_support::{Service, classify_body, head, patiently, read_answer, read_to_close, send, wire};

const SHORT: Duration = Duration::from_millis(50);

fn body_head(headers: &[(&str, &str)]) -> String {
    let mut all = vec![("Content-Type", "application/json".to_owned())];
    all.extend(headers.iter().map(|&(name, value)| (name, value.to_owned())));
    head("POST", "/v1/classify", &all)
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_finish_their_head_are_cut() {
    let service = Service::ready_with(|_, options| options.connections.header_timeout = SHORT).await;
    for sent in ["", "GET /hea", "GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: "] {
        let mut stream = service.connect().await;
        send(&mut stream, sent).await;
        assert_eq!(read_to_close(&mut stream).await, b"", "{sent:?}");
    }
    // So is one that stays silent after an answer.
    let mut stream = service.connect().await;
    send(&mut stream, head("GET", "/health", &[])).await;
    assert_eq!(read_answer(&mut stream).await.0, 200);
    assert_eq!(read_to_close(&mut stream).await, b"");
    service.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_drip_their_head_are_cut() {
    let service = Service::ready_with(|_, options| options.connections.header_timeout = SHORT).await;
    let mut stream = service.connect().await;
    send(&mut stream, "GET /health HTTP/1.1\r\n").await;
    let mut drip = tokio::time::interval(Duration::from_millis(1));
    patiently(async {
        // Each line is progress, and none of it counts.
        while stream.write_all(b"X-Slow: 1\r\n").await.is_ok() {
            drip.tick().await;
        }
    })
    .await;
    service.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_finish_their_body_are_told_and_cut() {
    let service = Service::ready_with(|_, options| {
        options.connections.body_timeout = SHORT;
        options.connections.linger = SHORT;
    })
    .await;
    for (headers, sent) in [
        (("Content-Length", "1000"), ""),
        (("Content-Length", "1000"), "{\"image\":"),
        (("Transfer-Encoding", "chunked"), "5\r\n{\"ima\r\n"),
    ] {
        let mut stream = service.connect().await;
        send(&mut stream, body_head(&[headers]) + sent).await;
        let (status, head, body) = read_answer(&mut stream).await;
        assert_eq!((status, &body["code"]), (408, &Value::from("body_timeout")));
        assert!(head.contains("connection: close"), "{head}");
        assert_eq!(read_to_close(&mut stream).await, b"");
    }
    service.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_cut_off_harms_nobody() {
    let service = Service::ready().await;
    for sent in [
        body_head(&[("Content-Length", "1000")]) + "{",
        body_head(&[("Transfer-Encoding", "chunked")]) + "zz",
    ] {
        let mut stream = service.connect().await;
        send(&mut stream, sent).await;
        stream.shutdown().await.unwrap();
        read_to_close(&mut stream).await;
    }
    service.in_flight(0).await;
    service.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_size_over_the_limit_is_refused_before_the_body() {
    let service = Service::ready_with(|_, options| options.connections.linger = SHORT).await;
    for more in [&[][..], &[("Expect", "100-continue")]] {
        let mut stream = service.connect().await;
        let headers = [&[("Content-Length", "99999999999")], more].concat();
        send(&mut stream, body_head(&headers)).await;
        // No "100 Continue" comes first.
        let (status, head, body) = read_answer(&mut stream).await;
        assert_eq!((status, &body["code"]), (413, &Value::from("body_too_large")));
        assert!(head.contains("connection: close"), "{head}");
        assert_eq!(read_to_close(&mut stream).await, b"");
    }
    service.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expected_continue_is_sent_for_a_body_that_is_wanted() {
    let service = Service::ready().await;
    let mut stream = service.connect().await;
    let body = classify_body(&["red"]);
    send(&mut stream, body_head(&[("Content-Length", &body.len().to_string()), ("Expect", "100-continue")]))
        .await;
    assert_eq!(read_answer(&mut stream).await.0, 100);
    send(&mut stream, body).await;
    assert_eq!(read_answer(&mut stream).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_everything_before_it_reads_gets_its_answer() {
    let limit = 1 << 20;
    let service = Service::ready_with(|_, options| options.max_body_bytes = limit).await;
    let excess = vec![b' '; 16 * limit];

    for (path, status) in [("/v1/classify", 413), ("/v1/nowhere", 404), ("/health", 405)] {
        let mut stream = service.connect().await;
        let headers =
            [("Content-Type", "application/json".to_owned()), ("Content-Length", excess.len().to_string())];
        send(&mut stream, head("POST", path, &headers)).await;
        send(&mut stream, &excess).await;
        let answer = read_answer(&mut stream).await;
        assert_eq!(answer.0, status);
        assert!(answer.1.contains("connection: close"), "{}", answer.1);
    }

    let mut stream = service.connect().await;
    send(&mut stream, body_head(&[("Transfer-Encoding", "chunked")])).await;
    send(&mut stream, format!("{:x}\r\n", excess.len())).await;
    send(&mut stream, &excess).await;
    assert_eq!(read_answer(&mut stream).await.0, 413);
    service.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_large_is_refused() {
    let service = Service::ready_with(|_, options| options.connections.linger = SHORT).await;
    let mut stream = service.connect().await;
    let headers = [("X-Large", "x".repeat(100_000))];
    send(&mut stream, head("GET", "/health", &headers)).await;
    assert_eq!(read_answer(&mut stream).await.0, 431);
    read_to_close(&mut stream).await;
    service.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_lives_on_after_an_error() {
    let service = Service::ready().await;
    let mut stream = service.connect().await;
    for (request, status) in [
        (wire("/v1/classify", "not json"), 400),
        (head("GET", "/nowhere", &[]), 404),
        (wire("/v1/classify", &classify_body(&["red"])), 200),
        (head("GET", "/v1/classify", &[]), 405),
        (wire("/v1/embed/text", "{\"text\":\"red\"}"), 200),
    ] {
        send(&mut stream, request).await;
        assert_eq!(read_answer(&mut stream).await.0, status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    let service = Service::ready().await;
    let mut stream = service.connect().await;
    let classify = wire("/v1/classify", &classify_body(&["red"]));
    send(
        &mut stream,
        [&classify, &wire("/v1/embed/text", "{}"), &head("GET", "/health", &[])].map(String::as_str).concat(),
    )
    .await;
    assert!(read_answer(&mut stream).await.2["classifications"].is_array());
    assert_eq!(read_answer(&mut stream).await.2["error"], "Missing 'text' field");
    assert_eq!(read_answer(&mut stream).await.2["status"], "healthy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_http_1_0_without_a_host_is_served() {
    let service = Service::ready().await;
    let mut stream = service.connect().await;
    send(&mut stream, "GET /health HTTP/1.0\r\n\r\n").await;
    assert_eq!(read_answer(&mut stream).await.0, 200);
    assert_eq!(read_to_close(&mut stream).await, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_is_served_as_well() {
    let service = Service::ready().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    let listener = Listener::Unix(UnixListener::bind(&path).unwrap());
    let server = Server::new(service.engine.clone(), service.options.subscribe());
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { server.serve(listener, shutdown).await }
    });
    let mut stream = UnixStream::connect(&path).await.unwrap();
    send(&mut stream, wire("/v1/classify", &classify_body(&["red"]))).await;
    assert_eq!(read_answer(&mut stream).await.0, 200);
    shutdown.cancel();
    drop(stream);
    patiently(serving).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_departed_client_takes_its_request_with_it() {
    let service = Service::ready().await;
    service.encoder.hold();
    // The first occupies the encoder, so that the second waits.
    let occupant = service.post_json("/v1/classify", classify_body(&["red"]));
    let departure = async {
        service.encoder.images_reach(1).await;
        let mut stream = service.connect().await;
        send(&mut stream, wire("/v1/classify", &classify_body(&["red"]))).await;
        service.in_flight(2).await;
        drop(stream);
        service.in_flight(1).await;
        service.encoder.release();
    };
    let (occupant, ()) = tokio::join!(occupant, departure);
    assert_eq!(occupant.status, 200);
    service.serves().await;
    assert_eq!(service.encoder.images(), 2, "the departed client's picture was never encoded");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_over_the_limit_wait_their_turn() {
    let service = Service::ready_with(|_, options| options.connections.max_open = 1).await;
    let mut first = service.connect().await;
    send(&mut first, head("GET", "/health", &[])).await;
    assert_eq!(read_answer(&mut first).await.0, 200);
    let mut second = service.connect().await;
    send(&mut second, head("GET", "/", &[])).await;
    // Time enough for the second to be answered, if it were not waiting.
    for _ in 0..20 {
        send(&mut first, head("GET", "/health", &[])).await;
        assert_eq!(read_answer(&mut first).await.0, 200);
    }
    service.options.send_modify(|options| Arc::make_mut(options).api_keys = vec![ApiKey::new("key")]);
    drop(first);
    assert_eq!(read_answer(&mut second).await.0, 401, "it is looked at when the first has gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_share_a_budget_of_memory() {
    let size = 80 << 20;
    let service = Service::ready_with(|settings, options| {
        // The budget is four of the largest bodies.
        options.max_body_bytes = size;
        options.request_timeout = SHORT;
        settings.performance.request_timeout = Duration::from_secs(60);
    })
    .await;
    let mut hoarders = Vec::new();
    for _ in 0..4 {
        let mut stream = service.connect().await;
        send(&mut stream, body_head(&[("Content-Length", &size.to_string()), ("Expect", "100-continue")]))
            .await;
        // By now it has its share.
        assert_eq!(read_answer(&mut stream).await.0, 100);
        hoarders.push(stream);
    }
    let refused = service.post_json("/v1/classify", classify_body(&["red"])).await;
    refused.is_error(503, "busy");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(service.get("/health").await.status, 200);
    hoarders.pop();
    patiently(async {
        while service.post_json("/v1/classify", classify_body(&["red"])).await.status != 200 {}
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_answers_what_it_was_asked() {
    let service = Service::ready().await;
    service.encoder.hold();
    let mut idle = service.connect().await;
    send(&mut idle, head("GET", "/health", &[])).await;
    assert_eq!(read_answer(&mut idle).await.0, 200);
    let mut busy = service.connect().await;
    send(&mut busy, wire("/v1/classify", &classify_body(&["red"]))).await;
    service.encoder.images_reach(1).await;

    let (encoder, address) = (service.encoder.clone(), service.address);
    let serving = service.stop();
    assert_eq!(read_to_close(&mut idle).await, b"", "an idle connection is closed");
    patiently(async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!serving.is_finished());
    encoder.release();
    let (status, head, _) = read_answer(&mut busy).await;
    assert_eq!(status, 200);
    assert!(head.contains("connection: close"), "{head}");
    drop((busy, idle));
    patiently(serving).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_takes_a_last_request_on_an_open_connection() {
    let service =
        Service::ready_with(|_, options| options.connections.farewell = Duration::from_secs(60)).await;
    let mut open = service.connect().await;
    send(&mut open, head("GET", "/health", &[])).await;
    let (status, said, _) = read_answer(&mut open).await;
    assert_eq!(status, 200);
    assert!(!said.contains("connection: close"), "{said}");

    let serving = service.stop();
    send(&mut open, wire("/v1/classify", &classify_body(&["red"]))).await;
    let (status, said, _) = read_answer(&mut open).await;
    assert_eq!(status, 200);
    assert!(said.contains("connection: close"), "{said}");
    assert_eq!(read_to_close(&mut open).await, b"");
    drop(open);
    patiently(serving).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_does_not_wait_for_those_who_never_asked() {
    let service = Service::ready_with(|_, options| options.connections.farewell = SHORT).await;
    let mut silent = service.connect().await;
    let mut halting = service.connect().await;
    send(&mut halting, "GET /hea").await;
    // Whoever came later is answered, so those two were accepted.
    service.serves().await;
    let serving = service.stop();
    for stream in [&mut silent, &mut halting] {
        let mut rest = Vec::new();
        // Closed or, with an unread beginning, reset.
        let _ = patiently(stream.read_to_end(&mut rest)).await;
        assert_eq!(rest, b"");
    }
    patiently(serving).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_is_cut() {
    let service = Service::ready_with(|_, options| {
        options.connections.write_timeout = SHORT;
        options.connections.linger = SHORT;
        options.connections.max_open = 1;
    })
    .await;
    let mut stream = service.connect().await;
    let requests = head("GET", "/", &[]).repeat(1000);
    // Answers pile up until the sockets are full; the write fails when the server has cut the connection.
    patiently(async { while stream.write_all(requests.as_bytes()).await.is_ok() {} }).await;
    service.serves().await;
}
