//! A model of the catalogue, file by file, into a staging folder that is a bundle at the end.
//!
//! Each file is taken from the cheapest place that has it: the staging folder of an earlier attempt, the
//! bundle that is installed already, the resources of other Hailo programs, the network. Plain blocking
//! code, which runs in a process that may reach the internet (the daemon may not).

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    CatalogEntry, ChangeError, Download, Platform, Store, Watch,
    copy::copy_and_hash,
    fetch::{Client, Fetched, Follow, Patience, hex, host},
    manifest::{self, File},
    store::Staging,
    verify::hash,
};

/// Where other Hailo programs put what they fetch.
pub const RESOURCES: &str = "/usr/local/hailo/resources";

/// How models are pulled.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// Folders of `models/ARCHITECTURE`, `json` and `npy`.
    pub resources: Vec<PathBuf>,
    /// How long servers are waited for.
    pub patience: Patience,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self { resources: vec![RESOURCES.into()], patience: Patience::default() }
    }
}

/// Name of the record of digests within the store.
const TRUSTED: &str = ".trusted.json";

/// A file that came once, by its address.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Trusted {
    size: u64,
    sha256: String,
}

/// Fetches what `entry` has for `platforms` into the staging folder of `store`; what there is to tell about
/// it. [`Store::stage`] and [`Store::install`] put it in place.
///
/// # Errors
/// [`ChangeError`]; what has come is kept for the next attempt.
pub fn pull(
    entry: &CatalogEntry,
    platforms: &[Platform],
    store: &Store,
    options: &PullOptions,
    watch: &Watch,
) -> Result<Vec<String>, ChangeError> {
    if let Some(reason) = entry.incomplete() {
        return Err(ChangeError::Incomplete { name: entry.name.clone(), reason: reason.to_owned() });
    }
    let staged = store.stage(&entry.name, Staging::Pull)?;
    let downloads = entry.downloads(platforms);
    clear_others(&staged.dir, &downloads)?;
    let mut pulling = Pulling {
        store,
        dir: &staged.dir,
        installed: store.dir().join(&entry.name),
        client: Client::new(options.patience),
        resources: &options.resources,
        trusted: read_trusted(store.dir()),
        notes: Vec::new(),
        sizes: Vec::new(),
    };
    watch.at(0, 0)?;
    for download in &downloads {
        let size = download.size.or_else(|| pulling.known_size(download));
        watch.at(0, 0)?;
        pulling.sizes.push(size.unwrap_or(0));
    }
    let missing: u64 = pulling
        .sizes
        .iter()
        .zip(&downloads)
        .map(|(size, download)| size.saturating_sub(present(&staged.dir, &download.file)))
        .sum();
    store.require_space(missing)?;
    let mut measured = BTreeMap::new();
    for (index, download) in downloads.iter().enumerate() {
        let Fetched { size, sha256 } = pulling.obtain(index, download, watch)?;
        pulling.sizes[index] = size;
        let file = File { file: download.file.clone(), size, sha256: hex(&sha256) };
        measured.insert(download.file.clone(), file);
    }
    let manifest = entry.manifest(platforms, &measured).ok_or_else(|| {
        ChangeError::Unsuitable(format!("model {} has no encoders for this machine", entry.name))
    })?;
    fs::write(staged.dir.join(manifest::FILE_NAME), manifest.to_yaml())?;
    Ok(pulling.notes)
}

struct Pulling<'a> {
    store: &'a Store,
    dir: &'a Path,
    installed: PathBuf,
    client: Client,
    resources: &'a [PathBuf],
    trusted: BTreeMap<String, Trusted>,
    notes: Vec<String>,
    /// Of each file, as far as known.
    sizes: Vec<u64>,
}

