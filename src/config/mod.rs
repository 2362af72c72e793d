//! The configuration file: YAML → located values → validated [`Settings`].
//!
//! Every mistake of a file is reported, with its place and what to write instead; a file with a mistake
//! gives no settings at all. Every known key either has an effect or is answered by a notice.
//! Deliberately not here: acting on the settings, and watching the file.

mod effective;
mod finding;
mod load;
mod reader;
mod settings;
mod tree;
mod validate;

pub use crate::yaml::Position;
pub use effective::effective_yaml;
pub use finding::{ConfigErrors, Finding};
pub use load::{Checked, DEFAULT_PATH, Loaded, check, load, parse};
pub use reader::KEYS;
pub use settings::*;
