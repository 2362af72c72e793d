//! The daemon: whether it runs, keeps running, starts in time, runs once, answers, and on the hardware asked for.

use crate::{
    config::BackendChoice,
    doctor::{
        finding::{Check, Outcome},
        machine::Machine,
        service::Service,
        systemd::{SERVICE, SOCKET},
    },
    kernel::process::{self, Running},
};

/// Restarts by systemd that are more than bad luck.
const MANY_RESTARTS: u32 = 3;

const RESTART: &str = "sudo systemctl restart hailo-clip.service";
const RESET: &str = "sudo systemctl reset-failed hailo-clip.socket hailo-clip.service";
const WHY: &str = "journalctl -u hailo-clip -e";

pub(super) const RUNNING: Check = Check {
    id: "service",
    title: "Service running",
    symptom: "\"the service is not running\", connections are refused",
    looks_at: "the state of hailo-clip.service in systemd, its result and exit code",
    remedy: "mend what the exit code or the journal names, then start it",
    run: running,
};

fn running(machine: &Machine) -> Outcome {
    let Some(units) = machine.installed_units() else {
        return match machine.service {
            Service::NotRunning => Outcome::failure("the service does not run").mend("hailo-clipd"),
            Service::NoBus => Outcome::not_applicable("neither D-Bus nor systemd can be asked"),
            _ => Outcome::ok("the service runs"),
        };
    };
    let (unit, state) = (&units.service, &units.service_state);
    let active = unit.active_state.as_deref().unwrap_or_default();
    let seen = format!("{SERVICE} is {active} ({})", unit.sub_state.as_deref().unwrap_or_default());
    match active {
        "active" | "reloading" => Outcome::ok("the service runs").seen(seen),
        "activating" if unit.sub_state.as_deref() == Some("auto-restart") => failed(machine, seen),
        "activating" => Outcome::warning("the service is being started").seen(seen).mend("hailo-clip doctor"),
        "deactivating" => {
            Outcome::warning("the service is being stopped").seen(seen).mend("hailo-clip doctor")
        }
        "failed" => failed(machine, seen),
        _ if units.socket.is_active() => {
            Outcome::warning("the service is stopped; the next HTTP request starts it")
                .seen(seen)
                .mend_safely("sudo systemctl start hailo-clip.service")
        }
        _ => Outcome::failure("the service is stopped")
            .seen(seen)
            .seen(format!("{SOCKET} is {}", units.socket.active_state.as_deref().unwrap_or_default()))
            .mend_safely("sudo systemctl start hailo-clip.socket hailo-clip.service"),
    }
    .seen(format!("its last result is {}", state.result.as_deref().unwrap_or_default()))
}

/// A service that failed, with what its exit code says.
fn failed(machine: &Machine, seen: String) -> Outcome {
    let state = machine.units.as_ref().map(|units| units.service_state.clone()).unwrap_or_default();
    let status = state.exec_main_status.unwrap_or_default();
    let outcome = Outcome::failure("the service failed").seen(seen);
    match (state.result.as_deref().unwrap_or_default(), status) {
        ("exit-code", 78) => outcome
            .seen("exit code 78: the configuration cannot be used")
            .advise("correct the configuration (see the check \"configuration\"), then:")
            .mend(RESET)
            .mend(RESTART),
        ("exit-code", code) => outcome.seen(format!("exit code {code}")).mend(WHY).mend(RESET).mend(RESTART),
        ("timeout", _) => outcome.seen("it was not ready in time").mend(WHY).mend(RESET).mend(RESTART),
        ("oom-kill", _) => outcome.seen("the kernel ended it: out of memory").mend(RESET).mend(RESTART),
        ("watchdog", _) => outcome.seen("a batch hung until the watchdog bit").mend(WHY).mend(RESTART),
        ("start-limit-hit", _) => {
            outcome.seen("it was started too often in a minute").mend(WHY).mend(RESET).mend(RESTART)
        }
        (result, _) => outcome.seen(format!("result {result}")).mend(WHY).mend(RESET).mend(RESTART),
    }
}

pub(super) const CRASHES: Check = Check {
    id: "crash-loop",
    title: "Restarts",
    symptom: "the service comes and goes; requests fail now and then",
    looks_at: "how often systemd had to restart the service, the start limit, failures in the journal of the last day",
    remedy: "find the cause in the journal; `hailo-clip report` collects what a bug report needs",
    run: crashes,
};

