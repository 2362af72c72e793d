//! The `hailo-clip` command; see [`hailo_clip::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    hailo_clip::cli::main()
}
