//! Every command in README.md and `docs/` is run by a test, or says what it needs that tests do not have.
//!
//! A block of commands (```` ```sh ````, ```` ```console ````, or indented by four, as nothing else is) has a
//! comment above it that says how:
//!
//! | comment | the commands |
//! |---|---|
//! | `<!-- run -->` | are run here, against a real daemon |
//! | `<!-- session -->` | begin with a build and a bus for the session; the rest is run here, in such a one |
//! | `<!-- ci -->` | are targets of make that `.ci/run` reaches |
//! | `<!-- long -->` | are targets of make that take too long for that |
//! | `<!-- system: 10-install -->` | stand in that script of `tests/system/guest`, which a booted Debian runs |
//! | `<!-- in: FILE -->` | stand in that file of the repository, a test or what a test runs |
//! | `<!-- board -->`, `<!-- camera -->`, `<!-- internet -->` | need that; `hailo-clip`'s are parsed at least |
//!
//! Pages that have a test of their own need no comments; they are listed below.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::{
    collections::{HashMap, HashSet},
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use common::{Daemon, models};

/// Pages of which a test runs every command, and that test.
const TESTED_ELSEWHERE: [(&str, &str); 5] = [
    ("home-assistant.md", "tests/folder_examples.rs"),
    ("http.md", "tests/service/documented.rs"),
    ("immich.md", "tests/service/documented.rs"),
    ("metrics.md", "tests/service/documented.rs"),
    // Made of the checks themselves.
    ("troubleshooting.md", "tests/doctor.rs"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README.md and the pages of `docs/`.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> =
        fs::read_dir(root().join("docs")).unwrap().map(|file| file.unwrap().path()).collect();
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.push(root().join("README.md"));
    pages.sort();
    pages
}

fn name(page: &Path) -> &str {
    page.file_name().unwrap().to_str().unwrap()
}

/// Commands that a reader types.
#[derive(Debug, PartialEq)]
struct Block {
    line: usize,
    /// The comment above: the word, and what it names.
    how: Option<(String, String)>,
    /// One a line, or over several lines that end with `\`.
    commands: Vec<String>,
}

/// The blocks of commands of a page.
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut above = "";
    let mut after_text = false;
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let indented = line.strip_prefix("    ").filter(|_| !after_text);
        if let Some(first) = indented.and_then(|indented| indented.split_whitespace().next()) {
            let mut inside = vec![line];
            while let Some((_, next)) = lines.next_if(|(_, next)| next.starts_with("    ")) {
                inside.push(next);
            }
            let language = if first == "$" { "console" } else { "sh" };
            let commands = commands(language, &inside);
            blocks.push(Block { line: number + 1, how: how(above), commands });
        }
        let line = line.trim();
        // A comment is no text.
        after_text = !line.is_empty() && how(line).is_none();
        if let Some(language) = line.strip_prefix("```") {
            let inside: Vec<&str> =
                lines.by_ref().map(|(_, l)| l).take_while(|l| l.trim() != "```").collect();
            if ["sh", "console"].contains(&language) {
                let commands = commands(language, &inside);
                blocks.push(Block { line: number + 1, how: how(above), commands });
            }
        }
        if !line.is_empty() {
            above = line;
        }
    }
    blocks
}

fn how(comment: &str) -> Option<(String, String)> {
    let comment = comment.strip_prefix("<!--")?.strip_suffix("-->")?.trim();
    let (word, what) = comment.split_once(':').unwrap_or((comment, ""));
    Some((word.trim().to_owned(), what.trim().to_owned()))
}

fn commands(language: &str, lines: &[&str]) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in lines.iter().map(|line| line.trim()) {
        let line = match (language, line.strip_prefix("$ ")) {
            ("console", Some(command)) => command,
            // What the command prints.
            ("console", None) if !goes_on => continue,
            _ => line,
        };
        // What stands behind a command, to explain it.
        let line = line.split("  #").next().unwrap_or_default().trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match commands.last_mut().filter(|_| goes_on) {
            Some(command) => *command += &format!("\n{line}"),
            None => commands.push(line.to_owned()),
        }
        goes_on = line.ends_with('\\');
    }
    commands
}

/// Commands of one page run after each other in a folder with pictures and the models, with the daemon's bus as the
/// system's and its port as 5000.
fn run(daemon: &Daemon, commands: &str) -> Result<(), String> {
    let folder = folder();
    let commands = commands
        // An error's answer is to fail.
        .replace("curl -s ", "curl --fail-with-body -s ")
        .replace("localhost:5000", &daemon.http)
        .replace("/usr/libexec/hailo-clip/", "")
        .replace(
            "/etc/hailo/hailo-clip.yaml",
            daemon.directory.path().join("hailo-clip.yaml").to_str().unwrap(),
        );
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &commands])
        .current_dir(folder.path())
        .env("PATH", path())
        .env("XDG_CACHE_HOME", folder.path())
        .env("HAILO_CLIP_BUS", &daemon.bus.address)
        .env("DBUS_SYSTEM_BUS_ADDRESS", &daemon.bus.address);
    outcome(bash, &commands)
}