fn crashes(machine: &Machine) -> Outcome {
    let Some(units) = machine.installed_units() else {
        return Outcome::not_applicable("the service does not run under systemd");
    };
    let restarts = units.service_state.restarts.unwrap_or_default();
    let limit_hit = units.service_state.result.as_deref() == Some("start-limit-hit");
    let restarting = units.service.sub_state.as_deref() == Some("auto-restart");
    let seen = format!("restarted {restarts} times by systemd");
    let outcome = if limit_hit {
        Outcome::failure("the service failed so often that systemd gave up")
            .mend(WHY)
            .mend(RESET)
            .mend(RESTART)
    } else if restarting || (!units.service.is_active() && restarts >= MANY_RESTARTS) {
        Outcome::failure("the service fails at every start").mend(WHY)
    } else if restarts >= MANY_RESTARTS {
        Outcome::warning("the service was restarted again and again").mend(WHY)
    } else if restarts > 0 {
        Outcome::warning("the service was restarted after a failure").mend(WHY)
    } else {
        return Outcome::ok("the service has not crashed");
    };
    let results = machine.journal.iter().flatten().filter_map(|record| record.result.as_deref());
    let mut results: Vec<_> = results.collect();
    results.dedup();
    let outcome = outcome.seen(seen);
    if results.is_empty() { outcome } else { outcome.seen(format!("results: {}", results.join(", "))) }
}

pub(super) const START_TIMEOUT: Check = Check {
    id: "start-timeout",
    title: "Start in time",
    symptom: "\"start operation timed out\" while the model loads",
    looks_at: "the result of the last start, timeouts in the journal of the last day, TimeoutStartSec",
    remedy: "give the start more time with `systemctl edit`, or choose a smaller model",
    run: start_timeout,
};

fn start_timeout(machine: &Machine) -> Outcome {
    let Some(units) = machine.installed_units() else {
        return Outcome::not_applicable("the service does not run under systemd");
    };
    let limit = units.service_state.timeout_start.filter(|limit| *limit < u64::MAX);
    let limit = limit.map_or_else(|| "none".to_owned(), |limit| format!("{} s", limit / 1_000_000));
    let now = units.service_state.result.as_deref() == Some("timeout");
    let before = machine.journal.iter().flatten().any(|record| record.result.as_deref() == Some("timeout"));
    if !now && !before {
        return Outcome::ok("the service starts in time").seen(format!("TimeoutStartSec is {limit}"));
    }
    let outcome = match now {
        true => Outcome::failure("the service was not ready in time and was ended"),
        false => Outcome::warning("the service was not ready in time, within the last day"),
    };
    outcome
        .seen(format!("TimeoutStartSec is {limit}"))
        .mend("sudo mkdir -p /etc/systemd/system/hailo-clip.service.d")
        .mend("printf '[Service]\\nTimeoutStartSec=600\\n' | sudo tee /etc/systemd/system/hailo-clip.service.d/60-start.conf")
        .mend("sudo systemctl daemon-reload")
        .mend(RESTART)
}

pub(super) const INSTANCES: Check = Check {
    id: "instances",
    title: "One instance",
    symptom: "the device or the port is taken, answers differ from request to request",
    looks_at: "processes of hailo-clipd other than the service's, and of the old Python service",
    remedy: "stop the other instance",
    run: instances,
};

fn instances(machine: &Machine) -> Outcome {
    let own = machine.pid();
    let processes: Vec<Running> = process::running(&machine.proc()).collect();
    // The daemon tries models in children of its own.
    let is_child = |process: &Running| {
        Some(process.parent) == own || process.arguments.iter().any(|argument| argument == "--try-model")
    };
    let others: Vec<&Running> = processes
        .iter()
        .filter(|process| Some(process.pid) != own && !is_child(process) && is_instance(process))
        .collect();
    if own.is_none() && others.len() == 1 && machine.installed_units().is_none() {
        return Outcome::ok("one instance runs").seen(told(others[0]));
    }
    if others.is_empty() {
        return Outcome::ok(if own.is_some() { "one instance runs" } else { "no other instance runs" });
    }
    let pids: Vec<_> = others.iter().map(|process| process.pid.to_string()).collect();
    let outcome = Outcome::failure(match others.len() {
        1 => "another instance runs beside the service".to_owned(),
        count => format!("{count} other instances run beside the service"),
    })
    .advise("stop what started it, or the process itself")
    .mend(format!("ps -o pid,user,unit,cmd -p {}", pids.join(",")))
    .mend(format!("sudo kill {}", pids.join(" ")));
    others.into_iter().map(told).fold(outcome, Outcome::seen)
}

