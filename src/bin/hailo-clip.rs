//! The command.
use std::process::ExitCode;

fn main() -> ExitCode {
    hailo_clip::cli::main()
}
