//! The catalogue: models that can be fetched, and from where.
//!
//! One file comes with the package; a second one of the administrator's adds to it, entry by entry. An
//! entry reads like a bundle's `model.yaml` with addresses in it. A size or a digest stands there only
//! where it is known; what is not known is recorded when the file is fetched for the first time.

use std::{collections::BTreeMap, io, net::IpAddr, path::PathBuf};

use serde::Deserialize;
use serde_saphyr::DuplicateKeyPolicy;

use super::{
    ChangeError, Platform, Precision,
    manifest::{self, File, Hef, Image, Manifest, Onnx, Text, TowerFiles, Towers},
    search::is_bundle_name,
};
use crate::yaml;

/// The catalogue that comes with the package, and the administrator's.
pub const CATALOG_PATH: [&str; 2] =
    ["/usr/share/hailo-clip/catalog.yaml", "/etc/hailo/hailo-clip-catalog.yaml"];

/// Models that can be fetched, by name.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    entries: BTreeMap<String, CatalogEntry>,
}

/// A model that can be fetched.
#[derive(Clone, Debug)]
pub struct CatalogEntry {
    /// Name of the bundle to be.
    pub name: String,
    entry: Entry,
}

/// A file to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// Its name in the bundle.
    pub file: String,
    /// Where it is.
    pub url: String,
    /// Its size in bytes, where known.
    pub size: Option<u64>,
    /// SHA-256 of its content, where known.
    pub sha256: Option<[u8; 32]>,
    /// Where in the resources of other Hailo programs the same file may lie.
    pub resource: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogFile {
    format: u32,
    models: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    description: String,
    license: String,
    source: String,
    /// Why it cannot be pulled, though its place in the catalogue is of use.
    incomplete: Option<String>,
    precision: Precision,
    #[serde(default)]
    aliases: Vec<String>,
    embedding_dimension: usize,
    image: Image,
    text: EntryText,
    logit_scale: f32,
    logit_bias: Option<f32>,
    towers: EntryTowers,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryText {
    context_length: usize,
    pad: u32,
    tokenizer: Option<Remote>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryTowers {
    #[serde(default)]
    image: EntryTower,
    #[serde(default)]
    text: EntryTower,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryTower {
    cpu: Option<Remote>,
    hailo8: Option<Remote>,
    hailo8l: Option<Remote>,
    hailo10h: Option<Remote>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remote {
    file: String,
    url: String,
    size: Option<u64>,
    sha256: Option<String>,
    resource: Option<String>,
    /// ONNX: files of weights that the graph refers to.
    #[serde(default)]
    data: Vec<Remote>,
    /// HEF of a text encoder: what runs before and behind it.
    token_embedding: Option<Box<Remote>>,
    text_projection: Option<Box<Remote>>,
}

impl Catalog {
    /// Reads the catalogues that are there; an entry of a later one replaces that of an earlier one.
    ///
    /// # Errors
    /// [`ChangeError::Catalog`] with file name and line.
    pub fn load(files: &[PathBuf]) -> Result<Self, ChangeError> {
        let mut catalog = Self::default();
        for (index, file) in files.iter().enumerate() {
            let bytes = match yaml::load(file) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(invalid(file, None, &error.kind().to_string())),
            };
            // The package's own addresses are https. What an administrator writes is the administrator's.
            catalog.read(&bytes, index > 0).map_err(|(line, message)| invalid(file, line, &message))?;
        }
        Ok(catalog)
    }

    fn read(&mut self, bytes: &[u8], any_address: bool) -> Result<(), (Option<u64>, String)> {
        let file: CatalogFile = yaml::read(bytes, DuplicateKeyPolicy::Error)
            .map_err(|error| (error.position.map(|position| position.line), error.message))?;
        if file.format != 1 {
            return Err((None, format!("format {} is not known here, only 1", file.format)));
        }
        for (name, entry) in file.models {
            entry.check(&name, any_address).map_err(|message| (None, format!("{name}: {message}")))?;
            self.entries.insert(name.clone(), CatalogEntry { name, entry });
        }
        Ok(())
    }

    /// The entry of that name.
    ///
    /// # Errors
    /// [`ChangeError::NotInCatalog`].
    pub fn get(&self, name: &str) -> Result<&CatalogEntry, ChangeError> {
        self.entries
            .get(name)
            .ok_or_else(|| ChangeError::NotInCatalog { name: name.chars().take(64).collect() })
    }

    /// All entries, by name.
    pub fn iter(&self) -> impl Iterator<Item = &CatalogEntry> {
        self.entries.values()
    }
}

impl CatalogEntry {
    /// One sentence about the model.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.entry.description
    }

    /// Licence of the weights.
    #[must_use]
    pub fn license(&self) -> &str {
        &self.entry.license
    }

    /// Where the weights come from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.entry.source
    }

    /// Of its ONNX; that of HEFs without one.
    #[must_use]
    pub fn precision(&self) -> Precision {
        let towers = &self.entry.towers;
        if towers.image.cpu.is_none() && towers.text.cpu.is_none() {
            return Precision::Int8;
        }
        self.entry.precision
    }

    /// Components of an embedding.
    #[must_use]
    pub fn embedding_dimension(&self) -> usize {
        self.entry.embedding_dimension
    }

    /// Side of the image encoder's input, in pixels.
    #[must_use]
    pub fn image_size(&self) -> u32 {
        self.entry.image.size
    }

    /// Why it cannot be pulled.
    #[must_use]
    pub fn incomplete(&self) -> Option<&str> {
        self.entry.incomplete.as_deref()
    }

    /// What its image encoder can run on, the CPU first.
    #[must_use]
    pub fn platforms(&self) -> Vec<Platform> {
        Platform::ALL.into_iter().filter(|&platform| self.entry.towers.image.on(platform).is_some()).collect()
    }

    /// Bytes to fetch for these platforms, if every size is known.
    #[must_use]
    pub fn size(&self, platforms: &[Platform]) -> Option<u64> {
        self.downloads(platforms).iter().map(|download| download.size).sum()
    }

    /// The files for these platforms, each once.
    #[must_use]
    pub fn downloads(&self, platforms: &[Platform]) -> Vec<Download> {
        let mut downloads: Vec<Download> = Vec::new();
        let mut add = |remote: &Remote, folder: &str| {
            if !downloads.iter().any(|known| known.file == remote.file) {
                downloads.push(remote.download(folder));
            }
        };
        if let Some(tokenizer) = &self.entry.text.tokenizer {
            add(tokenizer, "json");
        }
        for &platform in platforms {
            for tower in [&self.entry.towers.image, &self.entry.towers.text] {
                let Some(remote) = tower.on(platform) else { continue };
                add(remote, &format!("models/{}", platform.key()));
                remote.data.iter().for_each(|data| add(data, ""));
                remote
                    .token_embedding
                    .iter()
                    .chain(&remote.text_projection)
                    .for_each(|file| add(file, "npy"));
            }
        }
        downloads
    }

    /// `model.yaml` for these platforms, with what `measured` says of each file.
    pub(super) fn manifest(
        &self,
        platforms: &[Platform],
        measured: &BTreeMap<String, File>,
    ) -> Option<Manifest> {
        let file = |remote: &Remote| measured.get(&remote.file).cloned();
        let files = |remotes: &[Remote]| remotes.iter().map(file).collect::<Option<Vec<_>>>();
        let tower = |tower: &EntryTower| {
            let on = |platform| tower.on(platform).filter(|_| platforms.contains(&platform));
            let hef = |platform| {
                let Some(remote) = on(platform) else { return Some(None) };
                let beside = |remote: &Option<Box<Remote>>| match remote {
                    None => Some(None),
                    Some(remote) => file(remote).map(Some),
                };
                let File { file, size, sha256 } = file(remote)?;
                let token_embedding = beside(&remote.token_embedding)?;
                let text_projection = beside(&remote.text_projection)?;
                Some(Some(Hef { file, size, sha256, token_embedding, text_projection }))
            };
            let cpu = match on(Platform::Cpu) {
                None => None,
                Some(remote) => {
                    let File { file, size, sha256 } = file(remote)?;
                    Some(Onnx { file, size, sha256, data: files(&remote.data)? })
                }
            };
            Some(TowerFiles {
                cpu,
                hailo8: hef(Platform::Hailo8)?,
                hailo8l: hef(Platform::Hailo8L)?,
                hailo10h: hef(Platform::Hailo10H)?,
            })
        };
        let Entry { text, towers, .. } = &self.entry;
        Some(Manifest {
            format: manifest::FORMAT,
            name: self.name.clone(),
            description: self.entry.description.clone(),
            license: self.entry.license.clone(),
            source: Some(self.entry.source.clone()),
            precision: Some(self.entry.precision),
            aliases: self.entry.aliases.clone(),
            embedding_dimension: self.entry.embedding_dimension,
            image: self.entry.image.clone(),
            text: Text {
                context_length: text.context_length,
                pad: text.pad,
                tokenizer: file(text.tokenizer.as_ref()?)?,
            },
            logit_scale: self.entry.logit_scale,
            logit_bias: self.entry.logit_bias,
            towers: Towers { image: tower(&towers.image)?, text: tower(&towers.text)? },
        })
    }
}

impl Entry {
    fn check(&self, name: &str, any_address: bool) -> Result<(), String> {
        if !is_bundle_name(name) {
            return Err("is no model name".to_owned());
        }
        if self.incomplete.is_none() {
            let whole = self.text.tokenizer.is_some()
                && Platform::ALL.iter().any(|&p| self.towers.image.on(p).is_some())
                && Platform::ALL.iter().any(|&p| self.towers.text.on(p).is_some());
            if !whole {
                return Err("a tokenizer and both encoders are needed".to_owned());
            }
        }
        for tower in [&self.towers.image, &self.towers.text] {
            Platform::ALL.iter().filter_map(|&p| tower.on(p)).try_for_each(|file| file.check(any_address))?;
        }
        self.text.tokenizer.iter().try_for_each(|file| file.check(any_address))
    }
}

impl EntryTower {
    fn on(&self, platform: Platform) -> Option<&Remote> {
        match platform {
            Platform::Cpu => self.cpu.as_ref(),
            Platform::Hailo8 => self.hailo8.as_ref(),
            Platform::Hailo8L => self.hailo8l.as_ref(),
            Platform::Hailo10H => self.hailo10h.as_ref(),
        }
    }
}

impl Remote {
    fn check(&self, any_address: bool) -> Result<(), String> {
        if !manifest::is_file_name(&self.file) || self.file == manifest::FILE_NAME {
            return Err(format!("{:?} is not a plain file name", self.file));
        }
        if self.sha256.as_ref().is_some_and(|hex| manifest::parse_sha256(hex).is_none()) {
            return Err(format!("the sha256 of {} is not 64 hexadecimal digits", self.file));
        }
        if !any_address && !is_safe(&self.url) {
            return Err(format!("the address of {} is not https", self.file));
        }
        let resource = self.resource.as_deref().unwrap_or_default();
        if resource.starts_with('/') || resource.split('/').any(|part| part == "..") {
            return Err(format!("the resource of {} leads elsewhere", self.file));
        }
        let beside = self.token_embedding.iter().chain(&self.text_projection).map(|file| &**file);
        self.data.iter().chain(beside).try_for_each(|file| file.check(any_address))
    }

    fn download(&self, folder: &str) -> Download {
        // The names that Hailo's programs give to what they fetch.
        let named_alike = || {
            let name = self.url.rsplit('/').next().filter(|_| !folder.is_empty())?;
            Some(format!("{folder}/{name}"))
        };
        Download {
            file: self.file.clone(),
            url: self.url.clone(),
            size: self.size,
            sha256: self.sha256.as_deref().and_then(manifest::parse_sha256),
            resource: self.resource.clone().or_else(named_alike),
        }
    }
}

/// Whether nobody on the way can change what comes: encrypted, or not leaving the machine.
fn is_safe(url: &str) -> bool {
    if url.starts_with("https://") {
        return true;
    }
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn invalid(file: &std::path::Path, line: Option<u64>, message: &str) -> ChangeError {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let place = line.map_or_else(|| name.clone().into_owned(), |line| format!("{name}:{line}"));
    ChangeError::Catalog(format!("{place}: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packaged_catalogue_is_in_order() {
        let mut catalog = Catalog::default();
        catalog.read(include_bytes!("../../config/catalog.yaml"), false).unwrap();
        let vit = catalog.get("clip-vit-b-32").unwrap();
        assert_eq!(vit.platforms(), Platform::ALL);
        assert_eq!(vit.downloads(&[Platform::Cpu]).len(), 3);
        assert_eq!(vit.downloads(&Platform::ALL).len(), 11);
        let table = vit.downloads(&[Platform::Hailo10H]);
        let table = table.iter().find(|download| download.url.ends_with("token_embedding_lut.npy")).unwrap();
        assert_eq!(table.resource.as_deref(), Some("npy/token_embedding_lut.npy"));
        for entry in catalog.iter() {
            let all = entry.downloads(&Platform::ALL);
            let measured = all.iter().map(|download| {
                let file = File { file: download.file.clone(), size: 1, sha256: "0".repeat(64) };
                (download.file.clone(), file)
            });
            let manifest = entry.manifest(&Platform::ALL, &measured.collect());
            let Some(manifest) = manifest else {
                assert!(entry.incomplete().is_some(), "{}", entry.name);
                continue;
            };
            let text = manifest.to_yaml();
            let bundle = manifest::parse(text.as_bytes(), &entry.name, std::path::Path::new("/m"));
            if entry.incomplete().is_none() {
                assert_eq!(bundle.unwrap().source.as_deref(), Some(entry.source()));
            }
        }
    }

    #[test]
    fn an_address_that_somebody_on_the_way_could_change_is_refused() {
        assert!(
            is_safe("https://example.org/x")
                && is_safe("http://127.0.0.1:80/x")
                && is_safe("http://[::1]:1/x")
        );
        for url in
            ["http://example.org/x", "http://127.0.0.1.example.org/", "ftp://127.0.0.1/x", "/etc/passwd"]
        {
            assert!(!is_safe(url), "{url}");
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let mut catalog = Catalog::default();
        let (line, message) = catalog.read(b"format: 1\nmodels:\n  x: {descriptoin: y}\n", true).unwrap_err();
        assert!(line == Some(3) && message.contains("descriptoin"), "{line:?} {message}");
    }
}
