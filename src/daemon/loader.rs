//! Puts a model together: its bundle, its tokenizer, and the backend that the settings ask for.

use std::{cell::Cell, fs, path::PathBuf, sync::Arc};

use tracing::warn;

use super::{models::platform_of, trial::Trials};
use crate::{
    backend::{self, BackendError, Host},
    clip::{ImageSpec, Tokenizer},
    config::Settings,
    engine::{FitsBeside, LoadedModel, Loader, ModelInfo},
    kernel,
    model::{Bundle, BundleError, Platform, TowerKind},
};

/// A loader that looks for bundles in `search_path`, and for NPUs on `host`.
pub(super) fn loader(search_path: Vec<PathBuf>, host: Host, trials: Arc<Trials>) -> Loader {
    Arc::new(move |settings| {
        let loaded = load(settings, &search_path, &host, &trials);
        // What loading took and serving does not need.
        heap::give_back();
        loaded
    })
}

/// Loading takes so many bytes of memory for each byte of a model's files: weights are read, and folded or
/// converted in part.
const BYTES_PER_BYTE: u64 = 2;
/// And so many besides.
const BYTES_AT_LEAST: u64 = 64 << 20;

/// Whether there is memory for one more model, estimated from its files.
pub(super) fn fits_beside(search_path: Vec<PathBuf>, hardware_root: PathBuf) -> FitsBeside {
    Arc::new(move |settings| {
        // What does not load, loads neither beside nor in place.
        let Ok(bundle) = Bundle::find(&settings.clip.model, &search_path) else { return true };
        let on_cpu = bundle.platforms().contains(&Platform::Cpu);
        let platforms = if on_cpu { vec![Platform::Cpu] } else { bundle.platforms() };
        let bytes = platforms.iter().map(|&platform| bundle.footprint(platform)).max().unwrap_or(0);
        let needed = bytes.saturating_mul(BYTES_PER_BYTE).saturating_add(BYTES_AT_LEAST);
        kernel::memory::available(&hardware_root).is_none_or(|available| needed <= available)
    })
}

fn load(
    settings: &Settings,
    search_path: &[PathBuf],
    host: &Host,
    trials: &Trials,
) -> Result<LoadedModel, BackendError> {
    let clip = &settings.clip;
    let bundle = Bundle::find(&clip.model, search_path).map_err(|error| match error {
        BundleError::InvalidName(_) | BundleError::NotInstalled { .. } => {
            BackendError::NoSuchModel(error.to_string())
        }
        error => unavailable(error),
    })?;
    let threads = settings.performance.inference_threads;
    // Where the encoders run is settled by what is examined last.
    let platforms = Cell::new((Platform::Cpu, Platform::Cpu));
    let examine = |image, text| {
        platforms.set((image, text));
        examine(&bundle, image, text, trials)
    };
    let opened = backend::open(&bundle, clip, threads, host, &examine)?;
    trials.record();
    let (image_platform, text_platform) = platforms.get();
    let precision = bundle.precision_on(image_platform, text_platform).to_string();
    // Not before: a device that is missing is tried again and again.
    warn_of_other_expectations(settings, &bundle);
    let json = fs::read(&bundle.tokenizer.path).map_err(|error| {
        unavailable(format!("cannot read the tokenizer of model {}: {}", bundle.name, error.kind()))
    })?;
    let tokenizer = Tokenizer::from_json(&json, bundle.context_length).map_err(unavailable)?;
    let fit = clip.fit.unwrap_or(bundle.image.fit);
    // Hardware that is not known has vectors that nobody can tell apart.
    let platform = platform_of(opened.backend.description());
    let digest = platform.map_or_else(String::new, |platform| bundle.digest(platform, fit));
    Ok(LoadedModel {
        text_digest: Some(bundle.text_digest(text_platform)),
        info: ModelInfo {
            digest,
            name: bundle.name,
            aliases: bundle.aliases,
            embedding_dimension: bundle.embedding_dimension,
            image_size: bundle.image.size,
            logit_scale: clip.logit_scale.unwrap_or(bundle.logit_scale),
            precision,
        },
        image: ImageSpec { fit, ..bundle.image },
        tokenizer,
        logit_bias: bundle.logit_bias,
        backend: opened.backend,
        degraded: opened.degraded,
    })
}

/// Whether the files that these platforms need are what they should be, and can be opened without
/// harm. Both read the whole model, so they do it at the same time.
fn examine(bundle: &Bundle, image: Platform, text: Platform, trials: &Trials) -> Result<(), BackendError> {
    let on_cpu: Vec<_> = [(TowerKind::Image, image), (TowerKind::Text, text)]
        .into_iter()
        .filter_map(|(tower, platform)| (platform == Platform::Cpu).then_some(tower))
        .collect();
    let (verified, tried) = std::thread::scope(|scope| {
        let trial = scope.spawn(|| trials.require(bundle, &on_cpu));
        let verified = bundle.verify(image, text).map_err(unavailable);
        (verified, trial.join().unwrap_or_else(|_| Err(unavailable("the model could not be tried"))))
    });
    // An altered file explains what the trial may have stumbled over.
    verified.and(tried)
}

/// Keys of the replaced service that describe a model rather than choose one.
fn warn_of_other_expectations(settings: &Settings, bundle: &Bundle) {
    let clip = &settings.clip;
    if let Some(expected) = clip.expected_embedding_dimension.filter(|&d| d != bundle.embedding_dimension) {
        warn!(
            "clip.embedding_dimension is {expected}, but model {} gives {}; the model decides, remove the key",
            bundle.name, bundle.embedding_dimension
        );
    }
    if let Some(expected) = clip.expected_image_size.filter(|&size| size != bundle.image.size) {
        warn!(
            "clip.image_size is {expected}, but model {} takes {}; the model decides, remove the key",
            bundle.name, bundle.image.size
        );
    }
}

fn unavailable(error: impl std::fmt::Display) -> BackendError {
    BackendError::Unavailable(error.to_string())
}
