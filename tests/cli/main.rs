//! The `hailo-clip` command, run as a process against a service that gives known answers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod classify;
mod embed;
mod fake;
mod manage;
mod service;
mod terminal;
