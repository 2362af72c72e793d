//! Errors in the journal.

use crate::doctor::{
    finding::{Check, Outcome},
    journal::{Record, Unreadable},
    machine::Machine,
};

/// Priority of an error; less is graver.
const ERROR: u8 = 3;
/// Records that are shown, the last ones.
const SHOWN: usize = 5;

pub(super) const ERRORS: Check = Check {
    id: "journal",
    title: "Errors in the journal",
    symptom: "something is wrong that no other check names",
    looks_at: "errors of the units in the journal of the last day, since the service last started",
    remedy: "read them: each says what failed and what to do",
    run: errors,
};

fn errors(machine: &Machine) -> Outcome {
    let records = match &machine.journal {
        Ok(records) => records,
        Err(Unreadable::Denied) => {
            return Outcome::needs_root(
                "root and the group systemd-journal alone read the service's journal",
            );
        }
        Err(Unreadable::Absent) => return Outcome::not_applicable("there is no journal"),
    };
    let running = machine.installed_units().filter(|units| units.service.is_active());
    let started = running.and_then(|units| units.service_state.exec_main_start_timestamp).unwrap_or_default();
    let errors: Vec<&Record> = records.iter().filter(|record| record.priority <= ERROR).collect();
    let (before, since): (Vec<_>, Vec<_>) = errors.into_iter().partition(|record| record.time < started);
    if since.is_empty() {
        let outcome = Outcome::ok("the journal has no errors since the service started");
        return match before.len() {
            0 => outcome,
            count => outcome.seen(format!("{count} before that, within a day")),
        };
    }
    let outcome = Outcome::warning(match since.len() {
        1 => "the journal has an error".to_owned(),
        count => format!("the journal has {count} errors"),
    })
    .mend("journalctl -u hailo-clip -p err -e");
    let shown = since.iter().rev().take(SHOWN).rev();
    shown.map(|record| first_line(&record.message)).fold(outcome, Outcome::seen)
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().chars().take(300).collect()
}
