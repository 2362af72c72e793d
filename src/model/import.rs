//! A bundle of files that somebody has: an ONNX pair with its tokenizer, or HEFs for a bundle that is there.
//!
//! What the bundle must say is taken from the options, else from the JSON files that exporters put beside a
//! model, else from the networks' shapes. Deliberately not here: opening the networks, which a process of
//! its own does, and asking people.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{Read, Seek, SeekFrom},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_saphyr::DuplicateKeyPolicy;

use super::{
    Bundle, ChangeError, Platform, Precision, Staged, Staging, Store, Watch,
    copy::copy_and_hash,
    description::Told,
    fetch::hex,
    manifest::{self, File, Hef, Image, Manifest, Onnx, Text, TowerFiles, Towers},
    onnx,
};
use crate::yaml;

/// Largest JSON file that is read.
const MAX_JSON: u64 = 1 << 20;

/// What networks say of themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shapes {
    /// Side of the image encoder's input.
    pub image_size: Option<u32>,
    /// Tokens that the text encoder takes.
    pub context_length: Option<usize>,
    /// Components of an embedding.
    pub dimension: Option<usize>,
}

/// Opens the networks `image.onnx` and `text.onnx` in a folder, for pictures of this size if they do not say.
pub type Inspect<'a> = &'a dyn Fn(&Path, Option<u32>) -> Result<Shapes, ChangeError>;

/// Makes the bundle `name` in a staging folder; it and what there is to tell about it.
///
/// # Errors
/// [`ChangeError::MissingOption`] where the files leave something open; nothing stays behind.
pub fn import(
    name: &str,
    files: HashMap<String, OwnedFd>,
    options: &HashMap<String, String>,
    (store, search_path): (&Store, &[PathBuf]),
    inspect: Inspect<'_>,
    watch: &Watch,
) -> Result<(Staged, Vec<String>), ChangeError> {
    let existing = Bundle::find(name, search_path);
    let adds_hefs = !files.contains_key("image") && !files.contains_key("text");
    match (&existing, adds_hefs) {
        (Ok(_), false) => return Err(ChangeError::Exists(name.to_owned())),
        (Err(error), true) => return Err(error.clone().into()),
        _ => {}
    }
    let staged = store.stage(name, Staging::Import)?;
    let made = Making { dir: &staged.dir, store, watch, measured: BTreeMap::new() }.make(
        name,
        files,
        options,
        existing.ok().as_ref(),
        inspect,
    );
    match made {
        Ok(notes) => Ok((staged, notes)),
        Err(error) => {
            store.abandon(staged);
            Err(error)
        }
    }
}

struct Making<'a> {
    dir: &'a Path,
    store: &'a Store,
    watch: &'a Watch,
    /// Files in place, by their name in the bundle.
    measured: BTreeMap<String, File>,
}

