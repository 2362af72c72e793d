//! The `hailo-clip` command: a client of the D-Bus interface `org.hailo.Clip1`.
//!
//! Each subcommand has its own module; `client` talks to the service in the terms of `wire`, `pictures` finds
//! and opens pictures, `batch` keeps several requests in flight, `console` writes. Nothing of the engine is used
//! here: all that the command knows, it knows from the bus, but for `doctor` and `report`, which look at the
//! machine.
//!
//! Exit codes are a contract, see `Exit`.

mod batch;
mod chart;
mod classify;
mod client;
mod console;
mod doctor;
mod embed;
mod explanation;
mod export;
mod folder;
mod import;
mod jobs;
mod manage;
mod model;
mod npy;
mod output;
mod patience;
mod pictures;
mod progress;
mod report;
mod search;
mod status;
mod watch;
mod wire;

use std::{io, process::ExitCode, time::Duration};

use clap::{ColorChoice, CommandFactory, Parser, Subcommand};
use thiserror::Error;

use self::{
    client::{Client, ServiceError},
    console::Console,
};
use crate::dbus::Bus;

const EXAMPLES: &str = "\
Examples:
  hailo-clip classify cat.jpg \"a cat\" \"a dog\"
  hailo-clip classify *.jpg -p \"a cat\" \"a dog\" --top-k 1
  curl -s https://example.org/cat.jpg | hailo-clip classify - \"a cat\" \"a dog\"
  hailo-clip embed image --recursive photos/ -o photos.parquet
  hailo-clip search photos/ \"a dog on a beach\"
  hailo-clip status
  hailo-clip doctor
  sudo hailo-clip model pull clip-vit-b-32
  sudo hailo-clip model use clip-vit-b-32

Exit codes:
  0    everything was answered
  1    a picture could not be read or decoded, or the output could not be written
  2    the command line is wrong
  3    the service is not there, not ready, or may not be used
  4    the service did not answer: request refused, queue full, timeout, failed
  5    doctor: a warning
  6    doctor: a failure
  130  interrupted (Ctrl-C), as the shell reports it
Of several, the highest.";

/// Zero-shot image classification and embeddings with CLIP, by the hailo-clip service.
#[derive(Debug, Parser)]
#[command(name = "hailo-clip", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    /// Message bus on which the service is: system, session, or a D-Bus address.
    #[arg(long, global = true, env = "HAILO_CLIP_BUS", default_value = "system", value_name = "BUS")]
    bus: Bus,

    /// How long to wait for each answer, for the service to start included [default: 30; for model, warmup
    /// and reload 300, since they may ask for a password and load a model].
    #[arg(long, global = true, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,

    /// Colour the output; auto: in a terminal, unless NO_COLOR is set.
    #[arg(long, global = true, default_value = "auto", value_name = "WHEN")]
    color: ColorChoice,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Rank prompts by how well they describe a picture.
    Classify(classify::Arguments),
    /// Print the embeddings of pictures or texts.
    #[command(subcommand)]
    Embed(embed::Command),
    /// Find the pictures in a folder that fit a text or a picture best.
    Search(search::Arguments),
    /// Tell when another prompt wins: of a folder, a camera's URL or a program that takes pictures.
    Watch(watch::Arguments),
    /// Show the state of the service; exit code 0 if it answers requests.
    Status(status::Arguments),
    /// List, fetch, check, remove models, and take them into service.
    #[command(subcommand)]
    Model(model::Model),
    /// Run the encoders now, so that the next request does not pay for it.
    Warmup,
    /// Put an edited configuration file in force.
    Reload,
    /// Find out what is wrong with the service on this machine, and what mends it.
    ///
    /// It works whether the service is up, down, failing at its start or not installed, and does not start it.
    /// --timeout is for each answer that it waits for [default: 5].
    Doctor(doctor::Arguments),
    /// Write a bundle for an issue report: doctor's findings, journal, settings, status, versions.
    Report(report::Arguments),
}

/// Exit codes. The value is what the shell sees; the greater, the graver.
///
/// An interrupted command dies of the signal, which a shell reports as 130; one that keeps what it has done
/// says the same itself. A reader that goes away
/// (`| head -1`) is no failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Exit {
    /// Everything was answered.
    Success = 0,
    /// Some picture could not be read or decoded, or the output could not be written.
    BadInput = 1,
    /// The command line is wrong; clap uses the same number.
    Usage = 2,
    /// The service is not there, not ready, or may not be used.
    Unavailable = 3,
    /// The service refused, failed, or took too long.
    Unanswered = 4,
    /// Doctor has found nothing graver than a warning.
    Doubtful = 5,
    /// Doctor has found a failure.
    Faulty = 6,
    /// Ctrl-C ended a long run, which keeps what it has done, or a job of the service.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ended before it was done.
#[derive(Debug, Error)]
enum Failure {
    #[error("{0}; see \"hailo-clip --help\"")]
    Usage(String),
    #[error("{0}")]
    Input(String),
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error("interrupted; {0}")]
    Interrupted(String),
    #[error("cannot write the output: {}", console::reason(.0))]
    Output(#[from] io::Error),
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Input(_) => Exit::BadInput,
            Self::Service(error) => error.exit(),
            Self::Interrupted(_) => Exit::Interrupted,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Success,
            Self::Output(_) => Exit::BadInput,
        }
    }
}

/// The command line, for its man page and for shells.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command that the process's arguments ask for.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut console = Console::new(cli.color);
    let exit = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let result = runtime.block_on(run(cli, &mut console));
            // A thread may still be reading a pipe that nobody writes to.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(Failure::Output(error)),
    }
    .unwrap_or_else(|failure| {
        if failure.exit() != Exit::Success {
            console.complain(&failure);
        }
        failure.exit()
    });
    exit.into()
}

async fn run(cli: Cli, console: &mut Console) -> Result<Exit, Failure> {
    let client = Client::new(cli.bus.clone(), cli.timeout);
    match cli.command {
        Command::Classify(arguments) => classify::run(arguments, &client, console).await,
        Command::Embed(command) => embed::run(command, &client, console).await,
        Command::Search(arguments) => search::run(arguments, &client, console).await,
        Command::Watch(arguments) => watch::run(arguments, &client, console).await,
        Command::Status(arguments) => status::run(&arguments, &client, console).await,
        Command::Model(command) => model::run(command, &client, console).await,
        Command::Warmup => manage::warm_up(&client, console).await,
        Command::Reload => manage::reload(&client, console).await,
        Command::Doctor(arguments) => doctor::run(&arguments, cli.bus, cli.timeout, console).await,
        Command::Report(arguments) => report::run(&arguments, cli.bus, cli.timeout, console).await,
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|timeout| !timeout.is_zero())
        .ok_or_else(|| "not a positive number of seconds".to_owned())
}
