//! What the Python service of the same name has left behind.

use std::fs;

use crate::doctor::{
    finding::{Check, Outcome},
    machine::Machine,
};

const UNIT: &str = "/etc/systemd/system/hailo-clip.service";
const REPLACED: &str = "/etc/systemd/system/hailo-clip.service.replaced-by-package";

pub(super) const LEFTOVERS: Check = Check {
    id: "leftovers",
    title: "Leftovers of the old service",
    symptom: "the old Python service starts instead of this one, or its files fill the disk",
    looks_at: "`/etc/systemd/system/hailo-clip.service`, which shadows the packaged unit, `/opt/hailo-clip`, `/etc/xdg/hailo-clip`",
    remedy: "move the old unit out of the way; remove the old program when you do not need it any more",
    run: leftovers,
};

fn leftovers(machine: &Machine) -> Outcome {
    // A link is a mask or an alias, and one that starts our daemon a copy of the packaged unit: both are the
    // administrator's own doing.
    let unit = machine.within(UNIT);
    let is_file = fs::symlink_metadata(&unit).is_ok_and(|metadata| metadata.is_file());
    let text = fs::read_to_string(&unit).unwrap_or_default();
    let program = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap_or("nothing");
    if is_file && !program.contains("/usr/libexec/hailo-clip/") {
        return Outcome::failure("the old service's unit shadows the packaged one")
            .seen(format!("{UNIT} starts {program}"))
            .advise("the unit is kept under another name; this service takes over:")
            .mend_safely(format!("sudo mv {UNIT} {REPLACED}"))
            .mend_safely("sudo systemctl daemon-reload")
            .mend_safely("sudo systemctl restart hailo-clip.socket hailo-clip.service");
    }
    let there = |path: &&str| machine.within(path).symlink_metadata().is_ok();
    let unused: Vec<&str> =
        ["/opt/hailo-clip", "/etc/xdg/hailo-clip", REPLACED].into_iter().filter(there).collect();
    if unused.is_empty() {
        return Outcome::ok("there are none");
    }
    let outcome = Outcome::warning("files of the old service are left, and nothing uses them")
        .advise("once you are sure that you do not need them:")
        .mend(format!("sudo rm -r {}", unused.join(" ")));
    unused.into_iter().fold(outcome, Outcome::seen)
}