/// A folder with pictures and the models.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["picture.jpg", "cat.jpg"] {
        fs::copy(models().join("demo/samples/house-red-roof.jpg"), folder.path().join(name)).unwrap();
    }
    std::os::unix::fs::symlink(models(), folder.path().join("models")).unwrap();
    fs::create_dir(folder.path().join("photos")).unwrap();
    for name in ["night-sky.jpg", "person-on-bicycle.jpg"] {
        fs::copy(models().join("demo/samples").join(name), folder.path().join("photos").join(name)).unwrap();
    }
    folder
}

/// Where the programs are found that were built with the tests.
fn path() -> String {
    let programs = Path::new(env!("CARGO_BIN_EXE_hailo-clip")).parent().unwrap();
    format!("{}:{}", programs.display(), env::var("PATH").unwrap())
}

fn outcome(mut command: Command, commands: &str) -> Result<(), String> {
    let output = command.output().unwrap();
    let [out, errors] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    output.status.success().then_some(()).ok_or_else(|| format!("{commands}\n{out}{errors}"))
}

/// The same commands as typed into a shell that has a bus of its own.
fn run_in_session(commands: &[String]) -> Result<(), String> {
    let [build, session, commands @ ..] = commands else { return Err("too few commands".to_owned()) };
    if build != "cargo build --release" || session != "dbus-run-session bash" {
        return Err(format!("begins with {build}, {session}"));
    }
    let folder = folder();
    fs::create_dir(folder.path().join("config")).unwrap();
    fs::write(folder.path().join("config/hailo-clip.yaml"), "server: {host: 127.0.0.1, port: 0}\n").unwrap();
    let commands = commands.join("\n").replace("target/release/", "");
    let mut bash = Command::new("dbus-run-session");
    bash.args(["bash", "-euo", "pipefail", "-c", &commands]).current_dir(folder.path()).env("PATH", path());
    outcome(bash, &commands)
}

/// Commands of a page that has an administrator's key, and says what the file of the keys looks like.
fn run_with_keys(page: &str, commands: &str) -> Result<(), String> {
    let keys = page.split("```").find(|block| block.contains("\nmanage ")).expect("a file of keys");
    let daemon = Daemon::start();
    let file = daemon.directory.path().join("keys");
    fs::write(&file, keys).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    daemon.reload(&format!("server: {{host: 127.0.0.1, port: 0, api_keys_file: {}}}\n", file.display()));
    if run(&daemon, &format!("KEY=wrong\n{commands}")).is_ok() {
        return Err("any key does".to_owned());
    }
    let key = keys.lines().find_map(|line| line.strip_prefix("manage ")).unwrap();
    run(&daemon, &format!("KEY={key}\n{commands}"))
}

/// Which targets the Makefile has, and which of them `.ci/run` reaches.
fn made() -> (HashSet<String>, HashSet<String>) {
    let text = fs::read_to_string(root().join("Makefile")).unwrap();
    let mut needs: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut current = "";
    for line in text.lines() {
        if let Some(recipe) = line.strip_prefix('\t') {
            let made = recipe.split("$(MAKE) ").skip(1).flat_map(str::split_whitespace);
            needs.entry(current).or_default().extend(made);
        } else if let Some((target, rest)) = line.split_once(':').filter(|(target, rest)| {
            !rest.starts_with('=') && !target.contains(char::is_whitespace) && !target.starts_with('.')
        }) {
            current = target;
            needs.entry(target).or_default().extend(rest.split_whitespace());
        }
    }
    let ci = fs::read_to_string(root().join(".ci/run")).unwrap();
    // Some of it runs beside the rest: "beside NAME make TARGET…".
    let commands = ci.lines().filter(|line| line.starts_with("make ") || line.starts_with("beside "));
    let targets = commands.filter_map(|line| line.split_once("make "));
    let mut next: Vec<&str> = targets.flat_map(|(_, targets)| targets.split_whitespace()).collect();
    let mut reached = HashSet::new();
    while let Some(target) = next.pop() {
        if reached.insert(target.to_owned()) {
            next.extend(needs.get(target).into_iter().flatten());
        }
    }
    (needs.into_keys().map(str::to_owned).collect(), reached)
}

