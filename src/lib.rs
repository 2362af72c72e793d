//! CLIP zero-shot image classification and embeddings as a Debian system service.
//!
//! One [`engine`] does the work; [`http`] and [`dbus`] are thin facades over it, and [`cli`] is a
//! client of the D-Bus facade. A module imports only modules that stand above it in this list
//! (`tests/layering.rs` enforces it):
//!
//! | layer | job |
//! |---|---|
//! | [`clip`] | the domain: tokenizer, image pre-processing, scores. No I/O |
//! | `yaml` | YAML with limits and errors of one line |
//! | `https` | whom a client of web servers trusts |
//! | `kernel` | what `/sys` and `/proc` show of the machine |
//! | [`model`] | model bundles on disk |
//! | [`config`] | the configuration file, validated |
//! | [`generator`] | drop-ins for systemd from the configuration |
//! | [`backend`] | the encoders: on the CPU, on a Hailo NPU |
//! | [`engine`] | admission, batching, deadlines, caches, life cycle |
//! | [`dbus`], [`http`] | facades: decode, one engine call, encode |
//! | [`daemon`] | wiring, systemd, signals |
//! | [`doctor`] | what is wrong with the service on this machine, and what mends it |
//! | [`cli`] | the `hailo-clip` command |
#![forbid(unsafe_code)]
// Here and not in the manifest: tests have neither documentation nor an interface.
#![warn(missing_docs, unreachable_pub)]

pub mod backend;
pub mod cli;
pub mod clip;
pub mod config;
pub mod daemon;
pub mod dbus;
pub mod doctor;
pub mod engine;
pub mod generator;
pub mod http;
mod https;
mod kernel;
pub mod model;
mod yaml;
