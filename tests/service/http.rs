//! The plainest HTTP client: one request, one connection.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::common::{Daemon, PATIENCE, models};

/// An answer.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The error body's `code`, after checking that it has the form of an error.
    pub fn code(&self) -> String {
        let json = self.json();
        assert!(json["error"].as_str().is_some_and(|error| !error.is_empty()), "{json}");
        json["code"].as_str().unwrap().to_owned()
    }
}

/// Connects, with a limit on every wait.
pub fn connect(daemon: &Daemon) -> TcpStream {
    let stream = TcpStream::connect(&daemon.http).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads an answer up to the end of the connection.
pub fn read_answer(stream: &mut impl Read) -> Answer {
    let mut bytes = Vec::new();
    // A server that has refused a body may reset the connection after its answer.
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a complete head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}

pub fn request(daemon: &Daemon, method: &str, path: &str, content_type: &str, body: &[u8]) -> Answer {
    let mut stream = connect(daemon);
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(body);
    read_answer(&mut stream)
}

pub fn get(daemon: &Daemon, path: &str) -> Answer {
    request(daemon, "GET", path, "text/plain", b"")
}

pub fn post(daemon: &Daemon, path: &str, body: &Value) -> Answer {
    request(daemon, "POST", path, "application/json", body.to_string().as_bytes())
}

/// A sample picture's file.
pub fn sample(name: &str) -> Vec<u8> {
    std::fs::read(models().join("demo/samples").join(name)).unwrap()
}

pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
