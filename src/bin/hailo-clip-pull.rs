//! The program that fetches models for the daemon, which may not reach the internet.

use std::process::ExitCode;

fn main() -> ExitCode {
    hailo_clip::daemon::pull_main()
}
