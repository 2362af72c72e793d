//! `hailo-clip doctor`: what is wrong with the service on this machine, and the commands that mend it.
//!
//! [`machine`] asks everything that is not a file once (the buses, other programs, the daemon's HTTP), each
//! within a deadline; the checks in [`checks`] are functions of that and of the files below a root. They work
//! whether the daemon is up, down, failing at its start or not installed as a service, and change nothing: a
//! stopped daemon is not started by them. Deliberately not here: asking people and running remedies (the
//! command), and what the daemon does about faults itself.

mod bundle;
mod checks;
mod command;
mod finding;
mod guide;
mod journal;
mod machine;
mod scrub;
mod service;
mod systemd;

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use serde::Serialize;
use tokio::{task::spawn_blocking, time::timeout};

pub use self::{
    bundle::{Bundle, Entry, collect},
    finding::{Finding, Remedy, Verdict},
    guide::guide,
};
use self::{
    finding::{Check, Outcome},
    machine::Machine,
};
use crate::dbus::Bus;

/// Number of the form of `--json`; a key that is added does not change it.
const SCHEMA: u32 = 1;

/// Longest time for a check that reads files. Digests of large models take their time on an SD card.
const CHECK_LIMIT: Duration = Duration::from_secs(120);

/// Where to look.
#[derive(Clone, Debug)]
pub struct Options {
    /// The bus that the daemon is on.
    pub bus: Bus,
    /// The configuration file.
    pub config: PathBuf,
    /// Folders of model bundles.
    pub models: Vec<PathBuf>,
    /// Folder of the shim over HailoRT.
    pub shim_dir: PathBuf,
    /// What stands for `/`.
    pub root: PathBuf,
    /// What stands for `/` where Hailo devices are looked for, if something else.
    pub hardware_root: Option<PathBuf>,
    /// A client's address: would it be let in?
    pub from: Option<IpAddr>,
    /// Longest wait for each answer.
    pub limit: Duration,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    schema: u32,
    version: &'static str,
    /// Whether root asked.
    pub root: bool,
    /// The worst of all.
    pub verdict: Verdict,
    /// One for each check, in the order in which faults follow from one another.
    pub checks: Vec<Finding>,
}

impl Diagnosis {
    /// How many checks turned out so.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.checks.iter().filter(|check| check.verdict == verdict).count()
    }
}

/// Examines the machine.
pub async fn diagnose(options: &Options) -> Diagnosis {
    let machine = Arc::new(Machine::examine(options).await);
    // Side by side: one that waits for a slow disk holds up no other.
    let started: Vec<_> = checks::ALL
        .iter()
        .map(|check| {
            let machine = Arc::clone(&machine);
            (check, spawn_blocking(move || (check.run)(&machine)))
        })
        .collect();
    let mut findings = Vec::new();
    for (check, outcome) in started {
        let outcome = match timeout(CHECK_LIMIT, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Outcome::warning("this check failed itself; please report it"),
            Err(_) => Outcome::warning(format!(
                "not done within {CHECK_LIMIT:?}; is a disk or a network share stuck?"
            )),
        };
        findings.push(found(check, outcome));
    }
    let verdict = worst(&findings);
    Diagnosis {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        root: machine.privileged,
        verdict,
        checks: findings,
    }
}

fn found(check: &Check, outcome: Outcome) -> Finding {
    let Outcome { verdict, summary, evidence, remedy } = outcome;
    Finding { id: check.id, title: check.title, verdict, summary, evidence, remedy }
}

/// The gravest fault; what was not seen is none.
fn worst(findings: &[Finding]) -> Verdict {
    let faults = findings.iter().map(|finding| finding.verdict).filter(|verdict| verdict.is_fault());
    faults.max_by_key(|verdict| *verdict == Verdict::Failure).unwrap_or(Verdict::Ok)
}
