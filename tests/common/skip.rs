//! What a test leaves out on a machine that lacks something.

use std::{collections::BTreeSet, io::Write, sync::Mutex};

static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Says, once, what the calling test leaves out, and which target of `make` does it. Past the harness, which keeps
/// to itself what a test prints that passes.
pub fn skipped(what: &str, target: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("SKIPPED in {test}: {what}; \"make {target}\" does it\n");
    if SAID.lock().unwrap().insert(line.clone()) {
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}
