//! `hailo-clip-pull`: fetches a model of the catalogue for the daemon.
//!
//! The daemon keeps to local networks, so another process goes to the internet: under systemd a service that
//! a socket starts for each connection, elsewhere a child. Both speak on standard input and output: a
//! request of one line in, one line of JSON for each [`Said`] out. When the input ends, the daemon or its
//! interest is gone, and so is the process; what has come stays in the staging folder.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use serde::{Deserialize, Serialize};

use crate::model::{self, Catalog, ChangeError, Platform, PullOptions, Store, Watch};

/// How often progress is told.
const INTERVAL: Duration = Duration::from_millis(100);
/// How often the daemon looks whether the pull is still wanted.
const LOOK: Duration = Duration::from_millis(200);

/// Fetches models for hailo-clipd.
#[derive(Debug, Parser)]
#[command(name = "hailo-clip-pull", version)]
struct Arguments {
    /// Where models are put.
    #[arg(long, value_name = "DIR", default_value = model::SEARCH_PATH[0])]
    models: PathBuf,
    /// Catalogues; entries of a later one replace those of an earlier one.
    #[arg(long = "catalog", value_name = "FILE", default_values = model::CATALOG_PATH)]
    catalogs: Vec<PathBuf>,
    /// Where other Hailo programs put what they fetch.
    #[arg(long, value_name = "DIR", default_value = model::RESOURCES)]
    resources: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Request {
    name: String,
    platforms: Vec<String>,
}

/// A line of the answer.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    /// Bytes that are there, and bytes in all.
    Progress(u64, u64),
    /// It is in the staging folder; what there is to tell about it.
    Staged(Vec<String>),
    /// It is not, and why.
    Failed(String),
}

/// Runs the program.
#[must_use]
pub fn pull_main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut input = BufReader::new(io::stdin());
    let mut line = String::new();
    if input.by_ref().take(4096).read_line(&mut line).is_err() {
        return ExitCode::FAILURE;
    }
    let Ok(request) = serde_json::from_str::<Request>(&line) else { return ExitCode::from(2) };
    // Nobody listens any more: end at once, the files are made for it. That is no failure of this program.
    thread::spawn(move || {
        let _ = io::copy(&mut input, &mut io::sink());
        std::process::exit(0);
    });
    match fetch(&arguments, &request) {
        Ok(notes) => {
            say(&Said::Staged(notes));
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&Said::Failed(error.to_string()));
            ExitCode::FAILURE
        }
    }
}

fn fetch(arguments: &Arguments, request: &Request) -> Result<Vec<String>, ChangeError> {
    let catalog = Catalog::load(&arguments.catalogs)?;
    let platforms: Vec<Platform> = request.platforms.iter().filter_map(|key| key.parse().ok()).collect();
    let told = Mutex::new(None::<Instant>);
    let watch = Watch::new(move |done, total| {
        let Ok(mut told) = told.lock() else { return };
        if done == total || told.is_none_or(|told| told.elapsed() >= INTERVAL) {
            *told = Some(Instant::now());
            say(&Said::Progress(done, total));
        }
    });
    let options = PullOptions { resources: vec![arguments.resources.clone()], ..PullOptions::default() };
    let store = Store::new(arguments.models.clone());
    model::pull(catalog.get(&request.name)?, &platforms, &store, &options, &watch)
}

fn say(what: &Said) {
    let mut line = serde_json::to_vec(what).unwrap_or_default();
    line.push(b'\n');
    if io::stdout().write_all(&line).and_then(|()| io::stdout().flush()).is_err() {
        std::process::exit(1);
    }
}

/// How the daemon gets at the program.
#[derive(Clone, Debug)]
pub(super) enum Fetcher {
    /// A socket that systemd listens on.
    Socket(PathBuf),
    /// A child process.
    Child {
        /// Where models are put.
        models: PathBuf,
        /// Catalogues.
        catalogs: Vec<PathBuf>,
        /// Resources of other programs.
        resources: PathBuf,
    },
}

/// A program that runs; dropping it ends it.
struct Running {
    stream: UnixStream,
    child: Option<Child>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Both fail only if it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Fetcher {
    /// Has a model of the catalogue fetched into its staging folder; what there is to tell about it.
    pub(super) fn pull(
        &self,
        name: &str,
        platforms: &[Platform],
        watch: &Watch,
    ) -> Result<Vec<String>, ChangeError> {
        let lost = |error: io::Error| {
            ChangeError::Storage(format!("the program that fetches models cannot be used ({error})"))
        };
        let running = self.start().map_err(lost)?;
        let request = Request {
            name: name.to_owned(),
            platforms: platforms.iter().map(|platform| platform.key().to_owned()).collect(),
        };
        let mut line = serde_json::to_vec(&request).unwrap_or_default();
        line.push(b'\n');
        (&running.stream).write_all(&line).map_err(lost)?;
        running.stream.set_read_timeout(Some(LOOK)).map_err(lost)?;
        let mut answers = BufReader::new(&running.stream);
        let mut line = Vec::new();
        loop {
            match answers.read_until(b'\n', &mut line) {
                Ok(0) => return Err(lost(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {
                    let said = serde_json::from_slice(&line).map_err(|error| lost(error.into()))?;
                    line.clear();
                    match said {
                        Said::Progress(done, total) => watch.at(done, total)?,
                        Said::Staged(notes) => return Ok(notes),
                        Said::Failed(reason) => return Err(ChangeError::Unsuitable(reason)),
                    }
                }
                // What came of a line stays in it.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
                    ) =>
                {
                    if watch.is_cancelled() {
                        return Err(ChangeError::Cancelled);
                    }
                }
                Err(error) => return Err(lost(error)),
            }
        }
    }

    fn start(&self) -> io::Result<Running> {
        match self {
            Self::Socket(path) => Ok(Running { stream: UnixStream::connect(path)?, child: None }),
            Self::Child { models, catalogs, resources } => {
                let (ours, theirs) = UnixStream::pair()?;
                let output = std::os::fd::OwnedFd::from(theirs.try_clone()?);
                let child = Command::new(std::env::current_exe()?.with_file_name("hailo-clip-pull"))
                    .arg("--models")
                    .arg(models)
                    .args(
                        catalogs
                            .iter()
                            .flat_map(|file| [std::ffi::OsStr::new("--catalog"), file.as_os_str()]),
                    )
                    .arg("--resources")
                    .arg(resources)
                    .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
                    .stdout(Stdio::from(output))
                    .spawn()?;
                Ok(Running { stream: ours, child: Some(child) })
            }
        }
    }
}