/// Which of the commands are no target, or one of another sort.
fn not_made(commands: &[String], by_ci: bool) -> Vec<&str> {
    let (targets, reached) = made();
    let fits = |command: &String| {
        command.strip_prefix("make ").is_some_and(|target| {
            let target = target.split_whitespace().next().unwrap_or_default();
            targets.contains(target) && reached.contains(target) == by_ci
        })
    };
    commands.iter().filter(|command| !fits(command)).map(String::as_str).collect()
}

/// What the command line of `hailo-clip` says to a command that cannot be carried out here.
fn misunderstood(command: &str) -> Option<String> {
    if !command.trim_start_matches("sudo ").starts_with("hailo-clip ") {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let functions = "sudo() { \"$@\"; }\nhailo-clip() { printf '%s\\0' \"$@\" >&3; }";
    let output = Command::new("bash")
        .args(["-c", &format!("exec 3> arguments\n{functions}\n{command}")])
        .current_dir(folder.path())
        .output();
    output.unwrap();
    let arguments = fs::read_to_string(folder.path().join("arguments")).unwrap();
    let arguments = arguments.trim_end_matches('\0').split('\0');
    let arguments = std::iter::once("hailo-clip").chain(arguments);
    hailo_clip::cli::command().try_get_matches_from(arguments).err().map(|error| error.to_string())
}

/// Which of the commands a file lacks. Scripts say `$unit` for the unit and need no sudo.
fn missing<'a>(file: &str, commands: &'a [String]) -> Vec<&'a str> {
    let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let plain = |text: &str| {
        let text = text.replace("sudo ", "").replace("$unit", "hailo-clip.service");
        let text = text.replace("$config", "/etc/hailo/hailo-clip.yaml").replace("\\\n", " ");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let text = plain(&text);
    commands.iter().filter(|command| !text.contains(&plain(command))).map(String::as_str).collect()
}

