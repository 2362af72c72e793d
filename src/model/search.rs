//! Bundles by name.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{BundleError, manifest};

/// Where bundles are looked for, the first wins: pulled and imported ones, then packaged ones.
pub const SEARCH_PATH: [&str; 2] = ["/var/lib/hailo-clip/models", "/usr/share/hailo-clip/models"];

/// Whether `name` can be a bundle's: `[a-z0-9][a-z0-9._-]*`, at most 64 characters.
///
/// Such a name cannot lead out of a folder.
#[must_use]
pub fn is_bundle_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut bytes = name.bytes();
    name.len() <= 64
        && bytes.next().is_some_and(plain)
        && bytes.all(|byte| plain(byte) || matches!(byte, b'.' | b'_' | b'-'))
}

/// Names of the bundles that [`Bundle::find`](super::Bundle::find) would find, sorted.
///
/// A folder that cannot be read holds none.
#[must_use]
pub fn list(search_dirs: &[PathBuf]) -> Vec<String> {
    let names: BTreeSet<String> = search_dirs
        .iter()
        .filter_map(|dir| fs::read_dir(dir).ok())
        .flatten()
        .flatten()
        .filter(|entry| is_bundle(&entry.path()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| is_bundle_name(name))
        .collect();
    names.into_iter().collect()
}

/// The folder of the bundle `name`.
pub(super) fn locate(name: &str, search_dirs: &[PathBuf]) -> Result<PathBuf, BundleError> {
    if !is_bundle_name(name) {
        return Err(BundleError::InvalidName(name.to_owned()));
    }
    search_dirs
        .iter()
        .map(|dir| dir.join(name))
        .find(|dir| is_bundle(dir))
        .ok_or_else(|| BundleError::NotInstalled { name: name.to_owned(), installed: list(search_dirs) })
}

/// A `model.yaml` that may not be read still makes a bundle, so that the error tells the truth.
fn is_bundle(dir: &Path) -> bool {
    dir.join(manifest::FILE_NAME).try_exists().unwrap_or(true) && dir.is_dir()
}
