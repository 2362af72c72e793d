//! Programs that are run without a shell, unless one is asked for.

use std::{process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    time::timeout,
};

use super::source::{MAX_BYTES, SourceError};
use crate::cli::console::{escape, reason};

/// What a program may say before the rest is not listened to.
const MAX_WORDS: u64 = 4096;

/// A program with its arguments.
#[derive(Clone, Debug)]
pub(super) struct Words(Vec<String>);

impl Words {
    /// Parts a line as a shell does, or leaves it to one.
    pub(super) fn new(line: &str, shell: bool) -> Result<Self, String> {
        if shell {
            return Ok(Self(["/bin/sh", "-c", line].map(str::to_owned).to_vec()));
        }
        match shlex::split(line) {
            Some(words) if !words.is_empty() => Ok(Self(words)),
            Some(_) => Err("the command is empty".to_owned()),
            None => Err(format!("the command \"{}\" has a quote without its end", escape(line))),
        }
    }

    /// Name of the program.
    pub(super) fn name(&self) -> &str {
        self.0.first().map_or("", |first| first.rsplit('/').next().unwrap_or(first))
    }

    /// To be run in a process group of its own, which [`Group`] ends.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.0[0]);
        command.args(&self.0[1..]).stdin(Stdio::null()).process_group(0).kill_on_drop(true);
        command
    }

    /// What it writes to its standard output.
    pub(super) async fn picture(&self, limit: Duration) -> Result<Vec<u8>, SourceError> {
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let name = escape(self.name());
        let mut group = Group::spawn(&mut command)
            .map_err(|error| SourceError(format!("cannot run {name}: {}", reason(&error))))?;
        let (out, err) = (group.child.stdout.take(), group.child.stderr.take());
        let work = async {
            let (picture, words) = tokio::join!(read(out, MAX_BYTES as u64 + 1), last_words(err));
            (picture, words, group.child.wait().await)
        };
        let Ok((picture, words, status)) = timeout(limit, work).await else {
            return Err(SourceError(format!("{name} gave no picture within {limit:?}")));
        };
        match status {
            // Nobody reads the rest, of which the program may have died.
            _ if picture.len() > MAX_BYTES => {
                Err(SourceError(format!("{name} wrote more than {} MB", MAX_BYTES >> 20)))
            }
            Ok(status) if !status.success() => Err(SourceError(format!("{name} failed ({status}){words}"))),
            _ if picture.is_empty() => Err(SourceError(format!("{name} wrote nothing{words}"))),
            _ => Ok(picture),
        }
    }
}

/// A program and all that it started; they end with the value.
pub(super) struct Group {
    pub(super) child: Child,
}

impl Group {
    pub(super) fn spawn(command: &mut Command) -> std::io::Result<Self> {
        command.spawn().map(|child| Self { child })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Without an id it was waited for, and the number may be another's.
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

async fn read(from: Option<impl AsyncRead + Unpin>, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        // What came before a failure is judged by what it is.
        let _ = from.take(limit).read_to_end(&mut bytes).await;
    }
    bytes
}

/// The last line that a program wrote to standard error, to be appended. The rest is read and forgotten.
async fn last_words(from: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut from) = from else { return String::new() };
    let said = read(Some(&mut from), MAX_WORDS).await;
    let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().rev().find(|line| !line.trim().is_empty());
    line.map_or_else(String::new, |line| format!(": {}", escape(line.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    async fn picture(line: &str, shell: bool, limit: Duration) -> Result<Vec<u8>, String> {
        Words::new(line, shell).unwrap().picture(limit).await.map_err(|SourceError(text)| text)
    }

    #[tokio::test]
    async fn quotes_part_arguments_and_nothing_else_is_a_shells() {
        assert_eq!(picture("printf '%s|' 'a b' $HOME ;", false, LONG).await.unwrap(), b"a b|$HOME|;|");
        assert_eq!(picture("printf a; printf b", true, LONG).await.unwrap(), b"ab");
        assert!(Words::new("", false).is_err());
        assert!(Words::new("a 'b", false).unwrap_err().contains("quote"));
    }

    #[tokio::test]
    async fn failures_are_sentences() {
        let error = picture("echo no camera >&2; exit 3", true, LONG).await.unwrap_err();
        assert_eq!(error, "sh failed (exit status: 3): no camera");
        assert_eq!(picture("true", false, LONG).await.unwrap_err(), "true wrote nothing");
        let error = picture("/does/not/exist", false, LONG).await.unwrap_err();
        assert_eq!(error, "cannot run exist: No such file or directory");
        assert!(picture("cat /dev/zero", false, LONG).await.unwrap_err().contains("more than 64 MB"));
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_ended_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // The grandchild holds the pipe's end; once all are gone, reading from it ends.
        let line = format!("sleep 600 > {} & wait", fifo.display());
        let reading = std::thread::spawn(move || std::fs::read(fifo).unwrap());
        let error = picture(&line, true, Duration::from_millis(300)).await.unwrap_err();
        assert!(error.contains("no picture within"), "{error}");
        assert!(reading.join().unwrap().is_empty());
    }
}
