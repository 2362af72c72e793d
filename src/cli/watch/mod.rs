//! `hailo-clip watch`: tells when another prompt begins to win.
//!
//! `source` brings pictures, `verdict` decides what a change is, `reaction` tells it to programs. A source or
//! a service that fails does not end the watch: it is told once, asked again with growing pauses, and
//! told when it is back.

mod command;
mod folder;
mod reaction;
mod snapshot;
mod source;
mod supervisor;
mod verdict;

use std::{
    fs::File,
    io::{Seek, Write},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use clap::Args;
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use self::{
    reaction::{Exec, Signal},
    source::{Sample, Source, SourceError},
    verdict::{Change, Rule, Verdict},
};
use super::{
    Exit, Failure,
    client::{Client, ServiceError},
    console::{Console, escape, json_line},
    patience::{Listener, Patience},
    wire::ClassifyOptions,
};
use crate::dbus::Bus;

/// The longest pause after failures of a source, unless the interval is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

const ABOUT: &str = "\
Sources:
  A folder: its newest picture at first, then each that is new or changed. A URL (http, https): a snapshot at
  each interval; credentials come from the URL or from HAILO_CLIP_WATCH_CREDENTIALS, and are never shown.
  --command: a program that writes a picture to its standard output, run at each interval.

Output:
  A line when another prompt wins, the first winner included: TIME<TAB>SOURCE<TAB>SCORE<TAB>PROMPT<TAB>PREVIOUS,
  or an object with --json. All else goes to standard error.

Programs:
  --exec gets HAILO_CLIP_PROMPT, HAILO_CLIP_SCORE, HAILO_CLIP_PREVIOUS (empty at first), HAILO_CLIP_SOURCE and
  HAILO_CLIP_TIME in its environment. --signal emits Changed(s source, s prompt, d score, s previous) of
  org.hailo.Clip1.Watch from /org/hailo/Clip1/Watch.";

const EXAMPLES: &str = "\
Examples:
  hailo-clip watch /srv/camera \"an empty yard\" \"a person in a yard\" --hold 3
  hailo-clip watch http://camera/snapshot.jpg \"a closed door\" \"an open door\" --exec ./on-change
  hailo-clip watch --command 'rpicam-still -n -t 1 -o -' \"an empty bowl\" \"a full bowl\"";

/// Arguments of `hailo-clip watch`.
#[derive(Debug, Args)]
#[command(
    after_help = ABOUT,
    after_long_help = format!("{ABOUT}\n\n{EXAMPLES}"),
    override_usage = "hailo-clip watch [OPTIONS] <SOURCE> <PROMPT> <PROMPT>...\n       \
                      hailo-clip watch [OPTIONS] --command <COMMAND> <PROMPT> <PROMPT>..."
)]
pub(super) struct Arguments {
    /// A folder or a snapshot's URL, unless there is --command; then two prompts or more.
    #[arg(required = true, value_name = "SOURCE")]
    items: Vec<String>,
    /// Program with its arguments whose standard output is a picture.
    #[arg(long, value_name = "COMMAND")]
    command: Option<String>,
    /// Run --command and --exec by a shell; without this, blanks and quotes part arguments and that is all.
    #[arg(long)]
    shell: bool,
    /// Time between two pictures, such as 500ms, 5s or 1m; for a folder, between two looks at it.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    interval: Duration,
    /// How long a snapshot or --command may take.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = duration)]
    source_timeout: Duration,
    /// Take no notice of pictures whose best prompt scores less.
    #[arg(long, value_name = "SCORE", default_value_t = 0.0)]
    min_score: f32,
    /// Pictures in a row on which another prompt has to win.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    hold: u32,
    /// Put each prompt into this text in place of {}; of several, the mean counts.
    #[arg(long = "template", value_name = "TEMPLATE")]
    templates: Vec<String>,
    /// Run this program at each change, one at a time.
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    /// How long --exec may take.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    exec_timeout: Duration,
    /// Emit a D-Bus signal at each change, on the service's bus or on this one.
    #[arg(long, value_name = "BUS", num_args = 0..=1, require_equals = true)]
    signal: Option<Option<Bus>>,
    /// What the source is called [default: the folder, the URL without credentials, the command's name].
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
    /// USER:PASSWORD for a URL.
    #[arg(long, value_name = "CREDENTIALS", env = "HAILO_CLIP_WATCH_CREDENTIALS", hide_env_values = true)]
    credentials: Option<String>,
    /// Accept any certificate of a camera: whoever is in between can show other pictures.
    #[arg(long)]
    insecure: bool,
    /// Print one JSON object on a line for each change.
    #[arg(long)]
    json: bool,
}

