//! Reading and verifying a bundle.
use crate::clip::ImageSpec;
use std::path::PathBuf;
use thiserror::Error;

/// A verified model bundle.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Name, equal to the folder's.
    pub name: String,
    /// Numeric precision of the weights, such as `fp32`.
    pub precision: String,
    /// Names of the same vectors elsewhere, such as `ViT-B-32__openai`.
    pub aliases: Vec<String>,
    /// Components of an embedding.
    pub embedding_dimension: usize,
    /// Geometry of the image encoder's input.
    pub image: ImageSpec,
    /// Subtracted per channel, after scaling to 0…1.
    pub mean: [f32; 3],
    /// Divided by per channel.
    pub std: [f32; 3],
    /// Longest text in tokens, start and end included.
    pub context_length: usize,
    /// Token that fills a text up to a fixed length.
    pub pad_token: u32,
    /// `tokenizer.json`.
    pub tokenizer: PathBuf,
    /// Factor on the cosine, already exponentiated.
    pub logit_scale: f32,
    /// Bias of a sigmoid model (SigLIP).
    pub logit_bias: Option<f32>,
    /// The image encoder's artefacts.
    pub image_tower: Tower,
    /// The text encoder's artefacts.
    pub text_tower: Tower,
}

/// One encoder, in a form for each kind of backend. TODO
#[derive(Clone, Debug)]
pub struct Tower {
    /// ONNX for the CPU.
    pub cpu: Option<Artefact>,
}

/// A file of the bundle, with what is needed to trust it.
#[derive(Clone, Debug)]
pub struct Artefact {
    /// Where it is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its content.
    pub sha256: [u8; 32],
}

/// Why a bundle cannot be used.
#[derive(Debug, Error)]
pub enum BundleError {}
