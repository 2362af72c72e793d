//! The files that the system reads: units, policies, rules. Each by the program that will read it.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

#[path = "common/mod.rs"]
mod common;

use common::Bus;
use hailo_clip::dbus;

fn project(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(project(file)).unwrap()
}

#[track_caller]
fn run<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Output {
    let output = Command::new(program).args(arguments).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}; packages.txt has its package"))
}

/// Standard output of a program that succeeds and has nothing to complain of.
#[track_caller]
fn quietly(output: Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.is_empty(),
        "{}\n{said}",
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// All values of a key of a unit.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// Copies the units to a folder, with programs that are there.
fn units_with_programs() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "hailo-clip.service",
        "hailo-clip.socket",
        "hailo-clip-pull.socket",
        "hailo-clip-pull@.service",
        "hailo-clip-device@.service",
    ] {
        let unit = read(&format!("systemd/{name}"))
            .replace("/usr/libexec/hailo-clip/hailo-clipd", env!("CARGO_BIN_EXE_hailo-clipd"))
            .replace("/usr/libexec/hailo-clip/hailo-clip-pull", env!("CARGO_BIN_EXE_hailo-clip-pull"))
            .replace("/usr/lib/systemd/system-generators/hailo-clip-generator", "/bin/true")
            .replace("/usr/libexec/hailo-clip/", &format!("{}/", project("tools").display()));
        fs::write(folder.path().join(name), unit).unwrap();
    }
    folder
}

#[test]
fn systemd_has_nothing_to_complain_of() {
    let folder = units_with_programs();
    let units = ["hailo-clip.service", "hailo-clip.socket", "hailo-clip-pull.socket"]
        .map(|name| folder.path().join(name));
    let verify = [OsStr::new("verify"), OsStr::new("--man=no"), OsStr::new("--recursive-errors=no")];
    quietly(run("systemd-analyze", verify.into_iter().chain(units.iter().map(AsRef::as_ref))));
    let instance = folder.path().join("hailo-clip-device@hailo0.service");
    fs::rename(folder.path().join("hailo-clip-device@.service"), &instance).unwrap();
    quietly(run("systemd-analyze", verify.into_iter().chain([instance.as_ref()])));

    // A mistake would be seen.
    let unit = read("systemd/hailo-clip.service").replace("ProtectHome=yes", "ProtectHomes=yes");
    fs::write(&units[0], unit).unwrap();
    let output = run("systemd-analyze", verify.into_iter().chain([units[0].as_ref()]));
    assert!(String::from_utf8_lossy(&output.stderr).contains("ProtectHomes"));
}

#[test]
fn the_service_is_exposed_to_little() {
    let unit = project("systemd/hailo-clip.service");
    let judge = |threshold: &str| {
        let options = ["security", "--offline=true", threshold].map(OsStr::new);
        run("systemd-analyze", options.into_iter().chain([unit.as_os_str()]))
    };
    let judged = judge("--threshold=15");
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
    assert!(!judge("--threshold=5").status.success(), "the threshold is looked at");
}

/// The daemon asks for models where nobody else may, and what answers can write models and nothing else.
#[test]
fn models_are_fetched_apart_from_the_daemon() {
    let (socket, fetching) =
        (read("systemd/hailo-clip-pull.socket"), read("systemd/hailo-clip-pull@.service"));
    let daemon = read("systemd/hailo-clip.service");
    let address = values(&socket, "ListenStream")[0];
    assert!(values(&daemon, "ExecStart")[0].ends_with(&format!("--pull-socket={address}")));
    assert_eq!(
        (values(&socket, "SocketMode"), values(&socket, "SocketUser")),
        (vec!["0600"], values(&daemon, "User"))
    );
    assert_eq!(
        (values(&socket, "Accept"), values(&fetching, "StandardInput")),
        (vec!["yes"], vec!["socket"])
    );
    assert_eq!(values(&fetching, "ProtectSystem"), ["strict"]);
    assert!(values(&fetching, "ReadWritePaths").is_empty() && values(&fetching, "IPAddressDeny").is_empty());
    assert!(!values(&daemon, "IPAddressDeny").is_empty());
    let unit = project("systemd/hailo-clip-pull@.service");
    let options = ["security", "--offline=true", "--threshold=15"].map(OsStr::new);
    let judged = run("systemd-analyze", options.into_iter().chain([unit.as_os_str()]));
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
}

#[test]
fn the_socket_and_the_service_let_the_same_networks_in() {
    let (service, socket) = (read("systemd/hailo-clip.service"), read("systemd/hailo-clip.socket"));
    for key in ["IPAddressDeny", "IPAddressAllow"] {
        assert_eq!(values(&service, key).len(), 1);
        assert_eq!(values(&service, key), values(&socket, key));
    }
    assert_eq!(values(&socket, "FileDescriptorName"), ["http"]);
}

