//! The daemon `hailo-clipd`: wiring, systemd, signals, privileges, drain.
//!
//! Everything is put together here and passed down: listeners, the bus connection, settings, shutdown.

mod arguments;
mod choice;
mod fetcher;
mod listener;
mod loader;
mod logging;
mod memory;
mod models;
mod notify;
mod privileges;
mod service;
mod trial;
mod watchdog;

use std::{process::ExitCode, time::Duration};

use clap::{CommandFactory, Parser};

use self::arguments::Arguments;
pub use self::fetcher::pull_main;
use crate::config;

/// Exit code for a configuration that cannot be used (`EX_CONFIG` of sysexits.h).
const EXIT_CONFIG: u8 = 78;
/// Longest wait for work that cannot be broken off, at the very end.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

/// The command line, for its man page.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the daemon until it is told to stop.
///
/// Exit codes: 0 after SIGTERM or SIGINT, 1 for a failure at run time, 2 for wrong arguments, 78 for
/// an unusable configuration.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(folder) = &arguments.try_model {
        return trial::main(folder, &arguments.try_towers);
    }
    if let Some(folder) = &arguments.inspect_model {
        return trial::inspect_main(folder, arguments.inspect_size);
    }
    if let Some(file) = arguments.check_config() {
        let checked = config::check(&file);
        print!("{}", checked.output);
        return if checked.ok { ExitCode::SUCCESS } else { ExitCode::from(EXIT_CONFIG) };
    }
    let loaded = match config::load(&arguments.config) {
        Ok(loaded) => loaded,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    let log_level = logging::init(loaded.settings.logging);
    logging::report_panics();
    for notice in &loaded.notices {
        tracing::warn!("{notice}");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(service::run(&arguments, loaded.settings, &log_level));
    // A model that is still being loaded keeps nobody from stopping.
    runtime.shutdown_timeout(SHUTDOWN_LIMIT);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            notify::status(&error.to_string());
            ExitCode::FAILURE
        }
    }
}
