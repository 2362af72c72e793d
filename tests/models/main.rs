//! Models: fetched from a server that behaves in every way a server can, taken into service, removed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../polkit/mod.rs"]
mod polkit;

mod command;
mod import;
mod pull;
mod server;
