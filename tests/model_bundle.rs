//! Bundles on disk: found by name, read, verified.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use hailo_clip::{
    clip::Fit,
    model::{Bundle, BundleError, Platform, Precision, TowerKind, is_bundle_name, list},
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

fn file(name: &str, content: &[u8]) -> String {
    format!("file: {name}, size: {}, sha256: {}", content.len(), sha256(content))
}

/// `model.yaml` of the bundle that [`install`] makes.
fn manifest(name: &str) -> String {
    format!(
        "\
format: 1
name: {name}
description: A bundle of nothing
license: MIT
precision: fp32
aliases: [ViT-B-32__openai]
embedding_dimension: 128
image: {{size: 224, fit: crop, mean: [0.48, 0.46, 0.41], std: [0.27, 0.26, 0.28]}}
text:
  context_length: 77
  pad: 0
  tokenizer: {{{tokenizer}}}
logit_scale: 100
logit_bias: null
towers:
  image:
    cpu: {{{image}, data: [{{{weights}}}]}}
  text:
    cpu: {{{text}}}
    hailo10h: {{{hef}, token_embedding: {{{table}}}}}
",
        tokenizer = file("tokenizer.json", b"a tokenizer"),
        image = file("image.onnx", b"an image encoder"),
        weights = file("image.data", b"its weights"),
        text = file("text.onnx", b"a text encoder"),
        hef = file("text.hef", b"a compiled text encoder"),
        table = file("table.npy", b"a table"),
    )
}

/// A whole bundle, but for what the Hailo needs.
fn install(models: &Path, name: &str) -> PathBuf {
    let dir = models.join(name);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("model.yaml"), manifest(name)).unwrap();
    fs::write(dir.join("tokenizer.json"), "a tokenizer").unwrap();
    fs::write(dir.join("image.onnx"), "an image encoder").unwrap();
    fs::write(dir.join("image.data"), "its weights").unwrap();
    fs::write(dir.join("text.onnx"), "a text encoder").unwrap();
    dir
}

struct Installed {
    models: TempDir,
    dir: PathBuf,
}

fn installed() -> Installed {
    let models = tempfile::tempdir().unwrap();
    let dir = install(models.path(), "tiny");
    Installed { models, dir }
}

impl Installed {
    fn verify(&self) -> Result<(), BundleError> {
        Bundle::open(&self.dir).unwrap().verify(Platform::Cpu, Platform::Cpu)
    }

    /// The error of a verification, which names no folder.
    #[track_caller]
    fn refused(&self) -> String {
        let error = self.verify().expect_err("the bundle is damaged").to_string();
        assert!(!error.contains('/'), "{error}");
        error
    }
}

