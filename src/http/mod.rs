//! The HTTP facade: the contract of the Python service that this one replaces, and beside it those that
//! photo software, monitoring and OpenAI's clients know.
//!
//! | job | module |
//! |---|---|
//! | connections, their limits, shutdown | `server` |
//! | who may ask | `security` |
//! | bodies and their limits | `body`, `payload` |
//! | wire formats | `json`, `form`, `image_field`, `parameters` |
//! | endpoints | `classify`, `embed`, `health`, `index`, `metrics`, `openapi` |
//! | other interfaces | `immich`, `openai`, `models`, `llama_cpp`, `pictures` |
//! | errors | `error` |
//!
//! A handler decodes its request, makes one call to the engine and encodes the answer. What an argument
//! may be (how many prompts, which range) is the engine's to say; here is checked only what the wire
//! format brings with it. HTTP/1.1 only: a proxy that speaks HTTP/2 to the world is welcome in front.

mod body;
mod classify;
mod embed;
mod error;
mod form;
mod health;
mod image_field;
mod immich;
mod index;
mod json;
mod llama_cpp;
mod metrics;
mod models;
mod openai;
mod openapi;
mod options;
mod parameters;
mod payload;
mod pictures;
mod router;
mod security;
mod server;
mod timing;

pub use options::{ConnectionLimits, Options};
pub use security::ApiKey;
pub use server::{Listener, Server};
