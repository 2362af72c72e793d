//! Model bundles: a folder `NAME/model.yaml` with the files that it names.
//!
//! Here bundles are found, read and verified, fetched, made and removed. Deliberately not here: running
//! them (backends), opening ONNX files that nobody vouches for (a process of its own does), and what a
//! picture or a text means to them (the domain).

mod bundle;
mod catalog;
mod change;
mod copy;
mod description;
mod error;
mod fetch;
mod identity;
mod import;
mod manifest;
pub mod onnx;
mod precision;
mod pull;
mod search;
mod store;
mod verify;

pub use bundle::{Artefact, Bundle, HefEncoder, OnnxEncoder, Platform, Tower};
pub use catalog::{CATALOG_PATH, Catalog, CatalogEntry, Download};
pub use change::{ChangeError, Watch, megabytes};
pub use error::{BundleError, TowerKind};
pub use fetch::Patience;
pub(crate) use fetch::hex;
pub use import::{Inspect, Shapes, import};
pub use precision::Precision;
pub use pull::{PullOptions, RESOURCES, pull};
pub use search::{SEARCH_PATH, is_bundle_name, list};
pub use store::{RESERVE, Staged, Staging, Store};
