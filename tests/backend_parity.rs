//! A ViT-B/32 in full size agrees with PyTorch.
//!
//! Needs the 600 MB that `make vit-b32` exports, in the folder that `HAILO_CLIP_VIT_B32` names:
//! `make test` sees to both and runs these tests; a plain `cargo test` reports them as ignored.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{env, fs, path::PathBuf};

use hailo_clip::{
    backend::{Backend, CpuOptions, Encoders},
    clip::{Embedding, Pixels, Tokenizer, Tokens},
    model::{Bundle, Platform},
};
use serde::Deserialize;

const MINIMUM_COSINE: f32 = 0.9999;
const NEEDS_EXPORT: &str = "needs the network that `make vit-b32` exports";

fn folder() -> PathBuf {
    env::var_os("HAILO_CLIP_VIT_B32").map(PathBuf::from).expect(NEEDS_EXPORT)
}

fn open() -> (Bundle, Encoders) {
    let bundle = Bundle::open(&folder()).unwrap();
    bundle.verify(Platform::Cpu, Platform::Cpu).unwrap();
    let backend = Encoders::on_cpu(&bundle, CpuOptions::default()).unwrap();
    (bundle, backend)
}

/// The numbers of a C-ordered `.npy` file, as raw bytes.
fn npy(name: &str) -> Vec<u8> {
    let file = fs::read(folder().join("reference").join(name)).unwrap();
    assert_eq!(&file[..8], b"\x93NUMPY\x01\x00");
    file[10 + usize::from(u16::from_le_bytes([file[8], file[9]]))..].to_vec()
}

fn embeddings(name: &str) -> Vec<Embedding> {
    let numbers: Vec<f32> = npy(name).as_chunks().0.iter().copied().map(f32::from_le_bytes).collect();
    numbers.chunks_exact(512).map(|row| Embedding::normalize(row).unwrap()).collect()
}

fn assert_agrees(found: &[Embedding], expected: &[Embedding]) {
    assert_eq!(found.len(), expected.len());
    let cosines: Vec<f32> =
        found.iter().zip(expected).map(|(found, expected)| found.cosine(expected).unwrap()).collect();
    println!("cosines with PyTorch: {cosines:?}");
    assert!(cosines.iter().all(|&cosine| cosine >= MINIMUM_COSINE), "{cosines:?}");
}

/// Without this, agreement would prove nothing.
fn assert_apart(embeddings: &[Embedding]) {
    for (index, one) in embeddings.iter().enumerate() {
        for other in &embeddings[..index] {
            assert!(one.cosine(other).unwrap() < 0.99);
        }
    }
}

#[test]
#[ignore = "needs the network that `make vit-b32` exports"]
fn images_agree_with_pytorch() {
    let (_, backend) = open();
    let pixels: Vec<Pixels> = npy("images.npy")
        .chunks_exact(224 * 224 * 3)
        .map(|rgb| Pixels::from_rgb(224, rgb.to_vec()).unwrap())
        .collect();
    let expected = embeddings("image_embeddings.npy");
    assert_apart(&expected);
    for size in [1, 3, pixels.len()] {
        let found: Vec<Embedding> = pixels
            .chunks(size)
            .flat_map(|batch| backend.embed_images(&batch.iter().collect::<Vec<_>>()).unwrap())
            .collect();
        assert_agrees(&found, &expected);
    }
}

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<u32>,
}

/// PyTorch's texts are all padded to 77 tokens; singly they are trimmed most, in one batch not at all.
#[test]
#[ignore = "needs the network that `make vit-b32` exports"]
fn texts_agree_with_pytorch() {
    let (bundle, backend) = open();
    let json = fs::read(&bundle.tokenizer.path).unwrap();
    let tokenizer = Tokenizer::from_json(&json, bundle.context_length).unwrap();
    let texts: Vec<Text> =
        serde_json::from_slice(&fs::read(folder().join("reference/texts.json")).unwrap()).unwrap();
    let tokens: Vec<Tokens> = texts.iter().map(|text| tokenizer.encode(&text.text).unwrap()).collect();
    for (tokens, text) in tokens.iter().zip(&texts) {
        assert_eq!(tokens.ids(), text.ids, "{}", text.text);
    }
    assert_eq!(tokens.last().unwrap().ids().len(), bundle.context_length, "one text fills the context");
    let expected = embeddings("text_embeddings.npy");
    assert_apart(&expected);
    for size in [1, 4, tokens.len()] {
        let found: Vec<Embedding> = tokens
            .chunks(size)
            .flat_map(|batch| backend.embed_texts(&batch.iter().collect::<Vec<_>>()).unwrap())
            .collect();
        assert_agrees(&found, &expected);
    }
}
