//! A server of files on loopback that behaves as a test wants it to.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Condvar, Mutex},
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::watch};

use crate::common::PATIENCE;

/// How a file is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Whole, or the part that is asked for.
    Well,
    /// Always whole; parts are not its business.
    WithoutRanges,
    /// So many bytes at a time, then the connection is cut.
    CutEvery(usize),
    /// Up to this place, then nothing until the test lets it go on.
    StallAfter(usize),
    /// A length that is longer than the file by so much.
    Longer(u64),
    /// With this status.
    Status(u16),
    /// A redirection to the same path with "real/" in front.
    Redirect,
    /// A redirection to itself.
    Circle,
}

struct File {
    content: Bytes,
    way: Way,
    etag: String,
}

/// What was asked: method, path, the `Range` header.
pub type Asked = (String, String, Option<String>);

pub struct Server {
    pub address: String,
    files: Arc<Mutex<HashMap<String, File>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    go_on: watch::Sender<bool>,
    stalled: Arc<Stalled>,
}

/// Counts answers that have stalled.
#[derive(Default)]
struct Stalled {
    count: Mutex<usize>,
    more: Condvar,
}

impl Server {
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let files: Arc<Mutex<HashMap<String, File>>> = Arc::default();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (go_on, stalled) = (watch::Sender::new(false), Arc::<Stalled>::default());
        let all = (Arc::clone(&files), Arc::clone(&asked), go_on.clone(), Arc::clone(&stalled));
        // A runtime of its own, since tests may run in one; it ends with the process.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let all = all.clone();
                    let service = service_fn(move |request| {
                        let (files, asked, go_on, stalled) = all.clone();
                        async move { Ok::<_, Infallible>(answer(&request, &files, &asked, &go_on, &stalled)) }
                    });
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    tokio::spawn(connection);
                }
            });
        });
        Self { address, files, asked, go_on, stalled }
    }

    pub fn put(&self, path: &str, content: &[u8], way: Way) {
        let etag = format!("\"{}\"", content.len());
        let file = File { content: Bytes::copy_from_slice(content), way, etag };
        self.files.lock().unwrap().insert(path.to_owned(), file);
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// What nobody has looked at.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// Ranges that were asked for, of GET requests.
    pub fn ranges(&self) -> Vec<Option<String>> {
        self.asked().into_iter().filter(|(method, ..)| method == "GET").map(|(_, _, range)| range).collect()
    }

    /// Waits until so many answers have stalled.
    pub fn wait_for_stall(&self, count: usize) {
        let stalled = self.stalled.count.lock().unwrap();
        let waited = self.stalled.more.wait_timeout_while(stalled, PATIENCE, |stalled| *stalled < count);
        assert!(!waited.unwrap().1.timed_out(), "nothing stalls");
    }

    pub fn go_on(&self) {
        self.go_on.send_replace(true);
    }
}

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

fn whole(bytes: Bytes) -> Body {
    http_body_util::Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn answer(
    request: &Request<Incoming>,
    files: &Mutex<HashMap<String, File>>,
    asked: &Mutex<Vec<Asked>>,
    go_on: &watch::Sender<bool>,
    stalled: &Arc<Stalled>,
) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let header = |name| {
        request.headers().get(name).map(|value: &header::HeaderValue| value.to_str().unwrap().to_owned())
    };
    let range = header(header::RANGE);
    asked.lock().unwrap().push((request.method().to_string(), path.clone(), range.clone()));
    let files = files.lock().unwrap();
    let status = |status: u16| Response::builder().status(status).body(whole(Bytes::new())).unwrap();
    let Some(file) = files.get(path.trim_start_matches("/real")) else { return status(404) };
    match file.way {
        Way::Status(code) => return status(code),
        Way::Redirect if !path.starts_with("/real") => {
            return Response::builder()
                .status(302)
                .header("location", format!("/real{path}"))
                .body(whole(Bytes::new()))
                .unwrap();
        }
        Way::Circle => {
            return Response::builder()
                .status(302)
                .header("location", path)
                .body(whole(Bytes::new()))
                .unwrap();
        }
        _ => {}
    }
    let same = header(header::IF_RANGE).is_none_or(|etag| etag == file.etag);
    let start = range
        .filter(|_| same && file.way != Way::WithoutRanges)
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let content = file.content.slice(start.unwrap_or(0)..);
    let mut length = content.len() as u64;
    if let Way::Longer(by) = file.way {
        length += by;
    }
    let response =
        Response::builder().header(header::CONTENT_LENGTH, length).header(header::ETAG, &file.etag);
    let response = match start {
        None => response,
        Some(start) => response.status(StatusCode::PARTIAL_CONTENT).header(
            header::CONTENT_RANGE,
            format!("bytes {start}-{}/{}", file.content.len() - 1, file.content.len()),
        ),
    };
    if request.method() == Method::HEAD {
        return response
            .body(http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync())
            .unwrap();
    }
    let cut = |at: usize| {
        let first = content.slice(..at.min(content.len()));
        // Pending first, so that what is there is sent.
        let broken = stream::once(async {
            tokio::task::yield_now().await;
            Err(std::io::Error::other("cut"))
        });
        let frames = stream::iter([Ok(Frame::data(first))]);
        StreamBody::new(frames.chain(broken)).boxed_unsync()
    };
    let body = match file.way {
        Way::CutEvery(bytes) if bytes < content.len() => cut(bytes),
        Way::Longer(_) => cut(content.len()),
        Way::StallAfter(position) => {
            let bytes = position.saturating_sub(start.unwrap_or(0)).min(content.len());
            let (first, rest) = (content.slice(..bytes), content.slice(bytes..));
            let (mut go_on, stalled) = (go_on.subscribe(), Arc::clone(stalled));
            let rest = stream::once(async move {
                *stalled.count.lock().unwrap() += 1;
                stalled.more.notify_all();
                let _ = go_on.wait_for(|go_on| *go_on).await;
                Ok(Frame::data(rest))
            });
            StreamBody::new(stream::iter([Ok(Frame::data(first))]).chain(rest)).boxed_unsync()
        }
        _ => whole(content),
    };
    response.body(body).unwrap()
}