/// One line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
    source: &'a str,
    prompt: &'a str,
    score: f32,
    previous: Option<&'a str>,
    model: &'a str,
    backend: &'a str,
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration >= Duration::from_millis(10) => Ok(duration),
        Ok(_) => Err("at least 10ms".to_owned()),
        Err(_) => Err("not a time such as 500ms, 5s or 1m".to_owned()),
    }
}

/// The source, what it is called, and the prompts.
fn parse(arguments: &Arguments) -> Result<(Source, String, Vec<String>), Failure> {
    let usage = |text: &str| Failure::Usage(text.to_owned());
    let (mut prompts, timeout) = (arguments.items.clone(), arguments.source_timeout);
    let (source, label) = if let Some(command) = &arguments.command {
        let command = command::Words::new(command, arguments.shell).map_err(Failure::Usage)?;
        let label = command.name().to_owned();
        (Source::Command { command, timeout }, label)
    } else {
        let place = prompts.remove(0);
        if place.starts_with("http://") || place.starts_with("https://") {
            let credentials = arguments.credentials.as_deref();
            let snapshot = snapshot::Snapshot::new(&place, credentials, timeout, arguments.insecure)
                .map_err(Failure::Usage)?;
            let label = snapshot.title().to_owned();
            (Source::Snapshot(snapshot.into()), label)
        } else if PathBuf::from(&place).is_dir() {
            (Source::Folder(folder::Watched::new(place.clone().into())), place)
        } else {
            let place = escape(&place);
            return Err(Failure::Usage(format!("\"{place}\" is neither a folder nor an http(s) URL")));
        }
    };
    if prompts.len() < 2 {
        return Err(usage("at least two prompts are needed, so that one can win"));
    }
    Ok((source, arguments.label.clone().unwrap_or(label), prompts))
}

pub(super) async fn run(
    arguments: Arguments,
    client: &Client,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let (source, label, prompts) = parse(&arguments)?;
    let exec = arguments.exec.as_deref().map(|exec| command::Words::new(exec, arguments.shell));
    let exec = exec.transpose().map_err(Failure::Usage)?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut watch = Watch {
        source,
        label,
        prompts,
        options: ClassifyOptions {
            templates: (!arguments.templates.is_empty()).then_some(arguments.templates),
            apply_softmax: Some(true),
            ..ClassifyOptions::default()
        },
        verdict: Verdict::new(Rule { min_score: arguments.min_score, hold: arguments.hold }),
        interval: arguments.interval,
        json: arguments.json,
        exec: exec.map(|exec| Exec::start(exec, arguments.exec_timeout)),
        signal: arguments.signal.map(|bus| Signal::new(bus.unwrap_or_else(|| client.bus().clone()))),
        failures: 0,
    };
    let result = tokio::select! {
        result = watch.follow(client, console) => result.map(|()| Exit::Success),
        _ = interrupt.recv() => Ok(Exit::Success),
        _ = terminate.recv() => Ok(Exit::Success),
    };
    supervisor::stopping();
    if let Some(exec) = watch.exec.take() {
        exec.finish().await;
    }
    result
}

struct Watch {
    source: Source,
    label: String,
    prompts: Vec<String>,
    options: ClassifyOptions,
    verdict: Verdict,
    interval: Duration,
    json: bool,
    exec: Option<Exec>,
    signal: Option<Signal>,
    /// Of the source, in a row.
    failures: u32,
}