impl Making<'_> {
    fn make(
        mut self,
        name: &str,
        files: HashMap<String, OwnedFd>,
        options: &HashMap<String, String>,
        existing: Option<&Bundle>,
        inspect: Inspect<'_>,
    ) -> Result<Vec<String>, ChangeError> {
        let mut json = HashMap::new();
        let mut sources: Vec<(String, fs::File, u64)> = Vec::new();
        for (key, fd) in files {
            let mut file = fs::File::from(fd);
            let metadata = file.metadata()?;
            if !metadata.is_file() || metadata.len() == 0 {
                return Err(unsuitable(&format!("{key} is not a file with something in it")));
            }
            file.seek(SeekFrom::Start(0))?;
            if matches!(key.as_str(), "preprocess" | "config" | "tokenizer_config") {
                let mut text = Vec::new();
                file.take(MAX_JSON).read_to_end(&mut text)?;
                let value = serde_json::from_slice::<serde_json::Value>(&text)
                    .map_err(|error| unsuitable(&format!("{key} is no JSON: {error}")))?;
                json.insert(key, value);
            } else {
                let target = file_name(&key)?;
                if sources.iter().any(|(known, ..)| *known == target) {
                    return Err(unsuitable(&format!(
                        "two files would be called {target}; export them under different names"
                    )));
                }
                sources.push((target, file, metadata.len()));
            }
        }
        if let Some(bundle) = existing {
            for artefact in bundle.artefacts() {
                let target = artefact.file_name();
                if !sources.iter().any(|(known, ..)| *known == target) {
                    sources.push((target, fs::File::open(&artefact.path)?, artefact.size));
                }
            }
        }
        self.copy(sources)?;
        let (mut manifest, notes) = match existing {
            Some(bundle) => (read_manifest(bundle)?, Vec::new()),
            None => self.new_manifest(name, &Told::new(options, &json), inspect)?,
        };
        self.add_hefs(&mut manifest)?;
        let text = manifest.to_yaml();
        manifest::parse(text.as_bytes(), name, self.dir)?;
        fs::write(self.dir.join(manifest::FILE_NAME), text)?;
        Ok(notes)
    }

    fn copy(&mut self, sources: Vec<(String, fs::File, u64)>) -> Result<(), ChangeError> {
        let total = sources.iter().map(|(_, _, length)| length).sum();
        self.store.require_space(total)?;
        let mut done = 0;
        for (target, file, length) in sources {
            let watch = self.watch;
            let (size, sha256) = copy_and_hash(file, &self.dir.join(&target), length, &mut |bytes| {
                watch.at(done + bytes, total)
            })?;
            done += size;
            self.measured.insert(target.clone(), File { file: target, size, sha256: hex(&sha256) });
        }
        Ok(())
    }

    fn new_manifest(
        &self,
        name: &str,
        told: &Told<'_>,
        inspect: Inspect<'_>,
    ) -> Result<(Manifest, Vec<String>), ChangeError> {
        let present = |file: &str, what: &str| {
            self.measured.get(file).cloned().ok_or_else(|| unsuitable(&format!("{what} is missing")))
        };
        let tokenizer = present("tokenizer.json", "tokenizer.json, the tokenizer,")?;
        let image = present("image.onnx", "the image encoder")?;
        let text = present("text.onnx", "the text encoder")?;
        let size = told.image_size()?;
        let shapes = inspect(self.dir, size)?;
        let mut notes = Vec::new();
        let precision = self.precision(told)?;
        if precision == Precision::Int8 {
            notes.push(
                "its networks are int8: its embeddings differ a little from the fp32 model's".to_owned(),
            );
        }
        let size = shapes
            .image_size
            .or(size)
            .ok_or_else(|| missing("size", "the side of the pictures in pixels"))?;
        let dimension = told.number("dimension")?.or(shapes.dimension).or(told.embed_dim());
        let context = told.number("context_length")?.or(shapes.context_length).or(told.context_length());
        let weights = |of: &str| -> Vec<File> {
            let prefix = format!("{of}.onnx");
            // Weights that both share are listed once, with the image encoder.
            let others =
                ["image.onnx", "text.onnx", "tokenizer.json", "token_embedding.npy", "text_projection.npy"];
            self.measured
                .values()
                .filter(|file| !others.contains(&file.file.as_str()) && !file.file.ends_with(".hef"))
                .filter(|file| {
                    file.file.starts_with(&prefix) || (of == "image" && !file.file.starts_with("text.onnx"))
                })
                .cloned()
                .collect()
        };
        let onnx = |of: &str, file: File| {
            Some(Onnx { file: file.file, size: file.size, sha256: file.sha256, data: weights(of) })
        };
        let manifest = Manifest {
            format: manifest::FORMAT,
            name: name.to_owned(),
            description: told.text("description").unwrap_or_else(|| "Imported.".to_owned()),
            license: told.text("license").unwrap_or_else(|| "unknown".to_owned()),
            source: told.text("source"),
            precision: Some(precision),
            aliases: told.text("alias").into_iter().collect(),
            embedding_dimension: dimension
                .ok_or_else(|| missing("dimension", "how many components an embedding has"))?,
            image: Image { size, fit: told.fit(&mut notes)?, mean: told.mean()?, std: told.std()? },
            text: Text {
                context_length: context
                    .ok_or_else(|| missing("context-length", "how many tokens a text may have"))?,
                pad: told.number("pad")?.unwrap_or(0),
                tokenizer,
            },
            logit_scale: told.logit_scale(&mut notes)?,
            logit_bias: told.number("logit_bias")?,
            towers: Towers {
                image: TowerFiles { cpu: onnx("image", image), hailo8: None, hailo8l: None, hailo10h: None },
                text: TowerFiles { cpu: onnx("text", text), hailo8: None, hailo8l: None, hailo10h: None },
            },
        };
        Ok((manifest, notes))
    }

    /// Of the coarser network, as the files are; what is told must agree.
    fn precision(&self, told: &Told<'_>) -> Result<Precision, ChangeError> {
        let of = |file| onnx::check(&self.dir.join(file));
        let found = of("image.onnx")?.max(of("text.onnx")?);
        match told.text("precision") {
            Some(said) if said != found.as_str() => {
                Err(unsuitable(&format!("the networks are {found}, not {said:?}; leave the precision out")))
            }
            _ => Ok(found),
        }
    }

    fn add_hefs(&self, manifest: &mut Manifest) -> Result<(), ChangeError> {
        let beside = |name: &str| self.measured.get(name).cloned();
        for (tower, of) in [(&mut manifest.towers.image, "image"), (&mut manifest.towers.text, "text")] {
            let slots = [
                (&mut tower.hailo8, Platform::Hailo8),
                (&mut tower.hailo8l, Platform::Hailo8L),
                (&mut tower.hailo10h, Platform::Hailo10H),
            ];
            for (slot, platform) in slots {
                let Some(File { file, size, sha256 }) = beside(&format!("{of}-{}.hef", platform.key()))
                else {
                    continue;
                };
                let (token_embedding, text_projection) = match of {
                    "image" => (None, None),
                    _ => (beside("token_embedding.npy"), beside("text_projection.npy")),
                };
                if of == "text" && (token_embedding.is_none() || text_projection.is_none()) {
                    return Err(unsuitable(
                        "a HEF of a text encoder needs its token embedding table and its text projection beside it; give \
                         --token-embedding and --text-projection",
                    ));
                }
                *slot = Some(Hef { file, size, sha256, token_embedding, text_projection });
            }
        }
        Ok(())
    }
}