fn told(process: &Running) -> String {
    let command: String = process.arguments.join(" ").chars().take(120).collect();
    format!("process {}: {command}", process.pid)
}

/// Our daemon, or the old service's program in Python or gunicorn.
fn is_instance(process: &Running) -> bool {
    let Some(program) = process.arguments.first() else { return false };
    let name = program.rsplit('/').next().unwrap_or(program);
    let interpreted = name.starts_with("python") || name.starts_with("gunicorn");
    let old = |argument: &String| {
        argument.starts_with("/opt/hailo-clip/") || argument.contains("hailo_clip_service")
    };
    name == "hailo-clipd"
        || (interpreted && process.arguments.iter().any(old))
        || (old(program) && !interpreted)
}

pub(super) const ANSWERS: Check = Check {
    id: "answers",
    title: "Answers",
    symptom: "requests fail or are not answered although the service runs",
    looks_at: "the daemon's state over D-Bus, and a small picture that it is asked to classify",
    remedy: "mend what the state names, or restart the service",
    run: answers,
};

fn answers(machine: &Machine) -> Outcome {
    let answers = match &machine.service {
        Service::NoBus => return Outcome::not_applicable("there is no D-Bus to ask on"),
        Service::NotRunning if machine.runs() => {
            return Outcome::failure("the service runs, but has no name on the bus").mend(WHY).mend(RESTART);
        }
        Service::NotRunning => return Outcome::not_applicable("the service does not run"),
        Service::Silent(reason) => {
            return Outcome::failure("the service has its name on the bus and does not answer")
                .seen(reason.clone())
                .mend_safely(RESTART);
        }
        Service::Answers(answers) => answers,
    };
    let state = answers.properties.state.as_deref().unwrap_or_default();
    let error = answers.properties.last_error.clone().filter(|error| !error.is_empty());
    let seen = format!("its state is {state}");
    let version = answers.properties.version.as_deref().unwrap_or_default();
    if ![env!("CARGO_PKG_VERSION"), ""].contains(&version) {
        return Outcome::warning(format!(
            "the running service is of version {version}, this command of another"
        ))
        .seen(format!("this is hailo-clip {}", env!("CARGO_PKG_VERSION")))
        .mend_safely(RESTART);
    }
    match (state, &answers.trial) {
        ("failed", _) => {
            let outcome = Outcome::failure("the service cannot answer requests").seen(seen).mend(WHY);
            error.into_iter().fold(outcome, Outcome::seen)
        }
        ("starting" | "loading" | "draining", _) => {
            Outcome::warning("the service does not answer requests now").seen(seen).mend("hailo-clip doctor")
        }
        (_, None) => {
            Outcome::ok("the service answers; its model is released until the next request").seen(seen)
        }
        (_, Some(Ok(time))) => Outcome::ok("the service classified a picture")
            .seen(format!("in {:.0} ms", time.as_secs_f64() * 1000.0))
            .seen(seen),
        (_, Some(Err(reason))) => Outcome::failure("the service could not classify a small picture")
            .seen(reason.clone())
            .seen(seen)
            .mend(WHY),
    }
}

pub(super) const BACKEND: Check = Check {
    id: "backend",
    title: "Hardware in use",
    symptom: "the state is degraded, requests are slow: the CPU does the NPU's work",
    looks_at: "the daemon's backend and why it is degraded, against `clip.backend`",
    remedy: "mend what the reason names, or set `clip.backend: cpu` to make this the normal state",
    run: backend,
};

fn backend(machine: &Machine) -> Outcome {
    let Some(properties) = machine.properties() else {
        return Outcome::not_applicable("the service does not answer");
    };
    let device = properties.device.clone().unwrap_or_default();
    if properties.state.as_deref() == Some("degraded") {
        let outcome =
            Outcome::warning(format!("the service runs on {device}, not on the hardware asked for"));
        let reason = properties.last_error.clone().unwrap_or_default();
        return outcome
            .seen(reason)
            .advise("mend what the reason names; the service then takes the device by itself");
    }
    match machine.settings_or_default().clip.backend {
        _ if device.is_empty() => Outcome::not_applicable("no model is loaded"),
        BackendChoice::Hailo if properties.backend.as_deref() == Some("cpu") => {
            Outcome::warning("clip.backend is hailo, and the service runs on the CPU").mend_safely(RESTART)
        }
        _ => Outcome::ok(format!("the service runs on {device}"))
            .seen(format!("with model {}", properties.model.as_deref().unwrap_or_default())),
    }
}
