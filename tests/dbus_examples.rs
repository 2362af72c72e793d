//! The examples of docs/dbus.md, each asked of the real daemon: the page has them word for word, and in
//! every language they give the same answer and name the service's errors.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use common::{Bus, Daemon, models};
use hailo_clip::{dbus::Limits, engine};

/// What stands for the system's bus in all of them.
const BUS: &str = "DBUS_SYSTEM_BUS_ADDRESS";

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples/dbus")
}

fn picture() -> PathBuf {
    models().join("demo/samples/red-circle.png")
}

/// The example runs with a picture and prompts.
fn ask(program: &Path, bus: &Bus, picture: &Path, prompts: &[&str]) -> Output {
    Command::new(program).arg(picture).args(prompts).env(BUS, &bus.address).output().unwrap()
}

fn compile_c(folder: &Path) -> PathBuf {
    let program = folder.join("classify");
    let status = Command::new("sh")
        .args(["-c", "cc -Wall -Wextra -Werror -o \"$0\" classify.c $(pkg-config --cflags --libs gio-2.0 gio-unix-2.0)"])
        .arg(&program)
        .current_dir(examples())
        .status();
    assert!(status.unwrap().success(), "packages build-essential, pkg-config and libglib2.0-dev");
    program
}

fn compile_rust() -> PathBuf {
    // Beside the test itself: in the profile that this test has.
    let output = env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--offline", "--example", "dbus-classify"]);
    cargo.arg("--target-dir").arg(output.parent().unwrap());
    if output.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
    output.join("examples/dbus-classify")
}

#[test]
fn the_page_has_every_example_as_it_is() {
    let page = fs::read_to_string(examples().join("../../dbus.md")).unwrap();
    let mut count = 0;
    for file in fs::read_dir(examples()).unwrap() {
        let text = fs::read_to_string(file.as_ref().unwrap().path()).unwrap();
        let name = file.unwrap().file_name().into_string().unwrap();
        let language = name.rsplit_once('.').unwrap().1.replace("rs", "rust").replace("py", "python");
        assert!(page.contains(&format!("```{language}\n{text}```\n")), "docs/dbus.md needs {name} as it is");
        assert!(page.contains(&format!("(examples/dbus/{name})")), "docs/dbus.md links {name}");
        count += 1;
    }
    assert!(count >= 5, "only {count} examples");
}

