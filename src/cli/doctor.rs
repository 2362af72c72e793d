//! `hailo-clip doctor`: shows what is wrong, and runs what mends it if asked to.

use std::{
    collections::HashSet,
    io::{self, BufRead, IsTerminal, Write},
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anstyle::{AnsiColor, Style};
use clap::Args;
use nix::unistd::Uid;
use serde::Serialize;

use super::{
    Exit, Failure,
    console::{Console, escape, json_line},
};
use crate::{
    backend, config,
    dbus::Bus,
    doctor::{self, Diagnosis, Finding, Options, Verdict},
    model,
};

/// How long each answer is waited for where the command line does not say.
const TIMEOUT: Duration = Duration::from_secs(5);

const TITLE: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const WARNING: Style = AnsiColor::Yellow.on_default();
const FAILURE: Style = AnsiColor::Red.on_default().bold();
const NOTE: Style = Style::new().dimmed();

/// Where to look; `hailo-clip report` takes the same.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,

    /// A folder of model bundles; may be given several times.
    #[arg(long = "models-dir", value_name = "DIR", default_values = model::SEARCH_PATH, hide = true)]
    models: Vec<PathBuf>,

    /// Where the shim over HailoRT lies.
    #[arg(long, value_name = "DIR", default_value = backend::SHIM_DIR, hide = true)]
    shim_dir: PathBuf,

    /// What stands for `/`.
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,

    /// What stands for `/` where Hailo devices are looked for.
    #[arg(long, value_name = "DIR", hide = true)]
    hardware_root: Option<PathBuf>,
}

impl Place {
    /// Options of a diagnosis there.
    pub(super) fn options(&self, bus: Bus, limit: Option<Duration>, from: Option<IpAddr>) -> Options {
        let config = if self.config == Path::new(config::DEFAULT_PATH) {
            self.root.join(config::DEFAULT_PATH.trim_start_matches('/'))
        } else {
            self.config.clone()
        };
        Options {
            bus,
            config,
            models: self.models.clone(),
            shim_dir: self.shim_dir.clone(),
            root: self.root.clone(),
            hardware_root: self.hardware_root.clone(),
            from,
            limit: limit.unwrap_or(TIMEOUT),
        }
    }
}

/// Arguments of `hailo-clip doctor`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,

    /// Show all checks, those that found nothing as well.
    #[arg(long)]
    all: bool,

    /// Run the commands that do no harm, after asking for each, and look again. They need root; a plain user
    /// is told what to run.
    #[arg(long)]
    fix: bool,

    /// With --fix: do not ask.
    #[arg(long, requires = "fix")]
    yes: bool,

    /// Say whether a client at this address would be let in.
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,

    /// Print the troubleshooting guide.
    #[arg(long, hide = true)]
    guide: bool,

    #[command(flatten)]
    place: Place,
}

/// A command that `--fix` has run, or has told a plain user of (`succeeded` is null).
#[derive(Debug, Serialize)]
struct Fix {
    check: &'static str,
    command: String,
    succeeded: Option<bool>,
}

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    diagnosis: &'a Diagnosis,
    #[serde(skip_serializing_if = "Option::is_none")]
    fixes: Option<&'a [Fix]>,
}

pub(super) async fn run(
    arguments: &Arguments,
    bus: Bus,
    limit: Option<Duration>,
    console: &mut Console,
) -> Result<Exit, Failure> {
    if arguments.guide {
        console.print(&doctor::guide())?;
        return Ok(Exit::Success);
    }
    let options = arguments.place.options(bus, limit, arguments.from);
    let mut diagnosis = doctor::diagnose(&options).await;
    let mut fixes = Vec::new();
    if arguments.fix {
        diagnosis = fix(arguments, &options, diagnosis, &mut fixes).await?;
    }
    let answer = Answer { diagnosis: &diagnosis, fixes: arguments.fix.then_some(fixes.as_slice()) };
    console.print(&if arguments.json { json_line(&answer) } else { text(&diagnosis, arguments.all) })?;
    Ok(match diagnosis.verdict {
        Verdict::Failure => Exit::Faulty,
        Verdict::Warning => Exit::Doubtful,
        _ => Exit::Success,
    })
}

