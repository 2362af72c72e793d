//! HTTP: who has the port, whether the service listens there, and whether a client is let in.

use std::{fs, net::IpAddr};

use crate::{
    doctor::{
        finding::{Check, Outcome},
        machine::Machine,
        systemd::Network,
    },
    generator,
    kernel::port::{self, Holder},
};

const RESTART: &str = "sudo systemctl restart hailo-clip.service";

pub(super) const PORT: Check = Check {
    id: "port",
    title: "Port",
    symptom: "\"port 5000 is taken\"; another program answers",
    looks_at: "who listens on `server.port`, in `/proc/net/tcp`, and hailo-clip.socket",
    remedy: "stop the other program, or change `server.port`",
    run: port,
};

fn port(machine: &Machine) -> Outcome {
    let port = machine.settings_or_default().server.port;
    if port == 0 {
        return Outcome::not_applicable("server.port is 0: any free port");
    }
    let holder = port::holder(port, &machine.proc());
    let listened = !matches!(holder, Holder::Unknown { .. }) || is_listened_on(machine, port);
    let units = machine.installed_units();
    let by_socket = units.filter(|units| {
        units.socket.is_active()
            && units.socket_state.addresses().iter().any(|address| address.port() == port)
    });
    let ours = match &holder {
        Holder::Process(process) => {
            Some(process.pid) == machine.pid() || (process.pid == 1 && by_socket.is_some())
        }
        // Of other users' programs the kernel tells the user alone; systemd's is root.
        Holder::OfUser { uid, .. } => (*uid == 0 && by_socket.is_some()) || answers_as_ours(machine),
        Holder::Unknown { .. } => by_socket.is_some() || answers_as_ours(machine),
    };
    let failed = units.filter(|units| units.socket.active_state.as_deref() == Some("failed"));
    let failed = failed.map(|units| units.socket_state.result.clone().unwrap_or_default());
    if let (false, Some(result)) = (listened, &failed) {
        return Outcome::failure(format!("nothing listens on port {port}: hailo-clip.socket failed"))
            .seen(format!("its result is {result}"))
            .mend_safely("sudo systemctl reset-failed hailo-clip.socket hailo-clip.service")
            .mend_safely("sudo systemctl restart hailo-clip.socket hailo-clip.service");
    }
    if !listened {
        return Outcome::ok(format!("port {port} is free"));
    }
    if ours {
        return Outcome::ok(format!("port {port} is the service's"));
    }
    let outcome =
        Outcome::failure(format!("port {port} is taken by another program")).seen(holder.to_string());
    let outcome = match holder {
        Holder::Process(process) => outcome
            .mend(format!("ps -o pid,user,unit,cmd -p {}", process.pid))
            .mend(format!("sudo kill {}", process.pid)),
        _ => outcome.mend(format!("sudo ss -ltnp sport = :{port}")),
    };
    outcome
        .advise("stop that program, or change server.port; after that:")
        .mend("sudo systemctl reset-failed hailo-clip.socket hailo-clip.service")
        .mend("sudo systemctl restart hailo-clip.socket hailo-clip.service")
}

fn answers_as_ours(machine: &Machine) -> bool {
    matches!(&machine.health, Some(Ok(answer)) if answer.contains("\"hailo-clip\""))
}

/// Whether anybody listens on a TCP port.
fn is_listened_on(machine: &Machine, port: u16) -> bool {
    let tables = ["net/tcp", "net/tcp6"].map(|file| fs::read_to_string(machine.proc().join(file)));
    let suffix = format!(":{port:04X}");
    tables.iter().flatten().flat_map(|table| table.lines()).any(|line| {
        let fields: Vec<_> = line.split_whitespace().take(4).collect();
        matches!(fields[..], [_, local, _, "0A"] if local.ends_with(&suffix))
    })
}

pub(super) const LISTENING: Check = Check {
    id: "listening",
    title: "Answers over HTTP",
    symptom: "the service runs, and HTTP clients get no connection or no answer",
    looks_at: "`GET /health` at the configured address (a stopped service is not asked: that would start it)",
    remedy: "restart the socket together with the service",
    run: listening,
};

fn listening(machine: &Machine) -> Outcome {
    match &machine.health {
        None if !machine.runs() => Outcome::not_applicable("the service does not run"),
        None => Outcome::not_applicable("the configuration does not say where it listens"),
        Some(Ok(answer)) if answers_as_ours(machine) => {
            let status = answer.lines().next().unwrap_or_default().to_owned();
            Outcome::ok("the service answers over HTTP").seen(status)
        }
        Some(Ok(answer)) => Outcome::failure("something else answers at the service's address")
            .seen(answer.lines().next().unwrap_or_default().to_owned())
            .mend("sudo ss -ltnp"),
        Some(Err(reason)) => {
            let outcome =
                Outcome::failure("the service runs, and does not answer over HTTP").seen(reason.clone());
            // An edited port is put in force by the service's own start, which restarts the socket.
            if is_moved(machine) {
                outcome.mend_safely(RESTART)
            } else {
                outcome.mend_safely("sudo systemctl restart hailo-clip.socket hailo-clip.service")
            }
        }
    }
}

