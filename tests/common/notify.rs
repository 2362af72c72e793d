//! systemd's end of `$NOTIFY_SOCKET`.

use std::{
    io::{self, ErrorKind},
    os::unix::net::UnixDatagram,
    path::Path,
    time::Duration,
};

/// Longest wait for anything; only a failure ever takes so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a program tells systemd.
pub struct Notify(UnixDatagram);

impl Notify {
    pub fn bind(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// Waits for the next message.
    pub fn next(&self) -> io::Result<String> {
        let mut buffer = [0; 4096];
        loop {
            match self.0.recv(&mut buffer) {
                Ok(length) => return Ok(String::from_utf8_lossy(&buffer[..length]).into_owned()),
                // A wait with a limit ends so when its process was stopped and goes on, even without signal handlers.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