/// Runs remedies, one fault after the other, each after a new look: one may mend the next as well.
async fn fix(
    arguments: &Arguments,
    options: &Options,
    mut diagnosis: Diagnosis,
    fixes: &mut Vec<Fix>,
) -> Result<Diagnosis, Failure> {
    let root = Uid::effective().is_root();
    let mut seen = HashSet::new();
    loop {
        let next = diagnosis.checks.iter().find_map(|finding| {
            let remedy = finding.remedy.as_ref().filter(|remedy| remedy.automatic)?;
            (finding.verdict.is_fault() && !seen.contains(finding.id))
                .then(|| (finding.clone(), remedy.commands.clone()))
        });
        let Some((finding, commands)) = next else { return Ok(diagnosis) };
        seen.insert(finding.id);
        say(&format!("{}: {}", finding.id, escape(&finding.summary)));
        let mut changed = false;
        for command in commands {
            if !root {
                say(&format!("  as root: {command}"));
                fixes.push(Fix { check: finding.id, command, succeeded: None });
                continue;
            }
            if !arguments.yes && !agreed(&command)? {
                say("  left as it is");
                break;
            }
            say(&format!("  runs {command}"));
            let succeeded = runs(&command);
            changed = true;
            fixes.push(Fix { check: finding.id, command, succeeded: Some(succeeded) });
            if !succeeded {
                say("  it failed");
                break;
            }
        }
        if changed {
            diagnosis = doctor::diagnose(options).await;
            let after = diagnosis.checks.iter().find(|after| after.id == finding.id);
            let verdict = after.map_or("gone", |after| after.verdict.as_str());
            say(&format!("  {} is now: {verdict}", finding.id));
        }
    }
}

/// To standard error: the diagnosis alone goes to standard output.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Asks the person at the terminal; nobody there is a no.
fn agreed(command: &str) -> Result<bool, Failure> {
    let _ = write!(io::stderr(), "  run \"{command}\"? [y/N] ");
    if !io::stdin().is_terminal() {
        say("(not a terminal; --yes runs it)");
        return Ok(false);
    }
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Runs a command of doctor's as root. Its output is shown to people, and kept out of ours.
fn runs(command: &str) -> bool {
    let mut words = command.split_whitespace().skip_while(|word| *word == "sudo");
    let Some(program) = words.next() else { return false };
    let mut command = Command::new(program);
    let output = command.args(words).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).output();
    match output {
        Ok(output) => {
            let told = [output.stdout, output.stderr].concat();
            for line in String::from_utf8_lossy(&told).lines() {
                say(&format!("    {}", escape(line)));
            }
            output.status.success()
        }
        Err(error) => {
            say(&format!("    {}", super::console::reason(&error)));
            false
        }
    }
}

/// The diagnosis for people.
pub(super) fn text(diagnosis: &Diagnosis, all: bool) -> String {
    let shown = diagnosis.checks.iter().filter(|finding| all || finding.verdict.is_fault());
    let mut text: String = shown.map(|finding| told(finding, all)).collect();
    let hidden = diagnosis.checks.iter().filter(|finding| finding.verdict == Verdict::NeedsRoot);
    let hidden: Vec<&str> = hidden.map(|finding| finding.id).collect();
    if !hidden.is_empty() && !all {
        text.push_str(&format!("{NOTE}needs root: {} (sudo hailo-clip doctor){NOTE:#}\n", hidden.join(", ")));
    }
    let count = |verdict| diagnosis.count(verdict);
    let summary = match (count(Verdict::Failure), count(Verdict::Warning)) {
        (0, 0) => format!("{GOOD}nothing is wrong{GOOD:#}"),
        (failures, warnings) => {
            let style = if failures > 0 { FAILURE } else { WARNING };
            format!("{style}{}, {}{style:#}", plural(failures, "failure"), plural(warnings, "warning"))
        }
    };
    let passed = count(Verdict::Ok);
    text.push_str(&format!(
        "{summary}; {passed} of {} checks are ok, {} do not apply\n",
        diagnosis.checks.len(),
        count(Verdict::NotApplicable)
    ));
    text
}

fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A check: its verdict and summary, below it what was seen and what to do.
fn told(finding: &Finding, all: bool) -> String {
    let style = match finding.verdict {
        Verdict::Ok => GOOD,
        Verdict::Warning => WARNING,
        Verdict::Failure => FAILURE,
        Verdict::NotApplicable | Verdict::NeedsRoot => NOTE,
    };
    let verdict = finding.verdict.as_str();
    let mut text = format!(
        "{style}{verdict:<14}{style:#} {TITLE}{}{TITLE:#}: {}\n",
        finding.id,
        escape(&finding.summary)
    );
    for line in &finding.evidence {
        text.push_str(&format!("{:15}{NOTE}{}{NOTE:#}\n", "", escape(line)));
    }
    let remedy = finding.remedy.as_ref().filter(|_| all || finding.verdict.is_fault());
    if let Some(remedy) = remedy {
        if !remedy.advice.is_empty() {
            text.push_str(&format!("{:15}{}\n", "", escape(&remedy.advice)));
        }
        for command in &remedy.commands {
            // As it is: it is ours, and is copied.
            text.push_str(&format!("{:15}$ {command}\n", ""));
        }
    }
    text
}