#[test]
fn the_tables_are_complete() {
    let page = fs::read_to_string(examples().join("../../dbus.md")).unwrap();
    let xml = include_str!("../dbus/org.hailo.Clip1.xml");
    let (first, _) = xml.split_once("</interface>").unwrap();
    let mut methods = first.split("<method name=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    assert!(methods.clone().count() >= 5);
    assert!(methods.all(|name| page.contains(&format!("| `{name}` |"))), "a method is missing");

    let errors = include_str!("../src/dbus/error.rs").lines();
    let errors: Vec<&str> =
        errors.filter_map(|line| line.strip_prefix("    ")?.strip_suffix("(String),")).collect();
    assert!(errors.len() >= 10);
    assert!(errors.iter().all(|name| page.contains(&format!("`{name}`"))), "one of {errors:?} is missing");

    for limit in [engine::MAX_PROMPTS, engine::MAX_TEXTS, engine::MAX_TEXT_BYTES] {
        assert!(
            page.contains(&format!("at most {limit}")) || page.contains(&format!("At most {limit}")),
            "{limit}"
        );
    }
    let calls = Limits::default().max_calls_per_caller;
    assert!(page.contains(&format!("{calls} calls of one connection")), "{calls}");
}

/// The service itself lists its options to whoever gives an unknown one; the page's rows have the type and
/// the least value that it takes.
#[test]
fn the_options_are_those_of_the_service() {
    let page = fs::read_to_string(examples().join("../../dbus.md")).unwrap();
    let daemon = Daemon::start();
    let picture = fs::File::open(picture()).unwrap();
    let ask = |options: &str| {
        let output = Command::new("gdbus")
            .args(["call", "--address", &daemon.bus.address, "--dest", "org.hailo.Clip1"])
            .args(["--object-path", "/org/hailo/Clip1", "--method", "org.hailo.Clip1.ClassifyFd", "0"])
            .args(["['a red circle', 'a blue square']", options])
            .stdin(picture.try_clone().unwrap())
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (_, refusal) = ask("{'colour': <1>}");
    let (_, known) = refusal.trim().split_once("the options are ").unwrap();
    for option in known.split(", ") {
        assert!(page.contains(&format!("`{option}`")), "{option} is not in docs/dbus.md");
    }
    for (option, row, good, bad) in [
        ("top_k", "`u`, from 1", "uint32 1", "uint32 0"),
        ("threshold", "`d`", "0.5", "'0.5'"),
        ("templates", "`as`, each with one `{}`", "['a {}']", "['a']"),
        ("apply_softmax", "`b`", "false", "0"),
        ("logit_scale", "`d`, above 0", "0.5", "0.0"),
        ("timeout_ms", "`u`, from 1", "uint32 60000", "uint32 0"),
    ] {
        assert!(page.contains(&format!("| `{option}` | {row} |")), "{option}");
        let (taken, error) = ask(&format!("{{'{option}': <{good}>}}"));
        assert!(taken, "{option}: {error}");
        let (taken, error) = ask(&format!("{{'{option}': <{bad}>}}"));
        assert!(!taken && error.contains("InvalidArgument") && error.contains(option), "{option}: {error}");
    }
}

#[test]
fn every_language_classifies_and_names_errors() {
    let daemon = Daemon::start();
    let folder = tempfile::tempdir().unwrap();
    let not_a_picture = folder.path().join("notes.txt");
    fs::write(&not_a_picture, "not a picture").unwrap();
    let (c, rust) = (compile_c(folder.path()), compile_rust());
    let prompts = ["a blue circle", "a red circle", "it's a \\ \"green\" triangle", "a red square"];

    let mut answers = Vec::new();
    for program in [examples().join("classify.py"), c, rust] {
        let output = ask(&program, &daemon.bus, &picture(), &prompts);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", program.display());
        assert!(errors.contains("demo"), "{}: {errors}", program.display());
        let answer = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = answer.lines().collect();
        assert!(lines.len() == 3 && lines[0].ends_with("\ta red circle"), "{}: {answer}", program.display());
        answers.push(answer);

        let output = ask(&program, &daemon.bus, &not_a_picture, &prompts);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && errors.contains("org.hailo.Clip1.Error.InvalidImage: "),
            "{errors}"
        );
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");

    let shell = examples().join("classify.sh");
    let output = ask(&shell, &daemon.bus, &picture(), &prompts);
    let answer = String::from_utf8(output.stdout).unwrap();
    assert!(
        answer.starts_with("([('a red circle', 0.9"),
        "{answer}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // A prompt with all that quoting can break arrives as it is.
    let output = ask(&shell, &daemon.bus, &picture(), &prompts[2..3]);
    let answer = String::from_utf8(output.stdout).unwrap();
    assert!(
        answer.starts_with(r#"([('it\'s a \\ "green" triangle', "#)
            || answer.starts_with(r#"([("it's a \\ \"green\" triangle", "#),
        "{answer}"
    );
    let output = ask(&shell, &daemon.bus, &not_a_picture, &prompts);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("org.hailo.Clip1.Error.InvalidImage: "));
}

#[test]
fn the_rule_for_polkit_lets_one_user_in() {
    let page = fs::read_to_string(examples().join("../../dbus.md")).unwrap();
    let (_, rule) = page.split_once("```js\n").unwrap();
    let rule = rule.split("```").next().unwrap();
    let script = format!(
        r#"var polkit = {{Result: {{YES: "yes", NO: "no"}}, addRule: function (rule) {{
               ["cameras", "somebody"].forEach(function (user) {{
                   ["classify", "manage"].forEach(function (name) {{
                       print(user, name, rule({{id: "org.hailo.clip1." + name}}, {{user: user}}));
                   }});
               }});
           }}}};
           {rule}"#
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rule.js");
    fs::write(&file, script).unwrap();
    let output = Command::new("duk").arg(&file).output().expect("duk is installed (package duktape)");
    let expected = "cameras classify yes\ncameras manage undefined\n\
                    somebody classify no\nsomebody manage undefined\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{output:?}");
}

#[test]
fn the_watcher_follows_the_service() {
    let mut daemon = Daemon::start();
    let mut watcher = Command::new(examples().join("watch.py"))
        .env(BUS, &daemon.bus.address)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watcher.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap().trim(), "ready");
    daemon.signal("TERM");
    daemon.process.wait().unwrap();
    let last = lines.find(|line| line.trim() == "not running");
    watcher.kill().unwrap();
    watcher.wait().unwrap();
    assert!(last.is_some());
}
