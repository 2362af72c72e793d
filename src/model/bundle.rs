//! The bundle as the program uses it: read, checked for sense, not yet for damage.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use super::{BundleError, Precision, manifest, onnx, search};
use crate::{clip::ImageSpec, yaml};

/// A model bundle whose `model.yaml` is in order.
///
/// Its other files are not touched before [`Bundle::verify`], unless `model.yaml` leaves the precision to them.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    /// Name, equal to the folder's.
    pub name: String,
    /// One sentence about the model.
    pub description: String,
    /// Licence of the weights, an SPDX expression.
    pub license: String,
    /// Where it came from, an address or a sentence.
    pub source: Option<String>,
    /// Of the ONNX encoders, or of the coarser of the two: what `model.yaml` says, else what the files are.
    /// Without ONNX it is that of HEFs.
    pub precision: Precision,
    /// Names of the same vectors elsewhere, such as `ViT-B-32__openai`.
    pub aliases: Vec<String>,
    /// Components of an embedding.
    pub embedding_dimension: usize,
    /// Geometry of the image encoder's input.
    pub image: ImageSpec,
    /// Subtracted per channel (red, green, blue), after scaling to 0…1.
    pub mean: [f32; 3],
    /// Divided by per channel (red, green, blue).
    pub std: [f32; 3],
    /// Longest text in tokens, start and end included.
    pub context_length: usize,
    /// Token that fills a text up to a fixed length.
    pub pad_token: u32,
    /// `tokenizer.json`.
    pub tokenizer: Artefact,
    /// Factor on the cosine, already exponentiated.
    pub logit_scale: f32,
    /// Bias of a sigmoid model (SigLIP).
    pub logit_bias: Option<f32>,
    /// The image encoder's artefacts.
    pub image_tower: Tower,
    /// The text encoder's artefacts.
    pub text_tower: Tower,
}

/// One encoder, in a form for each platform; at least one is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tower {
    /// For the CPU.
    pub cpu: Option<OnnxEncoder>,
    /// For a Hailo-8.
    pub hailo8: Option<HefEncoder>,
    /// For a Hailo-8L.
    pub hailo8l: Option<HefEncoder>,
    /// For a Hailo-10H.
    pub hailo10h: Option<HefEncoder>,
}

/// An encoder as an ONNX graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnnxEncoder {
    /// The graph.
    pub onnx: Artefact,
    /// Files of weights that the graph refers to by name; they lie beside it.
    pub data: Vec<Artefact>,
}

/// An encoder compiled for a Hailo NPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HefEncoder {
    /// The compiled network.
    pub hef: Artefact,
    /// Text encoder: table from token to input vector, applied on the CPU.
    pub token_embedding: Option<Artefact>,
    /// Text encoder: matrix from the network's output to the embedding, applied on the CPU.
    pub text_projection: Option<Artefact>,
}

/// A file of the bundle, with what is needed to trust it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artefact {
    /// Where it is: a file right within the bundle's folder.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its content.
    pub sha256: [u8; 32],
}

/// Hardware that an artefact is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Any CPU.
    Cpu,
    /// Hailo-8.
    Hailo8,
    /// Hailo-8L.
    Hailo8L,
    /// Hailo-10H.
    Hailo10H,
}

impl Platform {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cpu, Self::Hailo8, Self::Hailo8L, Self::Hailo10H];

    /// Its key in `model.yaml`.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Hailo8 => "hailo8",
            Self::Hailo8L => "hailo8l",
            Self::Hailo10H => "hailo10h",
        }
    }
}

impl FromStr for Platform {
    type Err = String;

    fn from_str(key: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|platform| platform.key() == key)
            .ok_or_else(|| "cpu, hailo8, hailo8l or hailo10h".to_owned())
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "the CPU",
            Self::Hailo8 => "Hailo-8",
            Self::Hailo8L => "Hailo-8L",
            Self::Hailo10H => "Hailo-10H",
        })
    }
}

impl Tower {
    /// What the file of its ONNX is; `None` without one, or if that cannot be read, which [`Bundle::verify`] tells.
    pub(super) fn precision(&self) -> Option<Precision> {
        onnx::check(&self.cpu.as_ref()?.onnx.path).ok()
    }
}

/// The precision of a bundle with these encoders, if `model.yaml` says this of its ONNX or nothing.
pub(super) fn precision_of(said: Option<Precision>, image: &Tower, text: &Tower) -> Precision {
    if image.cpu.is_none() && text.cpu.is_none() {
        return Precision::Int8;
    }
    said.or_else(|| image.precision().max(text.precision())).unwrap_or(Precision::Fp32)
}

impl Bundle {
    /// The precision that its embeddings have when the encoders run on these platforms: of the coarser one.
    #[must_use]
    pub fn precision_on(&self, image: Platform, text: Platform) -> Precision {
        if (image, text) == (Platform::Cpu, Platform::Cpu) { self.precision } else { Precision::Int8 }
    }

    /// Reads the bundle `name` from the first of `search_dirs` that has it.
    ///
    /// # Errors
    /// [`BundleError::NotInstalled`] names what is there instead; else as [`open`](Self::open).
    pub fn find(name: &str, search_dirs: &[PathBuf]) -> Result<Self, BundleError> {
        Self::open(&search::locate(name, search_dirs)?)
    }

    /// Reads the bundle in the folder `dir`.
    ///
    /// # Errors
    /// `model.yaml` is missing, unreadable, or not in order.
    pub fn open(dir: &Path) -> Result<Self, BundleError> {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = yaml::load(&dir.join(manifest::FILE_NAME)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                BundleError::Missing { name: name.clone(), file: manifest::FILE_NAME.to_owned() }
            }
            kind => BundleError::Unreadable {
                name: name.clone(),
                file: manifest::FILE_NAME.to_owned(),
                reason: kind.to_string(),
            },
        })?;
        manifest::parse(&bytes, &name, dir)
    }
}
