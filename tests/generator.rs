//! `hailo-clip-generator`, the real program, on trees of its own and with a `systemctl` that notes calls.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hailo-clip-generator");
const SOCKET: &str = "hailo-clip.socket.d/50-hailo-clip-yaml.conf";
const SERVICE: &str = "hailo-clip.service.d/50-hailo-clip-yaml.conf";

/// A machine with four cores and no NPU, whose process 1 is this test.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(TempDir::new().unwrap());
        machine.write("sys/devices/system/cpu/online", "0-3\n");
        fs::create_dir_all(machine.path("run")).unwrap();
        fs::create_dir(machine.path("proc")).unwrap();
        symlink(format!("/proc/{}", std::process::id()), machine.path("proc/1")).unwrap();
        machine
    }

    fn with(yaml: &str) -> Self {
        let machine = Self::new();
        machine.configure(yaml);
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn configure(&self, yaml: &str) {
        self.write("etc/hailo/hailo-clip.yaml", yaml);
    }

    fn generated(&self) -> PathBuf {
        self.path("run/systemd/generator")
    }

    /// Runs the generator as systemd does; what it says.
    fn generate(&self) -> String {
        fs::create_dir_all(self.generated()).unwrap();
        let folders = ["", ".early", ".late"].map(|kind| self.path(&format!("run/systemd/generator{kind}")));
        let mut command = Command::new(PROGRAM);
        said(&command.args(["--root".as_ref(), self.0.path()]).args(folders).output().unwrap())
    }

    fn dropin(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.generated().join(path)).ok()
    }

    /// The service's step of its start; what it says.
    fn sync(&self) -> String {
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        let mut command = Command::new(PROGRAM);
        command.args(["--sync".as_ref(), "--root".as_ref(), self.0.path()]).env("PATH", path);
        said(&command.output().unwrap())
    }

    /// A `systemctl` that notes its calls, knows a socket unit with these addresses, and runs the generator
    /// on daemon-reload.
    fn systemctl(&self, state: &str, listen: &[&str]) {
        let listen: String =
            listen.iter().map(|address| format!("echo 'Listen={address} (Stream)'; ")).collect();
        let root = self.0.path().display();
        let script = format!(
            "#!/bin/sh
echo \"$*\" >> {root}/calls
case $1 in
show) {listen} echo ActiveState={state};;
daemon-reload) {PROGRAM} --root {root} {root}/run/systemd/generator x x;;
esac
"
        );
        self.write("bin/systemctl", &script);
        fs::set_permissions(self.path("bin/systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The calls of systemctl since the last question.
    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        let _ = fs::remove_file(self.path("calls"));
        calls.lines().map(str::to_owned).collect()
    }
}

/// What a program says that succeeds, as everything that a generator does must.
fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

const SHOW: &str = "show --property=ActiveState,Listen hailo-clip.socket";
const RESTART: &str = "--no-block restart hailo-clip.socket";