/// The error of a bundle with this `model.yaml`.
#[track_caller]
fn manifest_error(text: &str) -> String {
    let installed = installed();
    fs::write(installed.dir.join("model.yaml"), text).unwrap();
    let error = Bundle::open(&installed.dir).expect_err(text).to_string();
    assert!(!error.contains(installed.models.path().to_str().unwrap()), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

#[test]
fn a_bundle_is_read() {
    let installed = installed();
    let bundle = Bundle::open(&installed.dir).unwrap();
    assert_eq!(bundle.name, "tiny");
    assert_eq!(bundle.license, "MIT");
    assert_eq!(bundle.aliases, ["ViT-B-32__openai"]);
    assert_eq!(bundle.embedding_dimension, 128);
    assert_eq!((bundle.image.size, bundle.image.fit), (224, Fit::Crop));
    assert_eq!(bundle.std, [0.27, 0.26, 0.28]);
    assert_eq!((bundle.context_length, bundle.pad_token), (77, 0));
    assert_eq!((bundle.logit_scale, bundle.logit_bias), (100.0, None));
    assert_eq!(bundle.tokenizer.path, installed.dir.join("tokenizer.json"));
    let image = bundle.image_tower.cpu.unwrap();
    assert_eq!(image.onnx.path, installed.dir.join("image.onnx"));
    assert_eq!(image.data[0].path, installed.dir.join("image.data"));
    let hailo = bundle.text_tower.hailo10h.unwrap();
    assert_eq!(hailo.token_embedding.unwrap().size, 7);
    assert_eq!(hailo.text_projection, None);
}

#[test]
fn the_digest_follows_what_decides_embeddings_and_nothing_else() {
    let installed = installed();
    let digest_of = |text: &str, platform, fit| {
        fs::write(installed.dir.join("model.yaml"), text).unwrap();
        Bundle::open(&installed.dir).unwrap().digest(platform, fit)
    };
    let text = manifest("tiny");
    let digest = digest_of(&text, Platform::Cpu, Fit::Crop);
    assert_eq!(digest.len(), 64);
    for (old, new) in [("logit_scale: 100", "logit_scale: 50"), ("license: MIT", "license: Apache-2.0")] {
        assert!(text.contains(old), "{old}");
        assert_eq!(digest_of(&text.replace(old, new), Platform::Cpu, Fit::Crop), digest, "{new}");
    }
    let altered = sha256(b"another file");
    let mut seen = vec![digest.clone()];
    for content in [&b"a tokenizer"[..], b"an image encoder", b"its weights", b"a text encoder"] {
        seen.push(digest_of(&text.replace(&sha256(content), &altered), Platform::Cpu, Fit::Crop));
    }
    seen.push(digest_of(&text.replace("mean: [0.48", "mean: [0.5"), Platform::Cpu, Fit::Crop));
    seen.push(digest_of(&text, Platform::Cpu, Fit::Pad));
    seen.push(digest_of(&text, Platform::Hailo10H, Fit::Crop));
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count, "each has a digest of its own");
    let table = digest_of(&text.replace(&sha256(b"a table"), &altered), Platform::Cpu, Fit::Crop);
    assert_eq!(table, digest, "what other hardware needs is no part of it");
}

#[test]
fn only_the_artefacts_that_will_be_used_have_to_be_there() {
    let installed = installed();
    installed.verify().unwrap();
    let bundle = Bundle::open(&installed.dir).unwrap();

    let error = bundle.verify(Platform::Cpu, Platform::Hailo10H).unwrap_err();
    assert_eq!(error, BundleError::Missing { name: "tiny".into(), file: "text.hef".into() });
    fs::write(installed.dir.join("text.hef"), "a compiled text encoder").unwrap();
    let error = bundle.verify(Platform::Cpu, Platform::Hailo10H).unwrap_err();
    assert_eq!(error, BundleError::Missing { name: "tiny".into(), file: "table.npy".into() });
    fs::write(installed.dir.join("table.npy"), "a table").unwrap();
    bundle.verify(Platform::Cpu, Platform::Hailo10H).unwrap();

    let error = bundle.verify(Platform::Hailo8L, Platform::Cpu).unwrap_err();
    assert_eq!(
        error,
        BundleError::NoEncoder { name: "tiny".into(), tower: TowerKind::Image, platform: Platform::Hailo8L }
    );
    assert_eq!(
        error.to_string(),
        "model tiny has no image encoder for Hailo-8L; choose another backend or another model"
    );
}

#[test]
fn every_missing_file_is_named() {
    for file in ["tokenizer.json", "image.onnx", "image.data", "text.onnx"] {
        let installed = installed();
        fs::remove_file(installed.dir.join(file)).unwrap();
        assert_eq!(installed.refused(), format!("model tiny: {file} is missing; reinstall the model"));
    }
}

#[test]
fn every_truncated_file_is_named() {
    for (file, size) in [("tokenizer.json", 11), ("image.onnx", 16), ("image.data", 11), ("text.onnx", 14)] {
        let installed = installed();
        fs::write(installed.dir.join(file), "cut").unwrap();
        assert_eq!(
            installed.refused(),
            format!("model tiny: {file} has 3 bytes instead of {size}, it is truncated; reinstall the model")
        );
    }
}

#[test]
fn every_altered_file_is_named() {
    for file in ["tokenizer.json", "image.onnx", "image.data", "text.onnx"] {
        let installed = installed();
        let path = installed.dir.join(file);
        let mut content = fs::read(&path).unwrap();
        *content.last_mut().unwrap() ^= 1;
        fs::write(&path, content).unwrap();
        assert_eq!(
            installed.refused(),
            format!("model tiny: {file} is altered or damaged (its SHA-256 differs); reinstall the model")
        );
    }
}

/// Content larger than one read, of which the last byte counts.
#[test]
fn large_files_are_verified_to_the_end() {
    let installed = installed();
    let mut content = vec![7; (3 << 20) + 1];
    let manifest =
        manifest("tiny").replace(&file("text.onnx", b"a text encoder"), &file("text.onnx", &content));
    fs::write(installed.dir.join("model.yaml"), manifest).unwrap();
    fs::write(installed.dir.join("text.onnx"), &content).unwrap();
    installed.verify().unwrap();
    *content.last_mut().unwrap() = 8;
    fs::write(installed.dir.join("text.onnx"), &content).unwrap();
    assert!(installed.refused().contains("text.onnx is altered"));
}

#[test]
fn weights_that_nothing_vouches_for_are_refused() {
    let bundle = installed();
    fs::write(bundle.dir.join("notes.txt"), "harmless").unwrap();
    bundle.verify().unwrap();
    for name in ["text.onnx.data", "text.onnx_data", "weights.data_1"] {
        fs::write(bundle.dir.join(name), "weights").unwrap();
        assert!(bundle.refused().contains(&format!("{name} is not listed")), "{name}");
        fs::remove_file(bundle.dir.join(name)).unwrap();
    }
    bundle.verify().unwrap();
}

#[test]
fn links_stay_within_the_bundle() {
    let installed = installed();
    let path = installed.dir.join("text.onnx");

    let outside = installed.models.path().join("elsewhere.onnx");
    fs::rename(&path, &outside).unwrap();
    symlink(&outside, &path).unwrap();
    assert!(installed.refused().contains("text.onnx is not a plain file within the bundle"));

    let inside = installed.dir.join("text-v2.onnx");
    fs::rename(&outside, &inside).unwrap();
    fs::remove_file(&path).unwrap();
    symlink("text-v2.onnx", &path).unwrap();
    installed.verify().unwrap();
}

#[test]
fn a_folder_is_no_artefact() {
    let installed = installed();
    let path = installed.dir.join("text.onnx");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(installed.refused().contains("text.onnx is not a plain file within the bundle"));
}

#[test]
fn bundles_are_found_by_name_in_the_first_folder_that_has_them() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let missing = first.path().join("none");
    let dirs = [missing, first.path().to_owned(), second.path().to_owned()];
    install(first.path(), "both");
    install(second.path(), "both");
    install(second.path(), "alpha");
    fs::create_dir(first.path().join("alpha")).unwrap();
    fs::create_dir(second.path().join("no-bundle")).unwrap();

    assert_eq!(list(&dirs), ["alpha", "both"]);
    let of = |name| Bundle::find(name, &dirs).unwrap().tokenizer.path;
    assert!(of("both").starts_with(first.path()));
    assert!(of("alpha").starts_with(second.path()));

    let error = Bundle::find("clip-vit-b-32", &dirs).unwrap_err();
    assert_eq!(error.to_string(), "model clip-vit-b-32 is not installed; installed: alpha, both");
    let error = Bundle::find("demo", &[]).unwrap_err();
    assert_eq!(error.to_string(), "model demo is not installed; no model is installed");
}

