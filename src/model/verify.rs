//! Whether a bundle's files are what `model.yaml` says.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::{
    Artefact, Bundle, BundleError, ChangeError, Platform, Precision, TowerKind, Watch, bundle::Tower,
};

/// Bytes that are read and hashed at a time.
pub(super) const CHUNK: usize = 1 << 20;

impl Bundle {
    /// Checks the files that these encoders need, the tokenizer included, by size and SHA-256.
    ///
    /// Reads all of them, several at a time, in constant memory; other artefacts of the bundle need not even be there.
    ///
    /// # Errors
    /// The first file that is missing, truncated or altered, an encoder that the bundle lacks, weights
    /// that `model.yaml` does not list, or ONNX of another precision than it says.
    pub fn verify(&self, image: Platform, text: Platform) -> Result<(), BundleError> {
        let mut artefacts = vec![&self.tokenizer];
        for (tower, kind, platform) in
            [(&self.image_tower, TowerKind::Image, image), (&self.text_tower, TowerKind::Text, text)]
        {
            let files = tower.artefacts(platform).ok_or_else(|| BundleError::NoEncoder {
                name: self.name.clone(),
                tower: kind,
                platform,
            })?;
            artefacts.extend(files);
        }
        self.check_for_unlisted_weights()?;
        // A truncated file is found at once, before hundreds of megabytes are hashed.
        for artefact in &artefacts {
            self.check_file(artefact)?;
        }
        let altered = artefacts.par_iter().find_map_first(|artefact| self.check_content(artefact).err());
        altered.map_or(Ok(()), Err)?;
        let on_cpu = |tower, platform| (platform == Platform::Cpu).then_some(tower);
        self.check_precision(on_cpu(&self.image_tower, image), on_cpu(&self.text_tower, text))
    }

    /// Checks every file of the bundle, for whatever hardware, by size and SHA-256.
    ///
    /// # Errors
    /// The first file that is not what it should be, or [`ChangeError::Cancelled`].
    pub fn verify_all(&self, watch: &Watch) -> Result<(), ChangeError> {
        self.check_for_unlisted_weights()?;
        let artefacts = self.artefacts();
        for artefact in &artefacts {
            self.check_file(artefact)?;
        }
        let total: u64 = artefacts.iter().map(|artefact| artefact.size).sum();
        let mut done = 0;
        for artefact in artefacts {
            let digest = hash(&artefact.path, &mut |bytes| watch.at(done + bytes, total))?;
            if digest != artefact.sha256 {
                let (name, file) = (self.name.clone(), artefact.file_name());
                return Err(BundleError::Altered { name, file }.into());
            }
            done += artefact.size;
        }
        Ok(self.check_precision(Some(&self.image_tower), Some(&self.text_tower))?)
    }

    /// All files of the bundle but `model.yaml`, each once.
    #[must_use]
    pub fn artefacts(&self) -> Vec<&Artefact> {
        let mut artefacts = vec![&self.tokenizer];
        for tower in [&self.image_tower, &self.text_tower] {
            for artefact in
                Platform::ALL.into_iter().filter_map(|platform| tower.artefacts(platform)).flatten()
            {
                if !artefacts.iter().any(|known| known.path == artefact.path) {
                    artefacts.push(artefact);
                }
            }
        }
        artefacts
    }

    /// Bytes that both encoders take on `platform`, or on the CPU where they have nothing for it.
    #[must_use]
    pub fn footprint(&self, platform: Platform) -> u64 {
        [&self.image_tower, &self.text_tower]
            .into_iter()
            .filter_map(|tower| tower.artefacts(platform).or_else(|| tower.artefacts(Platform::Cpu)))
            .flatten()
            .map(|artefact| artefact.size)
            .sum()
    }

    /// A digest of all that decides a text's embedding where the text encoder runs on `platform`.
    ///
    /// The program's version is part of it: another one may clean texts or run networks in another way.
    #[must_use]
    pub fn text_digest(&self, platform: Platform) -> [u8; 32] {
        let mut hasher = Sha256::new_with_prefix(concat!("hailo-clip ", env!("CARGO_PKG_VERSION"), "\n"));
        hasher.update(format!(
            "{} {} {} {}\n",
            platform.key(),
            self.embedding_dimension,
            self.context_length,
            self.pad_token
        ));
        let files = self.text_tower.artefacts(platform).unwrap_or_default();
        for artefact in std::iter::once(&self.tokenizer).chain(files) {
            hasher.update(artefact.sha256);
        }
        hasher.finalize().into()
    }

    /// What its encoders can run on: at least one of them on this, the other on this or the CPU.
    #[must_use]
    pub fn platforms(&self) -> Vec<Platform> {
        let has = |tower: &Tower, platform| tower.artefacts(platform).is_some();
        let (image, text) = (&self.image_tower, &self.text_tower);
        Platform::ALL
            .into_iter()
            .filter(|&on| {
                (has(image, on) || has(text, on))
                    && (has(image, on) || has(image, Platform::Cpu))
                    && (has(text, on) || has(text, Platform::Cpu))
            })
            .collect()
    }