/// The name in the bundle of the file that comes under `key`.
fn file_name(key: &str) -> Result<String, ChangeError> {
    let plain = match key {
        "image" => Some("image.onnx".to_owned()),
        "text" => Some("text.onnx".to_owned()),
        "tokenizer" => Some("tokenizer.json".to_owned()),
        "token_embedding" => Some("token_embedding.npy".to_owned()),
        "text_projection" => Some("text_projection.npy".to_owned()),
        _ => None,
    };
    let data = || {
        let name = key.strip_prefix("image_data:").or_else(|| key.strip_prefix("text_data:"))?;
        (manifest::is_file_name(name) && name != manifest::FILE_NAME).then(|| name.to_owned())
    };
    let hef = || {
        let (tower, platform) = key.split_once('_')?;
        let platform: Platform = platform.parse().ok()?;
        (matches!(tower, "image" | "text") && platform != Platform::Cpu)
            .then(|| format!("{tower}-{}.hef", platform.key()))
    };
    plain.or_else(data).or_else(hef).ok_or_else(|| unsuitable(&format!("{key:?} is no file of a model")))
}

fn read_manifest(bundle: &Bundle) -> Result<Manifest, ChangeError> {
    let folder = bundle.tokenizer.path.parent().unwrap_or(Path::new("."));
    let bytes = yaml::load(&folder.join(manifest::FILE_NAME))?;
    yaml::read(&bytes, DuplicateKeyPolicy::Error).map_err(|error| unsuitable(&error.message))
}

fn unsuitable(what: &str) -> ChangeError {
    ChangeError::Unsuitable(what.to_owned())
}

pub(super) fn missing(option: &str, what: &str) -> ChangeError {
    ChangeError::MissingOption { option: format!("--{option}"), what: what.to_owned() }
}
