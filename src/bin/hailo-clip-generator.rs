//! The systemd generator; see [`hailo_clip::generator`].

use std::process::ExitCode;

fn main() -> ExitCode {
    hailo_clip::generator::main()
}
