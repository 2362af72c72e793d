//! Damaged networks are errors: never a panic, never the end of the process.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test file uses what it needs")]
mod tiny_clip;

use std::{fs, path::Path};

use hailo_clip::backend::{Backend, BackendError, CpuOptions, Encoders};
use proptest::{prelude::*, test_runner::Config};
use tiny_clip::{Expected, bundle, fixture};

/// Opens `image` as an image encoder and, if that succeeds, runs it.
fn try_image(image: &Path) -> Result<(), BackendError> {
    let options = CpuOptions { threads: Some(1), prepack_weights: Some(false) };
    let backend = Encoders::on_cpu(&bundle(image, &fixture("text.onnx")), options)?;
    for picture in Expected::read().pictures() {
        backend.embed_images(&[&picture])?;
    }
    Ok(())
}

fn try_bytes(bytes: &[u8]) -> Result<(), BackendError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.onnx");
    fs::write(&path, bytes).unwrap();
    try_image(&path)
}

#[track_caller]
fn assert_refused(result: Result<(), BackendError>) {
    match result {
        Err(BackendError::Unavailable(message)) => {
            assert!(!message.contains('\n') && !message.contains("fixtures"), "{message}");
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn refuses_networks_that_cannot_work() {
    for name in [
        "unknown-operator.onnx",
        "cycle.onnx",
        "no-nodes.onnx",
        "wrong-output.onnx",
        "wrong-shapes.onnx",
        "huge-initializer.onnx",
        "data-elsewhere.onnx",
        "missing.onnx",
        "expected.json",
        "generate.py",
    ] {
        let result = try_image(&fixture(name));
        println!("{name}: {result:?}");
        assert_refused(result);
    }
}

#[test]
fn refuses_truncated_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image-mapped.onnx");
    fs::copy(fixture("image-mapped.onnx"), &path).unwrap();
    assert_refused(try_image(&path));
    let weights = fs::read(fixture("image-mapped.onnx.data")).unwrap();
    fs::write(folder.path().join("image-mapped.onnx.data"), &weights[..weights.len() - 1]).unwrap();
    assert_refused(try_image(&path));
}

#[test]
fn refuses_every_truncation() {
    let whole = fs::read(fixture("image.onnx")).unwrap();
    for length in (0..whole.len()).step_by(whole.len() / 100) {
        assert_refused(try_bytes(&whole[..length]));
    }
}

proptest! {
    #![proptest_config(Config { cases: 300, failure_persistence: None, ..Config::default() })]

    /// Damage may go unnoticed (a name, a weight): what counts is that there is a result.
    #[test]
    fn survives_flipped_bits(flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..4)) {
        let mut bytes = fs::read(fixture("image-mapped.onnx")).unwrap();
        for (position, bit) in flips {
            let position = position.index(bytes.len());
            bytes[position] ^= 1 << bit;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::copy(fixture("image-mapped.onnx.data"), folder.path().join("image-mapped.onnx.data")).unwrap();
        let path = folder.path().join("image-mapped.onnx");
        fs::write(&path, bytes).unwrap();
        let _ = try_image(&path);
    }

    #[test]
    fn refuses_random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        assert_refused(try_bytes(&bytes));
    }
}