/// Whether the socket listens elsewhere than the configuration says.
fn is_moved(machine: &Machine) -> bool {
    let Some((units, settings)) = machine.installed_units().zip(machine.settings()) else { return false };
    let (host, port) = (settings.server.host, settings.server.port);
    let listens = units.socket_state.addresses();
    let there = listens.iter().any(|at| at.ip() == host && at.port() == port);
    units.socket.is_active() && port != 0 && !listens.is_empty() && !there
}

pub(super) const PORT_IN_FORCE: Check = Check {
    id: "port-in-force",
    title: "Port and limits in force",
    symptom: "after an edit the service still listens on the old port, or has the old limits",
    looks_at: "the drop-ins that the generator made for systemd, and what hailo-clip.socket listens on, against the file",
    remedy: "restart the service: that puts port and limits in force",
    run: port_in_force,
};

fn port_in_force(machine: &Machine) -> Outcome {
    let Some(units) = machine.installed_units() else {
        return Outcome::not_applicable("the service is not installed under systemd");
    };
    let Some(settings) = machine.settings() else {
        return Outcome::not_applicable("the configuration has mistakes");
    };
    let listens = units.socket_state.addresses();
    let (host, port) = (settings.server.host, settings.server.port);
    let told: Vec<_> = listens.iter().map(ToString::to_string).collect();
    let seen = format!("hailo-clip.socket listens on {}; the file says {host} port {port}", told.join(", "));
    if is_moved(machine) {
        return Outcome::warning("server.host or server.port was changed, and is not in force")
            .seen(seen)
            .mend_safely(RESTART);
    }
    if generator::is_in_force(&machine.root) == Some(false) {
        return Outcome::warning("port or limits were changed, and systemd does not know yet")
            .seen("/run/systemd/generator has other drop-ins than the file asks for")
            .mend_safely(RESTART);
    }
    Outcome::ok("port and limits are as the file says").seen(seen)
}

pub(super) const ADDRESSES: Check = Check {
    id: "address-filter",
    title: "Addresses that are let in",
    symptom: "clients of another network get no answer at all, local ones do",
    looks_at: "`server.host`, and IPAddressAllow and IPAddressDeny of hailo-clip.socket, against the address of `--from`",
    remedy: "let the address in with a drop-in",
    run: addresses,
};

fn addresses(machine: &Machine) -> Outcome {
    let Some(units) = machine.installed_units() else {
        return Outcome::not_applicable("the service is not installed under systemd");
    };
    // A socket keeps the rules of the unit that opened it.
    let (allow, deny, unit) = if units.socket.is_active() {
        (&units.socket_state.allow, &units.socket_state.deny, "hailo-clip.socket")
    } else {
        (&units.service_state.allow, &units.service_state.deny, "hailo-clip.service")
    };
    let (allow, deny) = (Network::list(allow.as_ref()), Network::list(deny.as_ref()));
    let shown: Vec<_> = allow.iter().map(ToString::to_string).collect();
    let seen =
        format!("{unit} lets in {}", if shown.is_empty() { "all".to_owned() } else { shown.join(" ") });
    let Some(from) = machine.from else {
        return Outcome::ok("ask about a client with --from ADDRESS").seen(seen);
    };
    let host = machine.settings_or_default().server.host;
    if host.is_loopback() && !from.is_loopback() {
        return Outcome::failure(format!(
            "{from} cannot reach the service: server.host is {host}, this machine alone"
        ))
        .advise("set server.host: 0.0.0.0, then:")
        .mend("sudoedit /etc/hailo/hailo-clip.yaml")
        .mend(RESTART);
    }
    let plain = match from {
        IpAddr::V6(address) => address.to_ipv4_mapped().map_or(from, IpAddr::V4),
        IpAddr::V4(_) => from,
    };
    let has = |networks: &[Network]| networks.iter().any(|network| network.contains(plain));
    if has(&allow) || !has(&deny) {
        return Outcome::ok(format!("{from} is let in")).seen(seen);
    }
    let folder = |unit: &str| format!("/etc/systemd/system/{unit}.d");
    let drop_in = |section: &str, unit: &str| {
        format!(
            "printf '[{section}]\\nIPAddressAllow={plain}\\n' | sudo tee {}/60-clients.conf",
            folder(unit)
        )
    };
    Outcome::failure(format!("{from} is not let in"))
        .seen(seen)
        .mend(format!("sudo mkdir -p {} {}", folder("hailo-clip.socket"), folder("hailo-clip.service")))
        .mend(drop_in("Socket", "hailo-clip.socket"))
        .mend(drop_in("Service", "hailo-clip.service"))
        .mend("sudo systemctl daemon-reload")
        .mend("sudo systemctl restart hailo-clip.socket")
}
