//! The checks on machines that are made of files and of what others would have said.

use std::{collections::HashMap, fs};

use tempfile::TempDir;

use super::ALL;
use crate::{
    config,
    doctor::{
        command::Printed,
        finding::{Outcome, Verdict},
        journal::{Record, Unreadable},
        machine::{Machine, PrintedByOthers},
        service::{Answers, Properties, Service},
        systemd::{ServiceState, SocketState, Unit, Units},
    },
};

const GROUP: &str = "sys/fs/cgroup/system.slice/hailo-clip.service";

/// A machine below a folder of its own, with a service that runs.
struct Bench {
    folder: TempDir,
    machine: Machine,
}

impl Bench {
    fn new(yaml: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let root = folder.path().to_owned();
        fs::create_dir_all(root.join("etc/hailo")).unwrap();
        let config_file = root.join("etc/hailo/hailo-clip.yaml");
        fs::write(&config_file, yaml).unwrap();
        let active = || Unit {
            load_state: Some("loaded".into()),
            active_state: Some("active".into()),
            sub_state: Some("running".into()),
            ..Unit::default()
        };
        let units = Units {
            service: active(),
            service_state: ServiceState {
                result: Some("success".into()),
                control_group: Some("/system.slice/hailo-clip.service".into()),
                ..ServiceState::default()
            },
            socket: active(),
            socket_state: SocketState {
                listen: Some(vec![("Stream".into(), "0.0.0.0:5000".into())]),
                allow: Some(vec![(2, vec![127, 0, 0, 0], 8), (2, vec![192, 168, 0, 0], 16)]),
                deny: Some(vec![(2, vec![0; 4], 0), (10, vec![0; 16], 0)]),
                ..SocketState::default()
            },
            others: vec![("hailo-ollama.service".into(), Some(900 << 20))],
        };
        let machine = Machine {
            hardware: root.clone(),
            config: config::load(&config_file),
            config_file,
            models: vec![root.join("models")],
            shim_dir: root.join("usr/lib/hailo-clip"),
            root,
            privileged: true,
            from: None,
            no_bus: None,
            no_systemd: None,
            units: Some(units),
            service: Service::Answers(Box::default()),
            health: None,
            journal: Ok(Vec::new()),
            printed: PrintedByOthers::default(),
        };
        Self { folder, machine }
    }

    fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn units(&mut self) -> &mut Units {
        self.machine.units.as_mut().unwrap()
    }

    fn check(&self, id: &str) -> Outcome {
        (ALL.iter().find(|check| check.id == id).unwrap().run)(&self.machine)
    }

    #[track_caller]
    fn says(&self, id: &str, verdict: Verdict, what: &str) {
        let outcome = self.check(id);
        assert_eq!(outcome.verdict, verdict, "{outcome:?}");
        assert!(format!("{outcome:?}").contains(what), "{outcome:?}");
    }
}

fn printed(out: &str) -> Option<Printed> {
    Some(Printed { status: Some(0), out: out.into(), err: String::new() })
}

#[test]
fn checks_have_names_of_their_own_and_explain_themselves() {
    let mut ids: Vec<_> = ALL.iter().map(|check| check.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), ALL.len());
    for check in ALL {
        assert!(check.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", check.id);
        for text in [check.title, check.symptom, check.looks_at, check.remedy] {
            assert!(!text.is_empty() && !text.contains('\n'), "{}", check.id);
        }
    }
}

/// What `--fix` runs has no need of a shell.
#[test]
fn automatic_remedies_are_plain_commands() {
    let bench = Bench::new("clip: {backend: auto}\nserver: {api_keys_file: /etc/hailo/keys}\n");
    bench
        .file("etc/hailo/keys", "x")
        .file("etc/systemd/system/hailo-clip.service", "[Service]\nExecStart=/old\n");
    let outcomes = ALL.iter().map(|check| (check.id, (check.run)(&bench.machine)));
    let mut automatic = 0;
    for (id, outcome) in outcomes {
        let Some(remedy) = outcome.remedy else { continue };
        for command in remedy.commands.iter().filter(|_| remedy.automatic) {
            automatic += 1;
            assert!(command.starts_with("sudo "), "{id}: {command}");
            assert!(!command.contains(['\'', '"', '|', '>', ';', '$', '*']), "{id}: {command}");
        }
    }
    assert!(automatic > 2);
}

