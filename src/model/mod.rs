//! Model bundles: a folder `NAME/model.yaml` with the files that it names.
//!
//! Here bundles are found, read and verified. Deliberately not here: running them (backends), and
//! what a picture or a text means to them (the domain).

mod bundle;
mod error;
mod manifest;
mod search;
mod verify;

pub use bundle::{Artefact, Bundle, HefEncoder, OnnxEncoder, Platform, Tower};
pub use error::{BundleError, TowerKind};
pub use search::{SEARCH_PATH, is_bundle_name, list};
