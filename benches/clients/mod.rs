//! A client that takes next to nothing of the processor.
#![allow(dead_code, unreachable_pub, reason = "each benchmark uses a part of this")]

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One connection, kept open.
pub struct Http {
    stream: TcpStream,
    head: String,
    buffer: Vec<u8>,
}

impl Http {
    /// To classify bare JPEGs with these prompts.
    pub fn connect(address: &str, prompts: &[&str]) -> Result<Self, Failure> {
        let prompts: Vec<String> =
            prompts.iter().map(|prompt| format!("prompts={}", prompt.replace(' ', "+"))).collect();
        Self::open(address, &format!("/v1/classify?{}", prompts.join("&")), "image/jpeg")
    }

    /// To post bodies of a kind to a path.
    pub fn open(address: &str, path: &str, content_type: &str) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: "
        );
        Ok(Self { stream, head, buffer: Vec::new() })
    }

    /// Classifies a picture, and says what the service took to decode and pre-process it.
    pub fn classify(&mut self, picture: &[u8]) -> Result<Duration, Failure> {
        let mut request = format!("{}{}\r\n\r\n", self.head, picture.len()).into_bytes();
        request.extend_from_slice(picture);
        self.stream.write_all(&request)?;
        self.buffer.clear();
        let mut chunk = [0; 16 * 1024];
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.buffer[..end]).to_lowercase();
                let field =
                    |name: &str| head.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
                let length: usize = field("content-length:").ok_or("no length")?.trim().parse()?;
                if self.buffer.len() >= end + 4 + length {
                    if !head.starts_with("http/1.1 200") {
                        return Err(String::from_utf8_lossy(&self.buffer).into_owned().into());
                    }
                    return Ok(decoding(&field("server-timing:").unwrap_or_default()));
                }
            }
            match self.stream.read(&mut chunk)? {
                0 => return Err("the service closed the connection".into()),
                read => self.buffer.extend_from_slice(&chunk[..read]),
            }
        }
    }
}

/// Decoding and pre-processing in a `Server-Timing`.
fn decoding(timing: &str) -> Duration {
    let stage = |name: &str| {
        timing
            .split(',')
            .find_map(|stage| stage.trim().strip_prefix(name)?.strip_prefix(";dur=")?.parse::<f64>().ok())
    };
    let milliseconds = stage("decode").unwrap_or(0.0) + stage("preprocess").unwrap_or(0.0);
    Duration::from_secs_f64(milliseconds / 1e3)
}