#[test]
fn memory_near_the_limit_and_beyond() {
    let mut bench = Bench::new("");
    bench.says("memory-limit", Verdict::NotApplicable, "");
    let group = |file: &str| format!("{GROUP}/{file}");
    bench.file(&group("memory.max"), "1073741824\n").file(&group("memory.current"), "1063741824\n");
    bench.file(&group("memory.stat"), "anon 1\ninactive_file 900000000\n");
    bench.file(&group("memory.events"), "oom 0\noom_kill 0\n");
    bench.says("memory-limit", Verdict::Ok, "156 MiB in use of 1024 MiB");
    bench.file(&group("memory.stat"), "inactive_file 1000\n").says("memory-limit", Verdict::Warning, "near");
    bench.file(&group("memory.events"), "oom_kill 2\n").says("memory-limit", Verdict::Failure, "2 kills");
    bench.units().service_state.result = Some("oom-kill".into());
    bench.says("memory-limit", Verdict::Failure, "out of memory");
}

#[test]
fn the_machine_is_short_of_memory() {
    let bench = Bench::new("");
    let memory = |available: u64| format!("MemTotal: 4000000 kB\nMemAvailable: {available} kB\n");
    bench.file("proc/meminfo", &memory(2_000_000)).says(
        "memory-pressure",
        Verdict::Ok,
        "hailo-ollama.service: 900 MiB",
    );
    bench.file("proc/meminfo", &memory(300_000)).says("memory-pressure", Verdict::Warning, "short");
    bench.file("proc/meminfo", &memory(90_000)).says("memory-pressure", Verdict::Failure, "out of memory");
    bench.file("proc/meminfo", &memory(2_000_000));
    bench.file(
        "proc/pressure/memory",
        "some avg10=0.00 avg60=12.50 avg300=0.00 total=1\nfull avg10=0 avg60=1.0 x\n",
    );
    bench.says("memory-pressure", Verdict::Warning, "something 12 %");
    bench.file("proc/pressure/memory", "some avg60=40.0\nfull avg10=0 avg60=9.0\n");
    bench.says("memory-pressure", Verdict::Failure, "everything 9 %");
}

#[test]
fn the_quota_holds_it_up() {
    let bench = Bench::new("");
    let stat = format!("{GROUP}/cpu.stat");
    bench.file(&stat, "usage_usec 1\nnr_periods 1000\nnr_throttled 10\n").says(
        "processor-quota",
        Verdict::Ok,
        "10 of",
    );
    bench.file(&stat, "nr_periods 1000\nnr_throttled 400\n").says(
        "processor-quota",
        Verdict::Warning,
        "400 of 1000",
    );
    bench.file(&stat, "nr_periods 10\nnr_throttled 9\n").says("processor-quota", Verdict::Ok, "");
}

#[test]
fn heat_and_voltage() {
    let mut bench = Bench::new("");
    bench.says("heat", Verdict::NotApplicable, "no sensor");
    bench.says("under-voltage", Verdict::NotApplicable, "no sensor");
    bench.file("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n");
    for (temperature, verdict) in
        [("48312", Verdict::Ok), ("81000", Verdict::Warning), ("86000", Verdict::Failure)]
    {
        bench.file("sys/class/thermal/thermal_zone0/temp", temperature).says("heat", verdict, "cpu-thermal");
    }
    bench.file("sys/class/thermal/thermal_zone0/temp", "48000");
    for (bits, heat, voltage) in [
        ("0x0", Verdict::Ok, Verdict::Ok),
        ("0x50000", Verdict::Warning, Verdict::Warning),
        ("0x50005", Verdict::Failure, Verdict::Failure),
        ("0x8", Verdict::Failure, Verdict::Ok),
    ] {
        bench.machine.printed.throttled = printed(&format!("throttled={bits}\n"));
        assert_eq!(
            (bench.check("heat").verdict, bench.check("under-voltage").verdict),
            (heat, voltage),
            "{bits}"
        );
    }
    bench.machine.printed.throttled = None;
    bench
        .file("sys/class/hwmon/hwmon3/name", "rpi_volt\n")
        .file("sys/class/hwmon/hwmon3/in0_lcrit_alarm", "1\n");
    bench.says("under-voltage", Verdict::Failure, "too low now");
    bench.machine.printed.temperature = printed("temp=84.0'C\n");
    bench.says("heat", Verdict::Warning, "vcgencmd: 84");
}

