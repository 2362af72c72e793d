//! The `hailo-clip` command, run as a process against a service that gives known answers.

mod classify;
mod embed;
mod fake;
mod service;
mod terminal;
