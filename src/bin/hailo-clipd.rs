//! The daemon.
use std::process::ExitCode;

fn main() -> ExitCode {
    hailo_clip::daemon::main()
}
