//! Telling programs of a change: by running one, or by a signal on D-Bus.

use std::{io, process::Stdio, time::Duration};

use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::JoinHandle,
    time::timeout,
};
use zbus::Connection;

use super::{
    command::{Group, Words},
    complain,
    verdict::Change,
};
use crate::{
    cli::console::{escape, reason},
    dbus::{Bus, connect},
};

/// Changes that wait while a program runs.
const WAITING: usize = 16;

/// How long a program that runs may go on when the watch ends.
const GRACE: Duration = Duration::from_secs(5);

const PATH: &str = "/org/hailo/Clip1/Watch";
const INTERFACE: &str = "org.hailo.Clip1.Watch";

/// A change as a program's environment.
type Environment = [(&'static str, String); 5];

/// A program that is run at each change, one at a time, in order.
pub(super) struct Exec {
    changes: mpsc::Sender<Environment>,
    work: JoinHandle<()>,
}

impl Exec {
    pub(super) fn start(words: Words, limit: Duration) -> Self {
        let (changes, mut waiting) = mpsc::channel::<Environment>(WAITING);
        let work = tokio::spawn(async move {
            while let Some(environment) = waiting.recv().await {
                run(&words, environment, limit).await;
            }
        });
        Self { changes, work }
    }

    pub(super) fn tell(&self, change: &Change, source: &str, time: &str) {
        let environment = [
            ("HAILO_CLIP_PROMPT", change.prompt.clone()),
            ("HAILO_CLIP_SCORE", change.score.to_string()),
            ("HAILO_CLIP_PREVIOUS", change.previous.clone().unwrap_or_default()),
            ("HAILO_CLIP_SOURCE", source.to_owned()),
            ("HAILO_CLIP_TIME", time.to_owned()),
        ];
        if let Err(TrySendError::Full(_)) = self.changes.try_send(environment) {
            complain(format!("--exec is {WAITING} changes behind; this one is left out"));
        }
    }

    /// Gives the program that runs a little time.
    pub(super) async fn finish(self) {
        let Self { changes, mut work } = self;
        drop(changes);
        if timeout(GRACE, &mut work).await.is_err() {
            complain("--exec had not ended when the watch did");
            work.abort();
            let _ = work.await;
        }
    }
}

async fn run(words: &Words, environment: Environment, limit: Duration) {
    let mut command = words.command();
    // Credentials of the source are not the program's.
    command.env_remove("HAILO_CLIP_WATCH_CREDENTIALS").envs(environment);
    // Standard output is for changes.
    command.stdout(Stdio::from(io::stderr()));
    let name = escape(words.name());
    let mut group = match Group::spawn(&mut command) {
        Ok(group) => group,
        Err(error) => return complain(format!("cannot run {name}: {}", reason(&error))),
    };
    match timeout(limit, group.child.wait()).await {
        Ok(Ok(status)) if status.success() => {}
        Ok(Ok(status)) => complain(format!("{name} failed ({status})")),
        Ok(Err(error)) => complain(format!("{name}: {}", reason(&error))),
        Err(_) => complain(format!("{name} was ended after {limit:?}")),
    }
}

/// The signal `Changed(s source_label, s prompt, d score, s previous)`.
pub(super) struct Signal {
    bus: Bus,
    connection: Option<Connection>,
}

impl Signal {
    pub(super) fn new(bus: Bus) -> Self {
        Self { bus, connection: None }
    }

    /// A bus that has gone is looked for again, once for each change.
    pub(super) async fn emit(&mut self, source: &str, change: &Change) {
        for _ in 0..2 {
            let connection = match self.connection.take() {
                Some(connection) => connection,
                None => match connect(&self.bus).await {
                    Ok(connection) => connection,
                    Err(error) => return complain(format!("no signal: {}", escape(&error.to_string()))),
                },
            };
            let previous = change.previous.as_deref().unwrap_or_default();
            let body = (source, change.prompt.as_str(), f64::from(change.score), previous);
            match connection.emit_signal(None::<&str>, PATH, INTERFACE, "Changed", &body).await {
                Ok(()) => {
                    self.connection = Some(connection);
                    return;
                }
                Err(zbus::Error::InputOutput(_)) => {}
                Err(error) => return complain(format!("no signal: {}", escape(&error.to_string()))),
            }
        }
        complain("no signal: the bus has gone");
    }
}
