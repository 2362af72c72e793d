//! The sockets that HTTP is served on: those that systemd passes, else one of our own.

use std::{env, io, path::Path};

use listenfd::ListenFd;
use tokio::net::{TcpListener, UnixListener};
use tracing::warn;

use crate::{config, http::Listener, kernel::port};

/// `FileDescriptorName=` of the sockets that are served; the second is for those an administrator adds.
const NAMES: [&str; 2] = ["http", "http-unix"];

/// All listening sockets. With socket activation `server.host` and `server.port` are the unit's business.
///
/// # Errors
/// The address cannot be bound; the error names it.
pub(super) async fn open(server: &config::Server) -> io::Result<Vec<Listener>> {
    let passed = passed_by_systemd()?;
    if !passed.is_empty() {
        return Ok(passed);
    }
    let (host, port) = (server.host, server.port);
    let listener = TcpListener::bind((host, port)).await.map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => {
                let holder = port::holder(port, Path::new("/proc"));
                format!("{holder}; stop it, or change server.port")
            }
            io::ErrorKind::AddrNotAvailable => {
                "this machine has no such address; change server.host".to_owned()
            }
            io::ErrorKind::PermissionDenied => "ports below 1024 are reserved; change server.port".to_owned(),
            _ => return error,
        };
        io::Error::new(error.kind(), format!("cannot listen on {host} port {port}: {hint}"))
    })?;
    Ok(vec![Listener::Tcp(listener)])
}

fn passed_by_systemd() -> io::Result<Vec<Listener>> {
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').filter(|name| !name.is_empty());
    let mut passed = ListenFd::from_env();
    let mut listeners = Vec::with_capacity(passed.len());
    for index in 0..passed.len() {
        // Without any name, as from other programs that pass sockets, all are taken.
        if let Some(name) = names.next().filter(|name| !NAMES.contains(name)) {
            warn!("the socket {name:?} is not served: its FileDescriptorName= should be \"{}\"", NAMES[0]);
            continue;
        }
        // A socket of another kind is left where it is, for the next question.
        if let Ok(Some(tcp)) = passed.take_tcp_listener(index) {
            tcp.set_nonblocking(true)?;
            listeners.push(Listener::Tcp(TcpListener::from_std(tcp)?));
        } else if let Some(unix) = passed.take_unix_listener(index)? {
            unix.set_nonblocking(true)?;
            listeners.push(Listener::Unix(UnixListener::from_std(unix)?));
        }
    }
    Ok(listeners)
}

/// The address of a TCP listener, for people.
pub(super) fn address(listener: &Listener) -> Option<String> {
    match listener {
        Listener::Tcp(listener) => listener.local_addr().ok().map(|address| address.to_string()),
        Listener::Unix(listener) => {
            let address = listener.local_addr().ok()?;
            Some(address.as_pathname()?.display().to_string())
        }
    }
}