#[test]
fn names_lead_nowhere_else() {
    let installed = installed();
    let dirs = [installed.models.path().join("tiny")];
    for name in
        ["", ".", "..", "../tiny", "/tiny", "tiny/", "Tiny", "-tiny", ".tiny", "tin y", "tiny\0", "tíny"]
    {
        assert!(!is_bundle_name(name), "{name:?}");
        assert_eq!(Bundle::find(name, &dirs).unwrap_err(), BundleError::InvalidName(name.to_owned()));
    }
    for name in ["demo", "clip-vit-b-32", "clip-resnet-50x4", "siglip2.so400m_384", "8bit"] {
        assert!(is_bundle_name(name), "{name}");
    }
    assert!(!is_bundle_name(&"a".repeat(65)));
}

#[test]
fn values_out_of_range_are_named() {
    for (from, to, expected) in [
        ("license: MIT\n", "", "the key license is missing"),
        ("format: 1", "format: 2", "format 2 is not known here, only 1"),
        ("name: tiny", "name: other", "name is \"other\", but the folder is \"tiny\""),
        ("dimension: 128", "dimension: 0", "embedding_dimension is 0; it must be 1 to 8192"),
        ("dimension: 128", "dimension: 8193", "embedding_dimension is 8193; it must be 1 to 8192"),
        ("size: 224", "size: 15", "image.size is 15; it must be 16 to 1024"),
        ("length: 77", "length: 3", "text.context_length is 3; it must be 4 to 512"),
        ("length: 77", "length: 513", "text.context_length is 513; it must be 4 to 512"),
        ("std: [0.27", "std: [0", "image.std is 0; it must be"),
        ("std: [0.27", "std: [.nan", "image.std is NaN; it must be"),
        ("mean: [0.48", "mean: [.inf", "image.mean is inf; it must be"),
        ("logit_scale: 100", "logit_scale: 0", "logit_scale is 0; it must be"),
        ("logit_scale: 100", "logit_scale: -1", "logit_scale is -1; it must be"),
        ("logit_bias: null", "logit_bias: .nan", "logit_bias is NaN; it must be"),
        ("file: text.onnx", "file: ../text.onnx", "\"../text.onnx\" is not a plain file name"),
        ("file: text.onnx", "file: /etc/passwd", "\"/etc/passwd\" is not a plain file name"),
        ("file: text.onnx", "file: ..", "\"..\" is not a plain file name"),
        ("file: text.onnx", "file: .hidden", "\".hidden\" is not a plain file name"),
        ("size: 14,", "size: 0,", "the size of text.onnx is 0"),
    ] {
        let text = manifest("tiny").replacen(from, to, 1);
        assert_ne!(text, manifest("tiny"), "{from}");
        let error = manifest_error(&text);
        assert!(error.starts_with(&format!("model tiny: model.yaml: {expected}")), "{error}");
    }
}

