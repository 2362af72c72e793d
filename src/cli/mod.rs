//! The `hailo-clip` command.

/// Runs the command.
#[must_use]
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
