//! The written pages: complete, and without a fault that `man` sees.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;

const PAGES: [&str; 4] = ["hailo-clip.1", "hailo-clip.yaml.5", "hailo-clipd.8", "org.hailo.Clip1.5"];

struct Written(TempDir);

impl Written {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let program = env!("CARGO_BIN_EXE_manual");
        let status =
            Command::new(program).args(["man", "completions"].map(|name| folder.path().join(name))).status();
        assert!(status.unwrap().success());
        Self(folder)
    }

    /// A page as a reader sees it, but for line breaks.
    fn page(&self, name: &str) -> String {
        let page = fs::read_to_string(self.0.path().join("man").join(name)).unwrap();
        ["\\fB", "\\fI", "\\fR", "\\fP"]
            .into_iter()
            .fold(page, |page, font| page.replace(font, ""))
            .replace("\\-", "-")
            .replace("\\&", "")
    }
}

fn repository(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

/// What `man` complains about.
fn warnings(page: &Path) -> String {
    let mut man = Command::new("man");
    man.args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"]).arg(page);
    let output = man.output().expect("man is installed (package man-db)");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn pages_render_without_warnings() {
    let written = Written::new();
    for page in PAGES {
        assert_eq!(warnings(&written.0.path().join("man").join(page)), "", "{page}");
    }
    // That there would be one:
    let wrong = written.0.path().join("wrong.1");
    fs::write(&wrong, ".TH wrong 1\n.SH NAME\n.nosuchmacro\n").unwrap();
    assert_ne!(warnings(&wrong), "");
}

#[test]
fn pages_have_their_headers() {
    let written = Written::new();
    for (page, header) in
        PAGES.into_iter().zip(["User Commands", "File Formats", "System Administration", "File Formats"])
    {
        let text = written.page(page);
        let (name, section) = page.rsplit_once('.').unwrap();
        let title =
            format!(".TH {name} {section} \" \" \"hailo-clip {}\" \"{header}\"\n", env!("CARGO_PKG_VERSION"));
        assert!(text.contains(&title), "{text}");
        assert!(text.contains(&format!(".SH NAME\n{name} - ")), "{text}");
    }
}

/// The options that a help text lists, such as `-k` and `--top-k`.
fn options(help: &str) -> Vec<&str> {
    let words = help.split(|c: char| c.is_whitespace() || "[]<>=,|.;\"".contains(c));
    words.filter(|word| is_option(word)).collect()
}

fn is_option(word: &str) -> bool {
    match word.strip_prefix("--") {
        Some(long) => long.starts_with(|c: char| c.is_ascii_lowercase()),
        None => word.len() == 2 && word.starts_with('-') && word.ends_with(|c: char| c.is_ascii_alphabetic()),
    }
}

/// Each option of the command and its subcommands is in the page; how many there were.
fn assert_options(command: &mut clap::Command, page: &str) -> usize {
    let help = command.render_long_help().to_string();
    let options = options(&help);
    for option in &options {
        assert!(page.contains(option), "{} {option}", command.get_name());
    }
    options.len() + command.get_subcommands_mut().map(|command| assert_options(command, page)).sum::<usize>()
}

#[test]
fn every_option_is_in_its_page() {
    let written = Written::new();
    for (mut command, page, least) in [
        (hailo_clip::cli::command(), "hailo-clip.1", 40),
        (hailo_clip::daemon::command(), "hailo-clipd.8", 7),
    ] {
        command.build();
        let count = assert_options(&mut command, &written.page(page));
        assert!(count >= least, "only {count} options in {page}");
    }
}

#[test]
fn every_subcommand_and_exit_code_is_in_the_page() {
    let page = Written::new().page("hailo-clip.1");
    for name in [
        "CLASSIFY",
        "EMBED IMAGE",
        "EMBED TEXT",
        "STATUS",
        "MODEL LOAD",
        "MODEL UNLOAD",
        "WARMUP",
        "RELOAD",
        "DOCTOR",
        "REPORT",
    ] {
        assert!(page.contains(&format!(".SH \"HAILO-CLIP {name}\"\n")), "{name}");
    }
    assert!(page.contains("\n130  interrupted"), "{page}");
}

#[test]
fn every_key_is_in_its_page() {
    let page = Written::new().page("hailo-clip.yaml.5");
    for key in hailo_clip::config::KEYS {
        let (section, name) = key.split_once('.').unwrap();
        let (_, text) = page.split_once(&format!(".SH \"SECTION {section}\"\n")).expect(section);
        let text = text.split("\n.SH ").next().unwrap();
        let mut lines = text.lines().skip_while(|line| line.split(' ').next() != Some(name));
        assert!(lines.next().is_some(), "{key}");
        assert!(lines.next().is_some_and(|line| !line.starts_with('.')), "{key} is not explained");
    }
    assert!(page.contains("\nport (default: 5000)\n"));
    assert!(!page.contains("Was: "));
}

#[test]
fn the_page_in_docs_is_made_of_the_same_file() {
    let folder = TempDir::new().unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_manual")).arg("--docs").arg(folder.path()).status();
    assert!(status.unwrap().success());
    let made = fs::read_to_string(folder.path().join("configuration.md")).unwrap();
    assert!(
        made == repository("docs/configuration.md"),
        "docs/configuration.md must be made anew: make docs"
    );
    for key in hailo_clip::config::KEYS {
        let (section, name) = key.split_once('.').unwrap();
        let (_, text) = made.split_once(&format!("\n## {section}\n")).expect(section);
        let text = text.split("\n## ").next().unwrap();
        let row = text.lines().find(|line| line.starts_with(&format!("| `{name}` |"))).expect(key);
        assert!(row.split(" | ").all(|cell| !cell.trim_matches(['|', ' ']).is_empty()), "{row}");
    }
    assert!(made.contains("| `port` | `5000` | restart | Port to listen on"));
}

#[test]
fn every_member_and_error_is_in_its_page() {
    let page = Written::new().page("org.hailo.Clip1.5");
    let xml = repository("dbus/org.hailo.Clip1.xml");
    let names: Vec<&str> = xml
        .lines()
        .filter(|line| {
            ["<method ", "<property ", "<signal ", "<arg ", "<interface "]
                .iter()
                .any(|tag| line.contains(tag))
        })
        .map(|line| line.split("name=\"").nth(1).unwrap().split('"').next().unwrap())
        .collect();
    assert!(names.len() > 30);
    for name in names {
        assert!(page.contains(name), "{name}");
    }
    let source = repository("src/dbus/error.rs");
    let errors: Vec<&str> =
        source.lines().filter_map(|line| line.strip_prefix("    ")?.strip_suffix("(String),")).collect();
    assert!(errors.len() >= 9, "{errors:?}");
    for error in errors {
        assert!(page.contains(error), "{error}");
    }
}

#[test]
fn bash_completes_commands() {
    let written = Written::new();
    let script = written.0.path().join("completions/hailo-clip.bash");
    let complete = format!(
        "source {}; COMP_WORDS=(hailo-clip mod); COMP_CWORD=1; $(complete -p hailo-clip | grep -o '_hailo[^ ]*') hailo-clip mod hailo-clip; echo \"${{COMPREPLY[*]}}\"",
        script.display()
    );
    let output = Command::new("bash").args(["-c", &complete]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "model\n", "{output:?}");
    for name in ["_hailo-clip", "hailo-clip.fish"] {
        let text = fs::read_to_string(written.0.path().join("completions").join(name)).unwrap();
        assert!(text.contains("classify") && text.contains("logit-scale"), "{name}");
    }
}