/// The service's troubles, in the words of a watch.
struct Service;

impl Listener for Service {
    fn waiting(&self, reason: &str) {
        complain(format!("{reason}; the watch goes on when the service does"));
    }

    fn resumed(&self) {
        complain("the service answers again");
    }
}

/// One line to standard error, and to `systemctl status`.
fn complain(message: impl std::fmt::Display) {
    eprintln!("hailo-clip: {message}");
    supervisor::status(&message.to_string());
}

impl Watch {
    async fn follow(&mut self, client: &Client, console: &mut Console) -> Result<(), Failure> {
        let service = Service;
        let patience = Patience::endless(client, &service);
        supervisor::ready(&format!("watching {}", self.label));
        let mut told: Option<String> = None;
        loop {
            let problem = match self.source.next(self.interval).await {
                Ok(sample) => self.judge(sample, &patience, console).await?,
                Err(error) => Some(error),
            };
            match problem {
                None => {
                    if told.take().is_some() {
                        complain(format!("{}: pictures come again", escape(&self.label)));
                    }
                    self.failures = 0;
                }
                Some(SourceError(problem)) => {
                    if told.as_ref() != Some(&problem) {
                        complain(format!("{}: {problem}; trying again", escape(&self.label)));
                        told = Some(problem);
                    }
                    self.failures = self.failures.saturating_add(1);
                }
            }
            if let Some(pause) = self.pause() {
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Until the next picture is asked for. A folder says itself when there is one.
    fn pause(&self) -> Option<Duration> {
        if self.failures == 0 {
            return self.source.is_asked().then_some(self.interval);
        }
        let longest = LONGEST_PAUSE.max(self.interval);
        let factor = 2_u32.saturating_pow(self.failures.saturating_sub(1));
        Some(self.interval.saturating_mul(factor).min(longest))
    }

    /// Classifies a picture, and tells of a change. A picture that is none is its source's problem.
    async fn judge(
        &mut self,
        sample: Sample,
        patience: &Patience<'_, Service>,
        console: &mut Console,
    ) -> Result<Option<SourceError>, Failure> {
        let file = match sample {
            Sample::File(file) => file,
            Sample::Bytes(bytes) => in_memory(&bytes)?,
        };
        let (prompts, options) = (&self.prompts, &self.options);
        let answer = patience.ask(async |client| client.classify(&file, prompts, options).await).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error @ (ServiceError::InvalidImage | ServiceError::TooLarge(_))) => {
                return Ok(Some(SourceError(error.to_string())));
            }
            Err(error) if error.concerns_all() => return Err(error.into()),
            Err(error) => return Ok(Some(SourceError(error.to_string()))),
        };
        let Some((prompt, score)) = answer.classifications.first() else { return Ok(None) };
        if let Some(change) = self.verdict.consider(prompt, *score) {
            let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
            let Change { prompt, score, previous } = &change;
            let (model, backend) = (&*answer.details.model, &*answer.details.backend);
            let line = if self.json {
                let (time, source, previous) = (&*time, &*self.label, previous.as_deref());
                json_line(&Line { time, source, prompt, score: *score, previous, model, backend })
            } else {
                let (source, prompt) = (escape(&self.label), escape(prompt));
                let previous = escape(previous.as_deref().unwrap_or_default());
                format!("{time}\t{source}\t{score:.4}\t{prompt}\t{previous}\n")
            };
            console.print(&line)?;
            supervisor::status(&format!("{prompt} ({score:.2}) since {time}"));
            if let Some(exec) = &self.exec {
                exec.tell(&change, &self.label, &time);
            }
            if let Some(signal) = &mut self.signal {
                signal.emit(&self.label, &change).await;
            }
        }
        Ok(None)
    }
}

/// The form in which the service takes what is no file.
fn in_memory(bytes: &[u8]) -> std::io::Result<File> {
    let mut file = File::from(memfd_create("snapshot", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}
