//! A private message bus, and the command that is run on it.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use tempfile::TempDir;

/// A message bus of its own; ends with the value.
pub(crate) struct Bus {
    daemon: Child,
    pub(crate) address: String,
    pub(crate) folder: TempDir,
}

impl Bus {
    pub(crate) fn start() -> Self {
        Self::with_config("")
    }

    /// `extra` is added to the bus's configuration; `@` in it stands for the bus's folder.
    pub(crate) fn with_config(extra: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let config = format!(
            "<busconfig><type>session</type><listen>unix:tmpdir={path}</listen><auth>EXTERNAL</auth>\
             <policy context='default'><allow send_destination='*'/><allow receive_sender='*'/><allow own='*'/></policy>{}</busconfig>",
            extra.replace('@', path)
        );
        fs::write(folder.path().join("bus.conf"), config).unwrap();
        let mut daemon = Command::new("dbus-daemon")
            .args(["--nofork", "--nopidfile", "--print-address"])
            .arg(format!("--config-file={path}/bus.conf"))
            .stdout(Stdio::piped())
            // It logs every refusal that a test provokes.
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
        assert!(!address.is_empty(), "the bus did not start");
        Self { daemon, address: address.trim().to_owned(), folder }
    }

    /// `hailo-clip` with this bus, to be run in the bus's folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        // Tests that run in the background of a script inherit that interrupts are ignored.
        let mut command = Command::new("env");
        command
            .args(["--default-signal=INT", env!("CARGO_BIN_EXE_hailo-clip")])
            .args(arguments)
            .env("HAILO_CLIP_BUS", &self.address)
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR_FORCE")
            .env("TERM", "xterm-256color")
            .env("XDG_CACHE_HOME", self.folder.path().join("cache"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        self.command(arguments).output().unwrap().into()
    }

    /// Puts a file into the bus's folder.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// What a process left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Finished {
    /// Standard output of a command that did all it should, without a word of complaint.
    #[track_caller]
    pub(crate) fn success(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{}", self.out);
        self.out
    }

    /// Standard error of a command that failed so.
    #[track_caller]
    pub(crate) fn failure(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        self.err
    }
}
