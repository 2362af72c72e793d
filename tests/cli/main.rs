//! The `hailo-clip` command, run as a process against a service that gives known answers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bus;
mod camera;
mod classify;
mod embed;
mod fake;
mod folder;
mod manage;
#[path = "../common/notify.rs"]
mod notify;
mod search;
mod service;
#[path = "../common/skip.rs"]
mod skip;
mod terminal;
mod watch;
