//! Other programs, within limits of time and output.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

/// Most of a program's output that is kept.
const MOST: usize = 2 << 20;
/// What `timeout(1)` says of a program that it ended.
const TIMED_OUT: i32 = 124;

/// What a program printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Printed {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Printed {
    pub(crate) fn succeeded(&self) -> bool {
        self.status == Some(0)
    }
}

/// Runs a program in the C locale; `None` if it is not there or takes too long. Blocks.
///
/// `timeout(1)` keeps the time: it is on every Debian, and ends what the program has started, too.
pub(crate) fn run(arguments: &[&str], limit: Duration) -> Option<Printed> {
    let (program, arguments) = arguments.split_first()?;
    is_there(program).then_some(())?;
    let output = Command::new("timeout")
        .arg("--kill-after=1")
        .arg(format!("{:.3}", limit.as_secs_f64()))
        .arg(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let status = output.status.code();
    (status != Some(TIMED_OUT)).then(|| Printed {
        status,
        out: text(&output.stdout),
        err: text(&output.stderr),
    })
}

/// Whether a shell would find it. Folders of root's are looked into as well: a plain user may read there.
fn is_there(program: &str) -> bool {
    if program.contains('/') {
        return std::path::Path::new(program).exists();
    }
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').any(|folder| std::path::Path::new(folder).join(program).is_file())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(MOST)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_prints_within_its_time() {
        let printed =
            run(&["sh", "-c", "echo said; echo wrong >&2; exit 3"], Duration::from_secs(60)).unwrap();
        assert_eq!(printed, Printed { status: Some(3), out: "said\n".into(), err: "wrong\n".into() });
        assert_eq!(run(&["no-such-program-at-all"], Duration::from_secs(60)), None);
        assert_eq!(run(&["sh", "-c", "while :; do :; done"], Duration::from_millis(50)), None);
    }
}