#[test]
fn what_breaks_the_format_is_told_with_its_line() {
    for (from, to, line, expected) in [
        ("precision:", "precison:", 5, "unknown key"),
        ("precision: fp32", "precision: fp64", 5, "\"fp64\" is none of fp32, fp16, int8"),
        ("format: 1", "format: one", 1, ""),
        ("dimension: 128", "dimension: -1", 7, "expected a whole number, 0 or more"),
        ("dimension: 128", "dimension: 99999999999999999999", 7, ""),
        ("fit: crop", "fit: squeeze", 8, "\"squeeze\" is none of stretch, crop, pad"),
        ("mean: [0.48, 0.46", "mean: [0.48", 8, ""),
        ("license: MIT\n", "license: MIT\nlicense: MIT\n", 5, "the key license is here for the second time"),
        ("    hailo10h: {", "    hailo9: {", 20, "unknown key"),
        ("towers:", "towers: [", 15, ""),
    ] {
        let text = manifest("tiny").replacen(from, to, 1);
        assert_ne!(text, manifest("tiny"), "{from}");
        let error = manifest_error(&text);
        assert!(error.starts_with(&format!("model tiny: model.yaml:{line}: ")), "{to}: {error}");
        assert!(error.contains(expected), "{error}");
        assert!(error.ends_with("; reinstall the model, or correct the file"), "{error}");
    }
}

#[test]
fn digests_are_digests() {
    let digest = sha256(b"a text encoder");
    for wrong in [&digest[..63], &digest.replace('0', "g"), "\"\"", &"é".repeat(32)] {
        let error = manifest_error(&manifest("tiny").replace(&digest, wrong));
        assert!(error.contains("the sha256 of text.onnx is not 64 hexadecimal digits"), "{error}");
    }
    let installed = installed();
    fs::write(installed.dir.join("model.yaml"), manifest("tiny").replace(&digest, &digest.to_uppercase()))
        .unwrap();
    installed.verify().unwrap();
}