#[test]
fn the_bus_takes_the_policy_and_starts_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("bus.conf");
    let text = format!(
        "<busconfig><type>system</type><listen>unix:dir={}</listen><auth>EXTERNAL</auth>\
         <policy context=\"default\"><allow user=\"*\"/></policy><include>{}</include></busconfig>",
        folder.path().display(),
        project("dbus/org.hailo.Clip1.conf").display()
    );
    fs::write(&config, text).unwrap();
    assert!(Bus::with_config(&config).address.starts_with("unix:"), "the bus starts");

    let activation = read("dbus/org.hailo.Clip1.service");
    assert_eq!(values(&activation, "Name"), [dbus::NAME]);
    assert_eq!(values(&activation, "SystemdService"), ["hailo-clip.service"]);
    let unit = read("systemd/hailo-clip.service");
    assert_eq!(values(&unit, "BusName"), [dbus::NAME]);
    assert_eq!(values(&unit, "User"), values(&activation, "User"));
}

#[test]
fn polkit_has_every_action_in_two_languages() {
    let policy = project("polkit/org.hailo.clip1.policy");
    let valid = run(
        "xmllint",
        ["--nonet", "--noout", "--dtdvalid", "/usr/share/polkit-1/policyconfig-1.dtd"]
            .map(OsStr::new)
            .into_iter()
            .chain([policy.as_os_str()]),
    );
    quietly(valid);
    let policy = read("polkit/org.hailo.clip1.policy");
    let actions: Vec<_> = policy.split("<action ").skip(1).collect();
    let ids = actions.iter().map(|action| action.split('"').nth(1).unwrap());
    assert_eq!(
        ids.collect::<Vec<_>>(),
        ["org.hailo.clip1.classify", "org.hailo.clip1.manage", "org.hailo.clip1.manage-models"]
    );
    // Without its owner's name polkit does not answer the service, and nobody could ask for anything.
    let owner = r#"<annotate key="org.freedesktop.policykit.owner">unix-user:hailo-clip</annotate>"#;
    for action in actions {
        for part in [owner, "<message>", r#"<message xml:lang="de">"#, r#"<description xml:lang="de">"#] {
            assert_eq!(action.matches(part).count(), 1, "{part} in {action}");
        }
    }
}

/// The rule in the JavaScript engine that polkit has.
#[test]
fn the_group_manages_without_a_password() {
    let rules = read("polkit/50-hailo-clip.rules");
    let script = format!(
        r#"var rule, polkit = {{
               Result: {{ YES: "yes", NOT_HANDLED: "not handled" }},
               addRule: function (f) {{ rule = f; }}
           }};
           {rules}
           ["classify", "manage", "manage-models", "manage-other"].forEach(function (action) {{
               ["hailo-clip", "users"].forEach(function (group) {{
                   var subject = {{ isInGroup: function (name) {{ return name === group; }} }};
                   print(action, group, rule({{ id: "org.hailo.clip1." + action }}, subject));
               }});
           }});"#
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.js");
    fs::write(&file, script).unwrap();
    let said = quietly(run("duk", [&file]));
    let yes: Vec<_> = said.lines().filter_map(|line| line.strip_suffix(" yes")).collect();
    assert_eq!(yes, ["manage hailo-clip", "manage-models hailo-clip"], "{said}");
    assert_eq!(said.lines().filter(|line| line.ends_with(" not handled")).count(), 6, "{said}");
}

#[test]
fn apparmor_takes_the_profile() {
    let profile = project("apparmor/hailo-clipd");
    let options = ["--skip-kernel-load", "--skip-cache", "--quiet"].map(OsStr::new);
    let parsed = run("/usr/sbin/apparmor_parser", options.into_iter().chain([profile.as_os_str()]));
    assert!(parsed.status.success(), "{}", String::from_utf8_lossy(&parsed.stderr));
    for unit in ["hailo-clip.service", "hailo-clip-pull@.service"] {
        let unit = read(&format!("systemd/{unit}"));
        let program = values(&unit, "ExecStart")[0].split(' ').next().unwrap();
        assert!(read("apparmor/hailo-clipd").contains(&format!("{program} flags=")), "{program}");
    }
}

/// What the script for device nodes says and runs, for nodes with this mode, group number and group name.
fn join(nodes: &[&str]) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let programs = [
        // Its third argument is the node, which here says what is to be known of it.
        ("stat", "echo \"$3\"".to_owned()),
        ("id", "[ \"$1\" = -u ] && echo 990 || echo 990 44".to_owned()),
        ("usermod", format!("echo usermod \"$@\" >>{}", log.display())),
        ("systemctl", format!("echo systemctl \"$@\" >>{}", log.display())),
    ];
    for (name, text) in programs {
        let file = folder.path().join(name);
        fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let output = Command::new(project("tools/hailo-clip-join-device-group"))
        .args(nodes)
        .env("PATH", path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let ran = fs::read_to_string(log).unwrap_or_default();
    let usermod: String = ran.lines().filter(|line| line.starts_with("usermod")).collect();
    (usermod, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_user_joins_a_nodes_group_if_it_has_to() {
    let joined = "usermod -a -G npu hailo-clip";
    assert_eq!(join(&["660 105 npu"]), (joined.to_owned(), String::new()));
    assert_eq!(join(&["666 105 npu"]), Default::default(), "everybody may open it");
    assert_eq!(join(&["660 44 video"]), Default::default(), "it is a member already");
    for of_root in ["660 0 root", "600 105 npu"] {
        let (ran, said) = join(&[of_root]);
        assert!(ran.is_empty() && said.contains("root alone") && said.contains("GROUP="), "{ran}{said}");
    }
    assert_eq!(join(&["666 0 root", "660 0 root", "660 105 npu"]).0, joined, "one does not stand for all");
}
