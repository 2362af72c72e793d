//! `model.yaml`: its keys as written, and their way into a [`Bundle`].

use std::{fmt::Display, ops::RangeInclusive, path::Path};

use serde::{Deserialize, Serialize};
use serde_saphyr::DuplicateKeyPolicy;

use super::{
    Artefact, Bundle, BundleError, HefEncoder, OnnxEncoder, Precision, Tower, TowerKind,
    bundle::precision_of, search::is_bundle_name,
};
use crate::{
    clip::{Fit, ImageSpec},
    yaml,
};

/// Name of the file that makes a folder a bundle.
pub(super) const FILE_NAME: &str = "model.yaml";

/// The format's version that is read here.
pub(super) const FORMAT: u32 = 1;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) format: u32,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) license: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) precision: Option<Precision>,
    #[serde(default)]
    pub(super) aliases: Vec<String>,
    pub(super) embedding_dimension: usize,
    pub(super) image: Image,
    pub(super) text: Text,
    pub(super) logit_scale: f32,
    #[serde(default)]
    pub(super) logit_bias: Option<f32>,
    pub(super) towers: Towers,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Image {
    pub(super) size: u32,
    pub(super) fit: ImageFit,
    pub(super) mean: [f32; 3],
    pub(super) std: [f32; 3],
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ImageFit {
    Stretch,
    Crop,
    Pad,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Text {
    pub(super) context_length: usize,
    pub(super) pad: u32,
    pub(super) tokenizer: File,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Towers {
    pub(super) image: TowerFiles,
    pub(super) text: TowerFiles,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TowerFiles {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu: Option<Onnx>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hailo8: Option<Hef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hailo8l: Option<Hef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hailo10h: Option<Hef>,
}

// `deny_unknown_fields` excludes `flatten`, so both repeat the three keys of `File`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Onnx {
    pub(super) file: String,
    pub(super) size: u64,
    pub(super) sha256: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) data: Vec<File>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hef {
    pub(super) file: String,
    pub(super) size: u64,
    pub(super) sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token_embedding: Option<File>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text_projection: Option<File>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) file: String,
    pub(super) size: u64,
    pub(super) sha256: String,
}

/// The bundle that `bytes` describe, in the folder `dir` of the name `folder_name`.
pub(super) fn parse(bytes: &[u8], folder_name: &str, dir: &Path) -> Result<Bundle, BundleError> {
    let invalid =
        |line, message| BundleError::InvalidManifest { name: folder_name.to_owned(), line, message };
    let manifest: Manifest = yaml::read(bytes, DuplicateKeyPolicy::Error)
        .map_err(|error| invalid(error.position.map(|position| position.line), error.message))?;
    manifest.into_bundle(folder_name, dir).map_err(|message| invalid(None, message))
}

impl Manifest {
    /// As it is written to disk.
    pub(super) fn to_yaml(&self) -> String {
        serde_saphyr::to_string(self).expect("plain structs of texts and numbers serialise")
    }

    fn into_bundle(self, folder_name: &str, dir: &Path) -> Result<Bundle, String> {
        if self.format != FORMAT {
            return Err(format!("format {} is not known here, only {FORMAT}", self.format));
        }
        if !is_bundle_name(&self.name) || self.name != folder_name {
            return Err(format!("name is {:?}, but the folder is {folder_name:?}", self.name));
        }
        in_range("embedding_dimension", self.embedding_dimension, 1..=8192)?;
        in_range("image.size", self.image.size, 16..=1024)?;
        in_range("text.context_length", self.text.context_length, 4..=512)?;
        for channel in 0..3 {
            in_range("image.mean", self.image.mean[channel], -1000.0..=1000.0)?;
            in_range("image.std", self.image.std[channel], 1e-6..=1000.0)?;
        }
        in_range("logit_scale", self.logit_scale, 1e-6..=10_000.0)?;
        if let Some(bias) = self.logit_bias {
            in_range("logit_bias", bias, -1000.0..=1000.0)?;
        }
        let image_tower = self.towers.image.into_tower(TowerKind::Image, dir)?;
        let text_tower = self.towers.text.into_tower(TowerKind::Text, dir)?;
        Ok(Bundle {
            name: self.name,
            description: self.description,
            license: self.license,
            source: self.source,
            precision: precision_of(self.precision, &image_tower, &text_tower),
            aliases: self.aliases,
            embedding_dimension: self.embedding_dimension,
            image: ImageSpec { size: self.image.size, fit: self.image.fit.into() },
            mean: self.image.mean,
            std: self.image.std,
            context_length: self.text.context_length,
            pad_token: self.text.pad,
            tokenizer: self.text.tokenizer.into_artefact(dir)?,
            logit_scale: self.logit_scale,
            logit_bias: self.logit_bias,
            image_tower,
            text_tower,
        })
    }
}

impl From<ImageFit> for Fit {
    fn from(fit: ImageFit) -> Self {
        match fit {
            ImageFit::Stretch => Self::Stretch,
            ImageFit::Crop => Self::Crop,
            ImageFit::Pad => Self::Pad,
        }
    }
}

impl TowerFiles {
    fn into_tower(self, kind: TowerKind, dir: &Path) -> Result<Tower, String> {
        let hef = |hef: Option<Hef>| hef.map(|hef| hef.into_encoder(kind, dir)).transpose();
        let tower = Tower {
            cpu: self.cpu.map(|onnx| onnx.into_encoder(dir)).transpose()?,
            hailo8: hef(self.hailo8)?,
            hailo8l: hef(self.hailo8l)?,
            hailo10h: hef(self.hailo10h)?,
        };
        if tower == Tower::default() { Err(format!("towers.{kind} has no artefact")) } else { Ok(tower) }
    }
}

impl Onnx {
    fn into_encoder(self, dir: &Path) -> Result<OnnxEncoder, String> {
        let onnx = File { file: self.file, size: self.size, sha256: self.sha256 };
        Ok(OnnxEncoder {
            onnx: onnx.into_artefact(dir)?,
            data: self.data.into_iter().map(|file| file.into_artefact(dir)).collect::<Result<_, _>>()?,
        })
    }
}

impl Hef {
    fn into_encoder(self, kind: TowerKind, dir: &Path) -> Result<HefEncoder, String> {
        if kind == TowerKind::Image && (self.token_embedding.is_some() || self.text_projection.is_some()) {
            return Err("towers.image takes no token_embedding and no text_projection".to_owned());
        }
        let hef = File { file: self.file, size: self.size, sha256: self.sha256 };
        let artefact = |file: Option<File>| file.map(|file| file.into_artefact(dir)).transpose();
        Ok(HefEncoder {
            hef: hef.into_artefact(dir)?,
            token_embedding: artefact(self.token_embedding)?,
            text_projection: artefact(self.text_projection)?,
        })
    }
}

impl File {
    fn into_artefact(self, dir: &Path) -> Result<Artefact, String> {
        if !is_file_name(&self.file) {
            return Err(format!(
                "{:?} is not a plain file name: letters, digits, '.', '_' and '-', not starting with '.' or '-'",
                self.file
            ));
        }
        let sha256 = parse_sha256(&self.sha256)
            .ok_or_else(|| format!("the sha256 of {} is not 64 hexadecimal digits", self.file))?;
        if self.size == 0 {
            return Err(format!("the size of {} is 0", self.file));
        }
        Ok(Artefact { path: dir.join(self.file), size: self.size, sha256 })
    }
}

/// Within the bundle's folder by its form alone.
pub(super) fn is_file_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.len() <= 255
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

pub(super) fn parse_sha256(hex: &str) -> Option<[u8; 32]> {
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut digest = [0; 32];
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(digest)
}

/// NaN and the infinities are in no range.
fn in_range<T: PartialOrd + Display>(key: &str, value: T, range: RangeInclusive<T>) -> Result<(), String> {
    if range.contains(&value) {
        Ok(())
    } else {
        Err(format!("{key} is {value}; it must be {} to {}", range.start(), range.end()))
    }
}