#[test]
fn a_tower_needs_an_artefact_and_only_texts_a_token_table() {
    let text = manifest("tiny");
    let (before, _) = text.split_once("  text:\n    cpu").unwrap();
    assert!(manifest_error(&format!("{before}  text: {{}}\n")).contains("towers.text has no artefact"));

    let table = file("t.npy", b"t");
    let hef = format!("  image:\n    hailo8: {{{}, token_embedding: {{{table}}}}}\n", file("i.hef", b"i"));
    let error = manifest_error(&text.replace("  image:\n", &hef));
    assert!(error.contains("towers.image takes no token_embedding"), "{error}");
}

#[test]
fn a_folder_without_a_readable_manifest_is_told_as_such() {
    let installed = installed();
    let manifest = installed.dir.join("model.yaml");
    fs::remove_file(&manifest).unwrap();
    let error = Bundle::open(&installed.dir).unwrap_err();
    assert_eq!(error, BundleError::Missing { name: "tiny".into(), file: "model.yaml".into() });

    fs::create_dir(&manifest).unwrap();
    let error = Bundle::open(&installed.dir).unwrap_err().to_string();
    assert!(error.starts_with("model tiny: model.yaml cannot be read (is a directory)"), "{error}");
}

#[test]
fn hostile_manifests_are_refused() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(laughs, "a{level}: &a{level} [{items}]").unwrap();
    }
    for text in [laughs, "[".repeat(20_000), "x\n".repeat(5 << 20), "\0".repeat(1000), String::new()] {
        let error = manifest_error(&text);
        assert!(error.len() < 400, "{error}");
    }
}

#[test]
fn the_bundled_model_is_whole() {
    let models = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models");
    let bundle = Bundle::find("demo", &[models]).unwrap();
    bundle.verify(Platform::Cpu, Platform::Cpu).unwrap();
}

/// The tiny CLIP, from networks of these names, with this line of its precision.
fn with_networks(image: &str, text: &str, precision: &str) -> Installed {
    let installed = installed();
    let mut manifest = manifest("tiny").replace("precision: fp32\n", precision);
    for (tower, network, old) in
        [("image", image, &b"an image encoder"[..]), ("text", text, &b"a text encoder"[..])]
    {
        let onnx = fs::read(Path::new("tests/fixtures/onnx").join(format!("{network}.onnx"))).unwrap();
        let name = format!("{tower}.onnx");
        manifest = manifest.replace(&file(&name, old), &file(&name, &onnx));
        fs::write(installed.dir.join(name), onnx).unwrap();
    }
    fs::write(installed.dir.join("model.yaml"), manifest).unwrap();
    installed
}

#[test]
fn networks_are_as_precise_as_the_bundle_says() {
    for (image, text, said) in [
        ("image", "text", "fp32"),
        ("image-int8", "text-int8", "int8"),
        // One of the two makes the model int8.
        ("image", "text-int8", "int8"),
    ] {
        let installed = with_networks(image, text, &format!("precision: {said}\n"));
        installed.verify().unwrap();
        let wrong = if said == "fp32" { "int8" } else { "fp32" };
        let refused = with_networks(image, text, &format!("precision: {wrong}\n")).refused();
        assert!(
            refused.ends_with("quantise the networks") || refused.ends_with("to precision: int8"),
            "{refused}"
        );
        assert!(refused.contains(&format!("model.yaml says precision {wrong}")), "{refused}");
    }
}

#[test]
fn a_precision_that_is_not_said_is_that_of_the_files() {
    let precision = |image, text| Bundle::open(&with_networks(image, text, "").dir).unwrap().precision;
    assert_eq!(precision("image", "text"), Precision::Fp32);
    assert_eq!(precision("image", "text-int8"), Precision::Int8);
    // What cannot be read is told when it is used.
    let installed = installed();
    fs::write(installed.dir.join("model.yaml"), manifest("tiny").replace("precision: fp32\n", "")).unwrap();
    assert_eq!(Bundle::open(&installed.dir).unwrap().precision, Precision::Fp32);
}

#[test]
fn an_npu_is_int8_whatever_the_onnx_is() {
    let bundle = Bundle::open(&installed().dir).unwrap();
    assert_eq!(bundle.precision_on(Platform::Cpu, Platform::Cpu), Precision::Fp32);
    assert_eq!(bundle.precision_on(Platform::Cpu, Platform::Hailo10H), Precision::Int8);
}