impl Pulling<'_> {
    fn known_size(&self, download: &Download) -> Option<u64> {
        self.client.size(download).or_else(|| Some(self.trusted.get(&download.url)?.size))
    }

    /// The digest that the file must have: the catalogue's, else that of the first time.
    fn expected(&self, download: &Download) -> Option<[u8; 32]> {
        download.sha256.or_else(|| manifest::parse_sha256(&self.trusted.get(&download.url)?.sha256))
    }

    fn obtain(&mut self, index: usize, download: &Download, watch: &Watch) -> Result<Fetched, ChangeError> {
        let expected = self.expected(download);
        let before: u64 = self.sizes[..index].iter().sum();
        let total: u64 = self.sizes.iter().sum();
        let mut follow = Following { store: self.store, watch, before, total, known: self.sizes[index] };
        let target = self.dir.join(&download.file);
        if target.exists() {
            // Whole, since it has its name; whether it is still what it should be is to be seen.
            let found = Fetched {
                size: fs::metadata(&target)?.len(),
                sha256: hash::<ChangeError>(&target, &mut |_| Ok(()))?,
            };
            if expected.is_none_or(|expected| expected == found.sha256)
                && download.size.is_none_or(|size| size == found.size)
            {
                follow.at(found.size)?;
                return self.trust(download, found);
            }
            fs::remove_file(&target)?;
        }
        if let Some(found) = self.copy_of(download, expected, self.sizes[index], &mut follow)? {
            return self.trust(download, found);
        }
        let fetched = self.client.fetch(download, expected, self.dir, &mut follow)?;
        self.trust(download, fetched)
    }

    /// A copy of a file that is on this machine already. Without a digest it must have the size that the
    /// server tells.
    fn copy_of(
        &mut self,
        download: &Download,
        expected: Option<[u8; 32]>,
        size: u64,
        follow: &mut Following<'_>,
    ) -> Result<Option<Fetched>, ChangeError> {
        let installed = expected.map(|_| self.installed.join(&download.file));
        let resources = download.resource.iter();
        let resources =
            resources.flat_map(|resource| self.resources.iter().map(move |dir| dir.join(resource)));
        for source in installed.into_iter().chain(resources) {
            let Ok(metadata) = fs::metadata(&source) else { continue };
            if !metadata.is_file() || metadata.len() == 0 || (size != 0 && metadata.len() != size) {
                continue;
            }
            if expected.is_none() && size == 0 {
                continue;
            }
            let Ok(file) = fs::File::open(&source) else { continue };
            follow.require_space(metadata.len())?;
            let part = self.dir.join(format!("{}.copy", download.file));
            let (size, sha256) = copy_and_hash(file, &part, metadata.len(), &mut |bytes| follow.at(bytes))?;
            if expected.is_none_or(|expected| expected == sha256) {
                fs::rename(&part, self.dir.join(&download.file))?;
                if !source.starts_with(&self.installed) {
                    self.notes.push(format!("{} was on this machine already", download.file));
                }
                return Ok(Some(Fetched { size, sha256 }));
            }
            fs::remove_file(&part)?;
        }
        Ok(None)
    }

    /// Records what came for the first time, and says so.
    fn trust(&mut self, download: &Download, fetched: Fetched) -> Result<Fetched, ChangeError> {
        if download.sha256.is_none() && !self.trusted.contains_key(&download.url) {
            let sha256 = hex(&fetched.sha256);
            self.notes.push(format!(
                "{} from {}: its SHA-256 was not known and is recorded now, {sha256}",
                download.file,
                host(&download.url)
            ));
            self.trusted.insert(download.url.clone(), Trusted { size: fetched.size, sha256 });
            let text = serde_json::to_string_pretty(&self.trusted).unwrap_or_default();
            let new = self.store.dir().join(format!("{TRUSTED}.new"));
            fs::write(&new, text)?;
            fs::rename(&new, self.store.dir().join(TRUSTED))?;
        }
        Ok(fetched)
    }
}

fn read_trusted(dir: &Path) -> BTreeMap<String, Trusted> {
    fs::read(dir.join(TRUSTED)).ok().and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
}

/// Bytes of a file that have come.
fn present(dir: &Path, file: &str) -> u64 {
    let length = |name: &str| fs::metadata(dir.join(name)).map_or(0, |metadata| metadata.len());
    length(file).max(length(&format!("{file}.part")))
}

/// Removes what an earlier attempt at something else left.
fn clear_others(dir: &Path, downloads: &[Download]) -> Result<(), ChangeError> {
    for entry in fs::read_dir(dir)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let plain = name.strip_suffix(".part").or_else(|| name.strip_suffix(".etag")).unwrap_or(&name);
        if !downloads.iter().any(|download| download.file == plain) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The way of one file within that of all.
struct Following<'a> {
    store: &'a Store,
    watch: &'a Watch,
    before: u64,
    total: u64,
    known: u64,
}

impl Follow for Following<'_> {
    fn at(&mut self, bytes: u64) -> Result<(), ChangeError> {
        let total = self.total + bytes.saturating_sub(self.known);
        self.watch.at(self.before + bytes, total)
    }

    fn require_space(&mut self, needed: u64) -> Result<(), ChangeError> {
        self.store.require_space(needed)
    }
}
