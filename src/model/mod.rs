//! Model bundles: a folder with `model.yaml` and the files that it names.

mod bundle;

pub use bundle::{Artefact, Bundle, BundleError, Tower};
