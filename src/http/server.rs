//! Connections: accepting them, their limits, their end.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderValue, header},
};
use hyper::{
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{either::Either, sync::CancellationToken};

use super::Choose;
use super::{
    ConnectionLimits, Options,
    router::{Facade, router},
};
use crate::engine::Engine;

/// A request line of this length leaves room for prompts in the query of a raw upload. A connection's buffer is no
/// larger: by itself it grows to 400 KiB with the bodies it reads, and keeps that while the request waits.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// A socket that listens.
#[derive(Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    async fn accept(&self) -> io::Result<Either<TcpStream, UnixStream>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // An answer is one small write; waiting for more would only delay it.
                stream.set_nodelay(true)?;
                Ok(Either::Left(stream))
            }
            Self::Unix(listener) => Ok(Either::Right(listener.accept().await?.0)),
        }
    }
}

/// The HTTP server. Clones share its limits.
#[derive(Clone)]
pub struct Server {
    facade: Facade,
    router: Router,
    /// A permit for each open connection.
    slots: Arc<Semaphore>,
}

impl Server {
    /// A server that asks `engine` and goes by the latest `options`; the number of connections and the
    /// memory for bodies are those of the first.
    #[must_use]
    pub fn new(engine: Engine, options: watch::Receiver<Arc<Options>>) -> Self {
        let slots = Arc::new(Semaphore::new(options.borrow().connections.max_open));
        let facade = Facade::new(engine, options);
        Self { router: router(facade.clone()), facade, slots }
    }

    /// The same server, which has `choose` record the models that its clients choose; without, a choice ends
    /// with the process.
    #[must_use]
    pub fn recording(mut self, choose: Choose) -> Self {
        self.facade = self.facade.recording(choose);
        self.router = router(self.facade.clone());
        self
    }

    /// Serves until `shutdown`, then stops listening, answers what has been asked, and returns.
    ///
    /// Connections that were not accepted stay in the backlog, for whoever else has the socket. Those that
    /// were get a last answer, which says that it is the last.
    ///
    /// How long the last answers may take is the caller's to limit: dropping the future cuts the
    /// connections.
    pub async fn serve(&self, listener: Listener, shutdown: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            let accept = async {
                let slot = Arc::clone(&self.slots).acquire_owned().await;
                (slot.expect("the semaphore is never closed"), listener.accept().await)
            };
            let (slot, accepted) = tokio::select! {
                accepted = accept => accepted,
                () = shutdown.cancelled() => break,
            };
            match accepted {
                Ok(stream) => {
                    let limits = self.facade.options().connections;
                    let connection = serve_connection(stream, self.router.clone(), limits, shutdown.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    // Mostly a lack of file descriptors, which passes when connections end.
                    tracing::warn!("cannot accept a connection: {error}");
                    sleep(Duration::from_millis(100)).await;
                }
            }
            while connections.try_join_next().is_some() {}
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }
}

/// A client may send a request on an open connection at any time, at the very moment of its close as well,
/// and cannot know then whether that was taken up. So at the end of the service a connection is not closed
/// but by its next answer, which says so; only one that stays silent for all of the farewell is just closed.
async fn serve_connection<S>(stream: S, router: Router, limits: ConnectionLimits, shutdown: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.write_timeout));
    let asked = AtomicBool::new(false);
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request| {
        asked.store(true, Ordering::Relaxed);
        let answer = router.call(request);
        Box::pin(async {
            let mut answer = answer.await?;
            if shutdown.is_cancelled() {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let farewell = async {
        shutdown.cancelled().await;
        sleep(limits.farewell).await;
    };
    let served = tokio::select! {
        served = poll_fn(|cx| connection.poll_without_shutdown(cx)) => served,
        () = farewell => {
            if !asked.load(Ordering::Relaxed) {
                // hyper would go on waiting for the first request.
                return;
            }
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|cx| connection.poll_without_shutdown(cx)).await
        }
    };
    match served {
        Ok(()) => {
            let limit = if shutdown.is_cancelled() { limits.farewell } else { limits.linger };
            linger(connection.into_parts().io.into_inner(), limit).await;
        }
        Err(error) => tracing::debug!("connection ended: {error}"),
    }
}

/// Closes in a way that lets the client read its answer: a socket that is closed with unread data (the
/// rest of a body that was refused) resets the connection, and the answer may be lost with it.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin, limit: Duration) {
    let close = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    // Whether the client saw it through or not, the connection ends here.
    let _ = timeout(limit, close).await;
}