#[test]
fn units_that_fail() {
    let mut bench = Bench::new("");
    let fail = |bench: &mut Bench, result: &str, status: i32| {
        bench.units().service.active_state = Some("failed".into());
        bench.units().service_state.result = Some(result.into());
        bench.units().service_state.exec_main_status = Some(status);
    };
    bench.says("service", Verdict::Ok, "runs");
    fail(&mut bench, "exit-code", 78);
    bench.says("service", Verdict::Failure, "configuration cannot be used");
    fail(&mut bench, "timeout", 0);
    bench.says("service", Verdict::Failure, "not ready in time");
    bench.says("start-timeout", Verdict::Failure, "TimeoutStartSec=600");
    fail(&mut bench, "start-limit-hit", 1);
    bench.says("crash-loop", Verdict::Failure, "gave up");
    bench.units().service.active_state = Some("activating".into());
    bench.units().service.sub_state = Some("auto-restart".into());
    bench.units().service_state.result = Some("exit-code".into());
    bench.says("crash-loop", Verdict::Failure, "every start");
    bench.units().service.load_state = Some("masked".into());
    bench.says("installation", Verdict::Failure, "unmask");
    bench.units().service.load_state = Some("not-found".into());
    bench.machine.service = Service::NotRunning;
    bench.says("installation", Verdict::Failure, "apt install hailo-clip");
}

#[test]
fn statistics_tell_how_requests_fare() {
    let mut bench = Bench::new("");
    bench.says("queue", Verdict::NotApplicable, "no statistics");
    let tell = |bench: &mut Bench, numbers: &[(&str, f64)]| {
        let statistics: HashMap<String, f64> =
            numbers.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect();
        let properties =
            Properties { queue_depth: Some(0), max_queue_size: Some(64), ..Properties::default() };
        let answers = Answers { properties, statistics: Some(statistics), ..Answers::default() };
        bench.machine.service = Service::Answers(Box::new(answers));
    };
    tell(&mut bench, &[("requests", 1000.0), ("answered", 1000.0)]);
    for id in ["queue", "timeouts", "rejected-requests", "warm-up"] {
        assert_eq!(bench.check(id).verdict, Verdict::Ok, "{id}");
    }
    tell(&mut bench, &[("requests", 1000.0), ("refused", 20.0)]);
    bench.says("queue", Verdict::Warning, "20 requests were refused, 2.0 %");
    tell(&mut bench, &[("requests", 1000.0), ("timed_out", 20.0)]);
    bench.says("timeouts", Verdict::Warning, "out of time");
    tell(&mut bench, &[("requests", 1000.0), ("failed", 1.0)]);
    bench.says("timeouts", Verdict::Warning, "have failed");
    tell(&mut bench, &[("requests", 100.0), ("rejected", 40.0)]);
    bench.says("rejected-requests", Verdict::Warning, "40 of 100");
    tell(&mut bench, &[("requests", 9.0), ("first_answer_ms", 9000.0), ("median_answer_ms", 80.0)]);
    bench.says("warm-up", Verdict::Warning, "warmup_enabled: true");
}

#[test]
fn addresses_pass_or_do_not() {
    let mut bench = Bench::new("");
    for (address, verdict) in [
        ("192.168.7.7", Verdict::Ok),
        ("127.0.0.1", Verdict::Ok),
        ("203.0.113.7", Verdict::Failure),
        ("::ffff:192.168.7.7", Verdict::Ok),
        ("2001:db8::1", Verdict::Failure),
    ] {
        bench.machine.from = Some(address.parse().unwrap());
        assert_eq!(bench.check("address-filter").verdict, verdict, "{address}");
    }
    let mut alone = Bench::new("server: {host: 127.0.0.1}\n");
    alone.machine.from = Some("192.168.7.7".parse().unwrap());
    alone.says("address-filter", Verdict::Failure, "this machine alone");
}

