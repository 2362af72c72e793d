//! The tiny CLIP of `tests/fixtures/onnx`: 16 × 16 pixels, 12 tokens, 8 dimensions.

use std::{
    fs,
    path::{Path, PathBuf},
};

use hailo_clip::{
    clip::{Embedding, Fit, ImageSpec, Pixels, Tokenizer, Tokens},
    model::{Artefact, Bundle, OnnxEncoder, Precision, Tower},
};
use serde::Deserialize;

/// A file among the fixtures.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx").join(name)
}

/// A bundle of two networks.
pub(crate) fn bundle(image: &Path, text: &Path) -> Bundle {
    Bundle {
        name: "tiny".to_owned(),
        description: "a tiny CLIP".to_owned(),
        license: "MIT".to_owned(),
        source: None,
        precision: Precision::Fp32,
        aliases: Vec::new(),
        embedding_dimension: 8,
        image: ImageSpec { size: 16, fit: Fit::Stretch },
        mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
        std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
        context_length: 12,
        pad_token: 0,
        tokenizer: artefact(&fixture("tokenizer.json")),
        logit_scale: 100.0,
        logit_bias: None,
        image_tower: tower(image),
        text_tower: tower(text),
    }
}

fn tower(onnx: &Path) -> Tower {
    Tower { cpu: Some(OnnxEncoder { onnx: artefact(onnx), data: Vec::new() }), ..Tower::default() }
}

fn artefact(path: &Path) -> Artefact {
    Artefact { path: path.to_owned(), size: 0, sha256: [0; 32] }
}

/// PyTorch's results.
#[derive(Deserialize)]
pub(crate) struct Expected {
    pictures: Vec<Vec<u8>>,
    texts: Vec<String>,
    tokens: Vec<Vec<u32>>,
    pub(crate) image_embeddings: Vec<Vec<f32>>,
    pub(crate) text_embeddings: Vec<Vec<f32>>,
    pub(crate) masked_text_embeddings: Vec<Vec<f32>>,
    pub(crate) looks_at_padding_text_embeddings: Vec<Vec<f32>>,
}

impl Expected {
    pub(crate) fn read() -> Self {
        serde_json::from_slice(&fs::read(fixture("expected.json")).unwrap()).unwrap()
    }

    pub(crate) fn pictures(&self) -> Vec<Pixels> {
        self.pictures.iter().map(|rgb| Pixels::from_rgb(16, rgb.clone()).unwrap()).collect()
    }

    pub(crate) fn tokens(&self) -> Vec<Tokens> {
        let json = fs::read(fixture("tokenizer.json")).unwrap();
        let tokenizer = Tokenizer::from_json(&json, 12).unwrap();
        let tokens: Vec<Tokens> = self.texts.iter().map(|text| tokenizer.encode(text).unwrap()).collect();
        let ids: Vec<&[u32]> = tokens.iter().map(Tokens::ids).collect();
        assert_eq!(ids, self.tokens, "the fixtures do not fit together");
        tokens
    }
}

/// Asserts that `embeddings` point where PyTorch's do.
#[track_caller]
pub(crate) fn assert_same(embeddings: &[Embedding], expected: &[Vec<f32>]) {
    assert_close(embeddings, expected, 0.9999);
}

/// Asserts that no embedding's cosine to PyTorch's is below `least`.
#[track_caller]
pub(crate) fn assert_close(embeddings: &[Embedding], expected: &[Vec<f32>], least: f32) {
    assert_eq!(embeddings.len(), expected.len());
    for (index, (embedding, expected)) in embeddings.iter().zip(expected).enumerate() {
        let cosine = embedding.cosine(&Embedding::normalize(expected).unwrap()).unwrap();
        assert!(cosine >= least, "embedding {index}: cosine {cosine}");
    }
}