#[test]
fn every_command_is_run_or_needs_a_board() {
    let daemon = Daemon::start();
    let mut faults = Vec::new();
    let mut count = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let name = name(&page);
        let blocks = blocks(&text);
        if let Some((_, test)) = TESTED_ELSEWHERE.iter().find(|(page, _)| *page == name) {
            let test = fs::read_to_string(root().join(test)).unwrap();
            if !test.contains(&format!("{name}\"")) {
                faults.push(format!("{name}: its test does not name it"));
            }
            continue;
        }
        let (mut to_run, mut with_keys) = (String::new(), String::new());
        for Block { line, how, commands } in &blocks {
            count += commands.len();
            let (word, what) = how.as_ref().map_or(("", ""), |(word, what)| (word, what));
            let lacking = match word {
                "board" | "camera" | "internet" => {
                    let errors = commands.iter().filter_map(|command| misunderstood(command));
                    faults.extend(errors.map(|error| format!("{name}:{line}: {error}")));
                    continue;
                }
                "run" => {
                    let commands = format!("{}\n", commands.join("\n"));
                    if commands.contains("$KEY") {
                        with_keys += &commands
                    } else {
                        to_run += &commands
                    };
                    continue;
                }
                "session" => {
                    if let Err(fault) = run_in_session(commands) {
                        faults.push(format!("{name}:{line}: {fault}"));
                    }
                    continue;
                }
                "ci" => not_made(commands, true),
                "long" => not_made(commands, false),
                "system" => missing(&format!("tests/system/guest/{what}.sh"), commands),
                "in" => missing(what, commands),
                _ => {
                    faults.push(format!("{name}:{line}: no comment says who runs this; see tests/docs.rs"));
                    continue;
                }
            };
            let wanted = format!("{word} {what}");
            let lacking =
                lacking.iter().map(|command| format!("{name}:{line}: {command:?} is not in {wanted}"));
            faults.extend(lacking);
        }
        if !with_keys.is_empty()
            && let Err(fault) = run_with_keys(&text, &with_keys)
        {
            faults.push(format!("{name}: {fault}"));
        }
        if let Err(fault) = run(&daemon, &to_run) {
            faults.push(format!("{name}: {fault}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count >= 10, "only {count} commands");
}

#[test]
fn the_load_balancers_configuration_is_in_its_page() {
    let page = fs::read_to_string(root().join("docs/scale-out.md")).unwrap();
    assert!(page.contains(&format!("```\n{}```\n", include_str!("../docs/examples/haproxy.cfg"))));
}

/// Links of a page that lead into the sources: the file, which is empty for the page itself, and the heading.
fn links(text: &str) -> Vec<(&str, &str)> {
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let links = links.filter(|link| !link.contains("://") && !link.contains(char::is_whitespace));
    links.map(|link| link.split_once('#').unwrap_or((link, ""))).collect()
}

/// Whether a page has a heading, by the name that links have for it.
fn has_heading(text: &str, wanted: &str) -> bool {
    let headings = text.lines().filter_map(|line| line.strip_prefix('#'));
    headings.map(|heading| heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-")).any(
        |heading| {
            heading.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect::<String>() == wanted
        },
    )
}

/// Links to files of the repository, and to headings, lead somewhere.
#[test]
fn links_lead_somewhere() {
    let mut faults = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for (file, heading) in links(&text) {
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let found = target.exists()
                && (heading.is_empty() || has_heading(&fs::read_to_string(&target).unwrap(), heading));
            if !found {
                faults.push(format!("{}: {file}#{heading}", name(&page)));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What the package puts into the folder of its documentation, with paths from there.
fn packaged() -> HashSet<String> {
    let cargo = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut files = HashSet::new();
    for line in cargo.lines() {
        let fields: Vec<&str> = line.split('"').collect();
        let [_, source, _, target, ..] = fields[..] else { continue };
        let Some(folder) = target.strip_prefix("usr/share/doc/hailo-clip/") else { continue };
        let (from, pattern) = source.rsplit_once('/').unwrap();
        let Some(suffix) = pattern.strip_prefix('*') else {
            files.insert(format!("{folder}{pattern}"));
            continue;
        };
        // tools/package-docs makes these.
        let from = if from == "target/docs" { "docs" } else { from };
        let all = fs::read_dir(root().join(from)).unwrap();
        let all = all.map(|file| file.unwrap().file_name().into_string().unwrap());
        files.extend(all.filter(|file| file.ends_with(suffix)).map(|file| format!("{folder}{file}")));
    }
    files
}

/// The package has every page, what they link to, and no word of who tests what.
#[test]
fn the_packages_pages_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new(root().join("tools/package-docs")).arg(folder.path()).status().unwrap();
    assert!(made.success());
    let packaged = packaged();
    let mut count = 0;
    for page in fs::read_dir(folder.path()).unwrap() {
        let page = page.unwrap();
        let name = page.file_name().into_string().unwrap();
        assert!(packaged.contains(&name), "the package lacks {name}");
        let text = fs::read_to_string(page.path()).unwrap();
        assert!(!text.contains("<!--"), "{name}");
        for (file, _) in links(&text) {
            assert!(file.is_empty() || packaged.contains(file), "{name}: {file} is not in the package");
        }
        count += 1;
    }
    assert_eq!(count + 1, pages().len());
}

#[test]
fn the_index_has_every_page() {
    let index = fs::read_to_string(root().join("docs/README.md")).unwrap();
    for page in pages() {
        if page.parent().unwrap().ends_with("docs") && name(&page) != "README.md" {
            assert!(index.contains(&format!("]({})", name(&page))), "docs/README.md lacks {}", name(&page));
        }
    }
}

#[test]
fn blocks_are_understood() {
    let text = "x\n<!-- run -->\n```sh\na \\\n  b\n# why\nc\n```\n\n```console\n$ d\nprinted\n```\n```json\n{}\n```\n\ntext\n\n    make x\n    y\n";
    let expected = [
        Block {
            line: 3,
            how: Some(("run".to_owned(), String::new())),
            commands: vec!["a \\\nb".to_owned(), "c".to_owned()],
        },
        Block { line: 10, how: None, commands: vec!["d".to_owned()] },
        Block { line: 20, how: None, commands: vec!["make x".to_owned(), "y".to_owned()] },
    ];
    assert_eq!(blocks(text), expected);
    assert_eq!(how("<!-- system: 10-install -->"), Some(("system".to_owned(), "10-install".to_owned())));
    assert_eq!(missing("Makefile", &["make nothing-of-the-kind".to_owned()]).len(), 1);
    let make = |target: &str| [format!("make {target}")];
    assert_eq!(not_made(&make("test-npu"), true), [""; 0]);
    assert_eq!(not_made(&make("bench"), false), [""; 0]);
    assert_eq!(not_made(&make("bench"), true), ["make bench"]);
    assert_eq!(not_made(&make("nothing-of-the-kind"), false), ["make nothing-of-the-kind"]);
    assert_eq!(misunderstood("sudo hailo-clip classify x.png 'a cat' \"a dog\" | cat"), None);
    assert!(misunderstood("hailo-clip classify x.png --no-such-option").is_some());
    let daemon = Daemon::start();
    assert!(run(&daemon, "hailo-clip status").is_ok());
    assert!(run(&daemon, "curl -s http://localhost:5000/nothing").is_err());
}
