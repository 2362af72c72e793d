//! The CPU backend over networks of the forms that exporters write.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test file uses what it needs")]
mod tiny_clip;

use hailo_clip::{
    backend::{Backend, BackendError, BackendKind, CpuOptions, Encoders},
    clip::{Embedding, Pixels, Tokens},
    model::{Bundle, Tower},
};
use tiny_clip::{Expected, assert_close, assert_same, bundle, fixture};

fn tiny(image: &str, text: &str) -> Bundle {
    bundle(&fixture(image), &fixture(text))
}

fn open(bundle: &Bundle) -> Result<Encoders, BackendError> {
    Encoders::on_cpu(bundle, CpuOptions { threads: Some(2), prepack_weights: Some(false) })
}

fn refusal(bundle: &Bundle) -> String {
    match open(bundle) {
        Err(BackendError::Unavailable(message)) => message,
        Err(error) => panic!("not a refusal: {error:?}"),
        Ok(_) => panic!("accepted"),
    }
}

fn embed_images(backend: &Encoders, pictures: &[Pixels]) -> Vec<Embedding> {
    backend.embed_images(&pictures.iter().collect::<Vec<_>>()).unwrap()
}

fn embed_texts(backend: &Encoders, texts: &[Tokens]) -> Vec<Embedding> {
    backend.embed_texts(&texts.iter().collect::<Vec<_>>()).unwrap()
}

#[test]
fn agrees_with_pytorch() {
    let expected = Expected::read();
    let (pictures, texts) = (expected.pictures(), expected.tokens());
    for (image, text) in [("image.onnx", "text.onnx"), ("image-batch-2.onnx", "text-2x12.onnx")] {
        let backend = open(&tiny(image, text)).unwrap();
        for size in 1..=pictures.len() {
            let embeddings: Vec<_> =
                pictures.chunks(size).flat_map(|chunk| embed_images(&backend, chunk)).collect();
            assert_same(&embeddings, &expected.image_embeddings);
        }
        for size in 1..=texts.len() {
            let embeddings: Vec<_> =
                texts.chunks(size).flat_map(|chunk| embed_texts(&backend, chunk)).collect();
            assert_same(&embeddings, &expected.text_embeddings);
        }
    }
}

#[test]
fn int8_points_where_fp32_does() {
    let expected = Expected::read();
    let (pictures, texts) = (expected.pictures(), expected.tokens());
    let backend = open(&tiny("image-int8.onnx", "text-int8.onnx")).unwrap();
    assert_close(&embed_images(&backend, &pictures), &expected.image_embeddings, 0.99);
    assert_close(&embed_texts(&backend, &texts), &expected.text_embeddings, 0.99);
}

#[test]
fn prepacked_and_mapped_weights_give_the_same() {
    let expected = Expected::read();
    let pictures = expected.pictures();
    for prepack_weights in [None, Some(false), Some(true)] {
        let options = CpuOptions { threads: Some(1), prepack_weights };
        let backend = Encoders::on_cpu(&tiny("image-mapped.onnx", "text.onnx"), options).unwrap();
        assert_same(&embed_images(&backend, &pictures), &expected.image_embeddings);
        assert_same(&embed_texts(&backend, &expected.tokens()), &expected.text_embeddings);
    }
}

#[test]
fn masks_padding_where_the_encoder_asks_for_a_mask() {
    let expected = Expected::read();
    let backend = open(&tiny("image.onnx", "text-masked.onnx")).unwrap();
    assert_same(&embed_texts(&backend, &expected.tokens()), &expected.masked_text_embeddings);
}

#[test]
fn keeps_padding_where_the_encoder_looks_at_it() {
    let expected = Expected::read();
    let backend = open(&tiny("image.onnx", "text-looks-at-padding.onnx")).unwrap();
    assert_same(&embed_texts(&backend, &expected.tokens()), &expected.looks_at_padding_text_embeddings);
}

#[test]
fn finds_the_embedding_among_several_outputs() {
    let expected = Expected::read();
    let backend = open(&tiny("image-several-outputs.onnx", "text.onnx")).unwrap();
    assert_same(&embed_images(&backend, &expected.pictures()), &expected.image_embeddings);
}

#[test]
fn an_empty_batch_has_no_embeddings() {
    let backend = open(&tiny("image.onnx", "text.onnx")).unwrap();
    assert_eq!(backend.embed_images(&[]), Ok(vec![]));
    assert_eq!(backend.embed_texts(&[]), Ok(vec![]));
}

#[test]
fn describes_itself() {
    let backend = open(&tiny("image.onnx", "text.onnx")).unwrap();
    assert_eq!(backend.description().kind, BackendKind::Cpu);
    assert_eq!(backend.description().device, "CPU, 2 threads");
}

#[test]
fn refuses_networks_that_are_not_what_the_bundle_says() {
    let good = || tiny("image.onnx", "text.onnx");
    let cases = [
        (tiny("whole.onnx", "text.onnx"), "only input"),
        (tiny("image.onnx", "whole.onnx"), "whole CLIP"),
        (tiny("text.onnx", "text.onnx"), "float32"),
        (tiny("image.onnx", "image.onnx"), "whole CLIP"),
        (Bundle { embedding_dimension: 16, ..good() }, "embedding_dimension"),
        (Bundle { context_length: 77, ..tiny("image.onnx", "text-2x12.onnx") }, "context_length"),
        (Bundle { context_length: 77, ..good() }, "trial input"),
        (Bundle { image_tower: Tower::default(), ..good() }, "clip.model"),
    ];
    for (bundle, expected) in cases {
        let message = refusal(&bundle);
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains("fixtures") && !message.contains('\n'), "{message}");
    }
    let mut larger = good();
    larger.image.size = 32;
    assert!(refusal(&larger).contains("image.size"));
}

#[test]
fn a_text_or_picture_of_another_model_is_an_error() {
    let backend = open(&tiny("image.onnx", "text.onnx")).unwrap();
    let large = Pixels::from_rgb(32, vec![0; 32 * 32 * 3]).unwrap();
    assert!(matches!(backend.embed_images(&[&large]), Err(BackendError::Inference(_))));
    let expected = Expected::read();
    assert_same(&embed_images(&backend, &expected.pictures()), &expected.image_embeddings);
}