#[test]
fn port_and_limits_become_dropins() {
    let machine = Machine::with("server: {host: 127.0.0.1, port: 6000}\nresource_limits: {memory_max: 1G}\n");
    assert_eq!(machine.generate(), "");
    let socket = machine.dropin(SOCKET).unwrap();
    assert!(
        socket.ends_with(
            "\n[Socket]\nListenStream=\nListenStream=127.0.0.1:6000\nListenStream=/run/hailo-clip/http.sock\n"
        ),
        "{socket}"
    );
    let service = machine.dropin(SERVICE).unwrap();
    assert!(service.ends_with("\n[Service]\nMemoryMax=1G\nCPUQuota=320%\n"), "{service}");
    let mode = fs::metadata(machine.generated().join(SOCKET)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}

#[test]
fn an_npu_leaves_the_cores_to_others() {
    let machine = Machine::with("");
    machine.write("sys/bus/pci/devices/0001:01:00.0/vendor", "0x1e60\n");
    machine.generate();
    assert!(machine.dropin(SERVICE).unwrap().contains("CPUQuota=80%\n"));
}

#[test]
fn the_packaged_file_repeats_the_packaged_units_defaults() {
    let machine = Machine::with(include_str!("../config/hailo-clip.yaml"));
    assert_eq!(machine.generate(), "");
    assert!(machine.dropin(SOCKET).unwrap().contains("ListenStream=0.0.0.0:5000\n"));
    assert!(machine.dropin(SERVICE).unwrap().contains("MemoryMax=3G\n"));
}

#[test]
fn a_second_run_changes_nothing_and_leaves_nothing_else() {
    let machine = Machine::with("");
    machine.generate();
    let first = [SOCKET, SERVICE].map(|path| machine.dropin(path));
    machine.generate();
    assert_eq!([SOCKET, SERVICE].map(|path| machine.dropin(path)), first);
    for folder in ["hailo-clip.socket.d", "hailo-clip.service.d"] {
        assert_eq!(fs::read_dir(machine.generated().join(folder)).unwrap().count(), 1, "{folder}");
    }
}

/// No drop-in, one line, exit code 0.
fn assert_defaults_stay(machine: &Machine, expected: &str) {
    let message = machine.generate();
    assert!(message.starts_with("<3>"), "{message}");
    assert!(message.contains(expected), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    assert_eq!([SOCKET, SERVICE].map(|path| machine.dropin(path)), [None, None]);
}

#[test]
fn a_broken_file_leaves_the_packaged_units() {
    let machine = Machine::with("");
    machine.generate();
    machine.configure("server:\n  prot: 6000\nclip: 3\n");
    assert_defaults_stay(&machine, "hailo-clip.yaml:2:3: unknown key server.prot; did you mean server.port?");
    assert!(
        machine.generate().contains("all 2 mistakes: /usr/libexec/hailo-clip/hailo-clipd --check-config")
    );
    for yaml in
        ["server: [", "\u{0}", "server: {port: 70000}", "resource_limits: {memory_max: \"1G\\nUser=root\"}"]
    {
        machine.configure(yaml);
        assert_defaults_stay(&machine, "hailo-clip.yaml:1:");
    }
}

#[test]
fn a_missing_file_leaves_the_packaged_units() {
    assert_defaults_stay(&Machine::new(), "there is no such file");
}

#[test]
fn a_folder_for_a_file_leaves_the_packaged_units() {
    let machine = Machine::new();
    fs::create_dir_all(machine.path("etc/hailo/hailo-clip.yaml")).unwrap();
    assert_defaults_stay(&machine, "cannot be read");
}

#[test]
fn port_0_is_told_and_keeps_the_packaged_socket() {
    let machine = Machine::with("server: {port: 0}");
    let message = machine.generate();
    assert!(message.starts_with("<4>server.port is 0"), "{message}");
    assert_eq!(machine.dropin(SOCKET), None);
    assert!(machine.dropin(SERVICE).is_some());
}

#[test]
fn a_folder_that_cannot_be_written_is_told() {
    let machine = Machine::with("");
    machine.write("run/systemd/generator", "a file");
    let output =
        Command::new(PROGRAM).arg("--root").arg(machine.0.path()).arg(machine.generated()).output().unwrap();
    assert!(said(&output).starts_with("<3>cannot write to "));
}

#[test]
fn a_start_with_nothing_new_only_looks() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let machine = Machine::with(&format!("server: {{host: 127.0.0.1, port: {}}}", address.port()));
    machine.generate();
    machine.systemctl("active", &[&address.to_string(), "/run/hailo-clip/http.sock"]);
    assert_eq!(machine.sync(), "");
    assert_eq!(machine.calls(), [SHOW]);
}

#[test]
fn an_edited_port_reloads_and_reopens() {
    let (old, new) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let [old_port, new_port] = [&old, &new].map(|listener| listener.local_addr().unwrap().port());
    let yaml = |port| format!("server: {{host: 127.0.0.1, port: {port}}}");
    let machine = Machine::with(&yaml(old_port));
    machine.generate();
    machine.configure(&yaml(new_port));
    machine.systemctl("active", &[&format!("127.0.0.1:{new_port}"), "/run/hailo-clip/http.sock"]);
    drop(new);

    let message = machine.sync();
    assert!(
        message.contains(&format!("<5>hailo-clip.socket is restarted to listen on 127.0.0.1:{new_port}")),
        "{message}"
    );
    assert_eq!(machine.calls(), ["daemon-reload", SHOW, RESTART]);
    assert!(machine.dropin(SOCKET).unwrap().contains(&format!("ListenStream=127.0.0.1:{new_port}\n")));

    // The socket was reopened, and the start begins again.
    let _new = TcpListener::bind(("127.0.0.1", new_port)).unwrap();
    assert_eq!(machine.sync(), "");
    assert_eq!(machine.calls(), [SHOW]);
    // The mark is gone: the next edit counts again.
    drop(_new);
    machine.sync();
    assert_eq!(machine.calls(), [SHOW, RESTART]);
}

/// `systemctl daemon-reload` by hand, before the service is restarted: systemd has closed the old address
/// and not opened the new one.
#[test]
fn a_reload_by_hand_is_made_good() {
    let machine = Machine::with("server: {host: 127.0.0.1, port: 1}");
    machine.generate();
    machine.systemctl("active", &["127.0.0.1:1", "/run/hailo-clip/http.sock"]);
    machine.sync();
    assert_eq!(machine.calls(), [SHOW, RESTART]);
}

#[test]
fn a_socket_that_never_opens_is_not_restarted_for_ever() {
    let machine = Machine::with("server: {host: 127.0.0.1, port: 1}");
    machine.generate();
    machine.systemctl("active", &["127.0.0.1:1"]);
    machine.sync();
    assert_eq!(machine.calls(), [SHOW, RESTART]);
    let message = machine.sync();
    assert!(message.contains("still does not listen on 127.0.0.1:1"), "{message}");
    assert_eq!(machine.calls(), [SHOW]);
}

#[test]
fn a_socket_that_is_not_active_is_left_alone() {
    let machine = Machine::with("server: {host: 127.0.0.1, port: 1}");
    machine.generate();
    for state in ["inactive", "failed", "activating"] {
        machine.systemctl(state, &["127.0.0.1:1"]);
        assert_eq!(machine.sync(), "");
        assert_eq!(machine.calls(), [SHOW], "{state}");
    }
}

#[test]
fn whoever_has_the_port_is_named() {
    let machine = Machine::with("server:\n  port: 5000\n");
    machine.generate();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    // The kernel's tables and this process's descriptors are those of the real /proc.
    fs::remove_dir_all(machine.path("proc")).unwrap();
    symlink("/proc", machine.path("proc")).unwrap();
    machine.systemctl("failed", &[&format!("0.0.0.0:{port}")]);
    let said = machine.sync();
    let expected = format!("port {port} is taken: ");
    assert!(said.contains(&expected), "{said}");
    assert!(said.contains(&format!("(process {}) listens there", std::process::id())), "{said}");
    drop(other);
    assert!(!machine.sync().contains(&expected));
}

#[test]
fn edited_limits_reload_alone() {
    let machine = Machine::with("");
    machine.generate();
    machine.configure("resource_limits: {memory_max: 2G}");
    machine.systemctl("active", &["/run/hailo-clip/http.sock"]);
    machine.sync();
    assert_eq!(machine.calls(), ["daemon-reload", SHOW]);
    assert!(machine.dropin(SERVICE).unwrap().contains("MemoryMax=2G\n"));
}

#[test]
fn a_broken_file_is_the_daemons_to_tell() {
    let machine = Machine::with("server: [");
    machine.systemctl("active", &["127.0.0.1:1"]);
    assert_eq!(machine.sync(), "");
    assert_eq!(machine.calls(), [""; 0]);
}

#[test]
fn failures_of_systemctl_are_told_and_stop_nothing() {
    let machine = Machine::with("server: {host: 127.0.0.1, port: 1}");
    machine.write("bin/systemctl", "#!/bin/sh\necho 'Failed to connect to bus:' >&2; echo no >&2; exit 1\n");
    fs::set_permissions(machine.path("bin/systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
    let message = machine.sync();
    assert!(
        message.contains("<4>\"systemctl daemon-reload\" failed: Failed to connect to bus: no;"),
        "{message}"
    );

    // A restart that could not be asked for leaves no mark.
    machine.generate();
    machine.systemctl("active", &["127.0.0.1:1"]);
    let script = fs::read_to_string(machine.path("bin/systemctl")).unwrap();
    machine.write("bin/systemctl", &script.replace("esac", "--no-block) exit 1;;\nesac"));
    for _ in 0..2 {
        machine.sync();
        assert_eq!(machine.calls(), [SHOW, RESTART]);
    }
}

/// systemd itself reads the drop-ins and finds nothing to complain about.
#[test]
fn systemd_takes_the_dropins() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let machine = Machine::with("server: {host: \"::1\", port: 6000}\nresource_limits: {memory_max: 50%}\n");
    machine.generate();
    let units = machine.generated();
    for unit in ["hailo-clip.service", "hailo-clip.socket"] {
        let text = fs::read_to_string(repository.join("systemd").join(unit)).unwrap_or_else(|_| {
            "[Socket]\nListenStream=0.0.0.0:5000\nListenStream=/run/hailo-clip/http.sock\n".to_owned()
        });
        // The programs need not be installed here.
        let lines = text.lines().map(|line| match line.split_once('=') {
            Some((key, _)) if key.starts_with("Exec") => format!("{key}=/bin/true\n"),
            _ => format!("{line}\n"),
        });
        fs::write(units.join(unit), lines.collect::<String>()).unwrap();
    }
    let mut command = Command::new("systemd-analyze");
    command
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .args(["hailo-clip.socket", "hailo-clip.service"].map(|unit| units.join(unit)));
    let output = command.output().expect("systemd-analyze is installed (package systemd)");
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    let ours: Vec<_> = complaints.lines().filter(|line| line.contains("hailo-clip")).collect();
    assert!(ours.is_empty(), "{complaints}");
    // That it would complain:
    machine.write(
        "run/systemd/generator/hailo-clip.socket.d/60-wrong.conf",
        "[Socket]\nListenStream=no:address\n",
    );
    let output = command.output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("60-wrong.conf"), "{output:?}");
}
