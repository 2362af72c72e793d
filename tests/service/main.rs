//! The whole service: the real daemon with the bundled model, asked through its doors.

#[path = "../common/mod.rs"]
mod common;
#[path = "../polkit/mod.rs"]
mod polkit;

mod bundles;
mod documented;
mod facades;
mod http;
mod immich;
mod interop;
mod kept_texts;
mod life;
mod limits;
mod llama_cpp;
mod manage;
mod metrics;
mod openai;
mod openapi;
mod replaced;
mod restart;
