//! The configuration file: YAML → raw keys → validated [`Settings`].

mod settings;

pub use settings::*;