#[test]
fn a_port_that_is_not_in_force() {
    let bench = Bench::new("server: {port: 5056}\n");
    bench.says("port-in-force", Verdict::Warning, "5056");
    bench.file("proc/net/tcp", "  sl\n   0: 00000000:13C0 00000000:0000 0A 0:0 0:0 0 1000 0 4711 1\n");
    bench.says("port", Verdict::Failure, "taken");
}

#[test]
fn the_journal_counts_from_the_last_start() {
    let mut bench = Bench::new("");
    let record =
        |time, priority| Record { time, priority, message: "it broke\nand more".into(), result: None };
    bench.machine.journal = Ok(vec![record(10, 3), record(30, 4)]);
    bench.units().service_state.exec_main_start_timestamp = Some(20);
    bench.says("journal", Verdict::Ok, "1 before that");
    bench.machine.journal = Ok(vec![record(10, 3), record(30, 3)]);
    bench.says("journal", Verdict::Warning, "\"it broke\"");
    bench.machine.journal = Err(Unreadable::Denied);
    bench.says("journal", Verdict::NeedsRoot, "");
}

#[test]
fn access_to_the_node_by_its_group() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let bench = Bench::new("");
    bench.file("sys/class/hailo_chardev/hailo0/dev", "").file("dev/hailo0", "");
    bench.says("device-access", Verdict::Failure, "no user hailo-clip");
    bench.file("etc/passwd", "hailo-clip:x:990:990::/var/lib/hailo-clip:/usr/sbin/nologin\n");
    let node = bench.folder.path().join("dev/hailo0");
    let mode = |mode| fs::set_permissions(&node, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o666);
    bench.says("device-access", Verdict::Ok, "mode 0666");
    mode(0o600);
    bench.says("device-access", Verdict::Failure, "root alone");
    // Root's own group, which the tests of root would have, is never joined.
    let gid = fs::metadata(&node).unwrap().gid();
    if gid != 0 {
        mode(0o660);
        bench.file("etc/group", &format!("npu:x:{gid}:ada\n"));
        bench.says("device-access", Verdict::Failure, "not in the group npu");
        bench.file("etc/group", &format!("npu:x:{gid}:ada,hailo-clip\n"));
        bench.says("device-access", Verdict::Ok, "group npu");
    }
}

#[test]
fn leftovers_and_package_files() {
    let mut bench = Bench::new("");
    bench.says("leftovers", Verdict::Ok, "none");
    bench.file("opt/hailo-clip/hailo_clip_service.py", "").says(
        "leftovers",
        Verdict::Warning,
        "rm -r /opt/hailo-clip",
    );
    let unit = "etc/systemd/system/hailo-clip.service";
    bench.file(unit, "ExecStart=/usr/libexec/hailo-clip/hailo-clipd\n").says(
        "leftovers",
        Verdict::Warning,
        "/opt",
    );
    bench.file(unit, "ExecStart=/opt/x\n").says("leftovers", Verdict::Failure, "shadows");
    bench.machine.printed.package_files =
        printed("??5?????? c /etc/hailo/hailo-clip.yaml\nmissing     /usr/share/doc/x\n");
    bench.says("package-files", Verdict::Ok, "");
    bench.machine.printed.package_files = printed("??5??????   /usr/bin/hailo-clip\n");
    bench.says("package-files", Verdict::Failure, "/usr/bin/hailo-clip");
}

#[test]
fn other_instances() {
    let bench = Bench::new("");
    let process = |pid: u32, parent: u32, command: &str| {
        bench.file(&format!("proc/{pid}/cmdline"), &command.replace(' ', "\0"));
        bench.file(&format!("proc/{pid}/status"), &format!("Name:\tx\nPPid:\t{parent}\n"));
    };
    process(1, 0, "/sbin/init");
    process(8, 7, "grep hailo-clipd");
    bench.says("instances", Verdict::Ok, "");
    process(9, 1, "/opt/hailo-clip/venv/bin/python3 /opt/hailo-clip/hailo_clip_service.py");
    bench.says("instances", Verdict::Failure, "process 9");
    process(9, 1, "/usr/libexec/hailo-clip/hailo-clipd --try-model /x");
    bench.says("instances", Verdict::Ok, "");
}