    /// An ONNX graph names its files of weights itself, and the runtime maps what it finds under such a
    /// name: of the extensions that it accepts, all files must be listed.
    fn check_for_unlisted_weights(&self) -> Result<(), BundleError> {
        let listed: Vec<_> = [&self.image_tower, &self.text_tower]
            .into_iter()
            .filter_map(|tower| tower.cpu.as_ref())
            .flat_map(|encoder| &encoder.data)
            .filter_map(|artefact| artefact.path.file_name())
            .collect();
        let folder = self.tokenizer.path.parent().unwrap_or(Path::new("."));
        // A folder that cannot be listed is told by the first file that is missing in it.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            let weights = extension.starts_with("data") || extension.starts_with("onnx_data");
            if weights && !listed.contains(&name.as_os_str()) {
                let (name, file) = (self.name.clone(), name.to_string_lossy().into_owned());
                return Err(BundleError::Unlisted { name, file });
            }
        }
        Ok(())
    }

    /// Whether these networks are what `model.yaml` says of the bundle's: vectors of int8 must not pass for those
    /// of fp32, nor the other way round. One quantised encoder of the two makes a model int8.
    fn check_precision(&self, image: Option<&Tower>, text: Option<&Tower>) -> Result<(), BundleError> {
        let precision = |tower: Option<&Tower>| tower.and_then(Tower::precision);
        let (image, text) = (precision(image), precision(text));
        let all = [image, text].iter().flatten().count()
            == [&self.image_tower, &self.text_tower].iter().filter(|tower| tower.cpu.is_some()).count();
        let quantised = image.max(text) == Some(Precision::Int8);
        let said = self.precision == Precision::Int8;
        if quantised && !said {
            return Err(BundleError::Quantised { name: self.name.clone(), said: self.precision });
        }
        if said && !quantised && all && image.max(text).is_some() {
            return Err(BundleError::NotQuantised { name: self.name.clone() });
        }
        Ok(())
    }

    fn check_file(&self, artefact: &Artefact) -> Result<(), BundleError> {
        let metadata = metadata_within_folder(&artefact.path)
            .map_err(|error| self.unreadable(artefact, &error))?
            .ok_or_else(|| BundleError::NotAFile { name: self.name.clone(), file: artefact.file_name() })?;
        if metadata.len() != artefact.size {
            return Err(BundleError::WrongSize {
                name: self.name.clone(),
                file: artefact.file_name(),
                found: metadata.len(),
                expected: artefact.size,
            });
        }
        Ok(())
    }

    fn check_content(&self, artefact: &Artefact) -> Result<(), BundleError> {
        let digest = hash(&artefact.path, &mut |_| Ok(()));
        let digest = digest.map_err(|error: io::Error| self.unreadable(artefact, &error))?;
        if digest == artefact.sha256 {
            Ok(())
        } else {
            Err(BundleError::Altered { name: self.name.clone(), file: artefact.file_name() })
        }
    }

    fn unreadable(&self, artefact: &Artefact, error: &io::Error) -> BundleError {
        let (name, file) = (self.name.clone(), artefact.file_name());
        match error.kind() {
            io::ErrorKind::NotFound => BundleError::Missing { name, file },
            kind => BundleError::Unreadable { name, file, reason: kind.to_string() },
        }
    }
}

impl Tower {
    pub(super) fn artefacts(&self, platform: Platform) -> Option<Vec<&Artefact>> {
        let hef = match platform {
            Platform::Cpu => {
                let encoder = self.cpu.as_ref()?;
                return Some(std::iter::once(&encoder.onnx).chain(&encoder.data).collect());
            }
            Platform::Hailo8 => self.hailo8.as_ref()?,
            Platform::Hailo8L => self.hailo8l.as_ref()?,
            Platform::Hailo10H => self.hailo10h.as_ref()?,
        };
        Some(std::iter::once(&hef.hef).chain(&hef.token_embedding).chain(&hef.text_projection).collect())
    }
}

impl Artefact {
    /// The file's name, as errors show it.
    #[must_use]
    pub fn file_name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Metadata of a regular file; `None` if it is none, or a link that leads out of its folder.
fn metadata_within_folder(path: &Path) -> io::Result<Option<fs::Metadata>> {
    let folder = path.parent().unwrap_or(Path::new(".")).canonicalize()?;
    let file = path.canonicalize()?;
    let metadata = fs::metadata(&file)?;
    Ok((file.parent() == Some(&folder) && metadata.is_file()).then_some(metadata))
}

/// SHA-256 of a file; `at` is told how many bytes have been read.
pub(super) fn hash<E: From<io::Error>>(
    path: &Path,
    at: &mut dyn FnMut(u64) -> Result<(), E>,
) -> Result<[u8; 32], E> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut bytes = 0;
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(read) => {
                hasher.update(&chunk[..read]);
                bytes += read as u64;
                at(bytes)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}
