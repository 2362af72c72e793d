//! A request's way through the engine.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    Accepted, ClassifyOptions, Engine, EngineError, Explain, State, Timings,
    device::{DeviceError, Done},
    model::Model,
    queue::{ImageJob, TextJob},
    text_cache::{Claim, Lookup, Pending, TextCache},
};
use crate::{
    backend::BackendError,
    clip::{Draft, Embedding, ImageError, ImageLimits, ImageSpec, Pixels, PromptTemplate, TokenizerError},
    config::Settings,
};

/// Why one attempt at a request ended.
pub(super) enum Abort {
    /// The model was replaced on the way, or the caller whose work was shared has gone: try again.
    Retry,
    /// This is the answer.
    Answer(EngineError),
}

impl From<DeviceError> for Abort {
    fn from(error: DeviceError) -> Self {
        match error {
            DeviceError::Stale => Self::Retry,
            DeviceError::Backend(BackendError::TimedOut(limit)) => Self::Answer(EngineError::Timeout(limit)),
            DeviceError::Backend(error) => Self::Answer(EngineError::BackendFailed(error.to_string())),
        }
    }
}

impl From<EngineError> for Abort {
    fn from(error: EngineError) -> Self {
        Self::Answer(error)
    }
}

pub(super) struct EncodedImage {
    pub(super) embedding: Embedding,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) timings: Timings,
}

pub(super) struct EncodedTexts {
    pub(super) embeddings: Vec<Embedding>,
    /// Of an ensemble, what it was made of: for each prompt, one for each template.
    pub(super) parts: Vec<Embedding>,
    pub(super) queue: Duration,
    pub(super) text: Duration,
}

impl Engine {
    /// Runs a request to its end or its deadline, again if the model is replaced under it.
    pub(super) async fn within_deadline<T, F>(
        &self,
        accepted: &Accepted,
        timeout: Option<Duration>,
        attempt: impl Fn(Arc<Model>, Arc<Settings>) -> F,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, Abort>>,
    {
        let settings = self.settings();
        let limit = settings.performance.request_timeout;
        let limit = timeout.map_or(limit, |timeout| timeout.min(limit));
        let deadline = accepted.since + limit;
        let mut loaded = false;
        let work = async {
            loop {
                self.model_loaded().await?;
                let Some(model) = self.shared.model.load_full() else {
                    // Lost since the state was asked: it tells now whether to wait for another one.
                    let state = self.shared.status.borrow().state;
                    if matches!(state, State::Failed | State::Draining) {
                        return Err(self.refusal());
                    }
                    continue;
                };
                loaded = true;
                match attempt(model, Arc::clone(&settings)).await {
                    Ok(answer) => return Ok(answer),
                    Err(Abort::Answer(error)) => return Err(error),
                    Err(Abort::Retry) => tokio::task::yield_now().await,
                }
            }
        };
        match tokio::time::timeout_at(deadline.into(), work).await {
            Ok(answer) => answer,
            Err(_) if loaded => Err(EngineError::Timeout(limit)),
            Err(_) => Err(self.refusal()),
        }
    }

    /// Waits while no model is in service but one is being loaded: a request that started the service,
    /// or that a lost device did not answer, is answered late rather than refused.
    async fn model_loaded(&self) -> Result<(), EngineError> {
        // Nearly always, so without the cost of a subscription.
        if self.shared.status.borrow().state.serves() {
            return Ok(());
        }
        let mut status = self.status();
        let Ok(status) = status.wait_for(|status| !status.state.is_starting()).await else {
            return Err(self.refusal());
        };
        // A service that stops still answers what it accepted before.
        if status.state == State::Failed { Err(status.refusal()) } else { Ok(()) }
    }

    /// Decodes and pre-processes a picture on a worker, then has it encoded.
    pub(super) async fn encode_image(
        &self,
        model: &Arc<Model>,
        settings: &Settings,
        image: &Bytes,
    ) -> Result<EncodedImage, Abort> {
        let arrived = Instant::now();
        let workers = Arc::clone(&self.shared.tuning.load().workers);
        let Ok(worker) = workers.acquire_owned().await else {
            return Err(Abort::Retry);
        };
        let waited = arrived.elapsed();
        let limits = ImageLimits { max_pixels: settings.server.max_image_pixels };
        let (image, spec) = (image.clone(), model.image);
        let prepared = tokio::task::spawn_blocking(move || {
            // Held by the work itself: a caller that leaves does not free the worker.
            (prepare(&image, &limits, &spec), worker)
        });
        let (prepared, worker) = unless_panicked(prepared.await)?;
        let prepared = prepared.map_err(EngineError::from)?;

        let queued = Instant::now();
        // A worker waits with its picture until there is room, so none is decoded long before its turn.
        let Ok(_room) = model.room.acquire().await else {
            return Err(Abort::Retry);
        };
        drop(worker);
        let Prepared { pixels, width, height, decode, preprocess } = prepared;
        let Done { embedding, started, finished } = self.encode_pixels(model, pixels).await?;
        let timings = Timings {
            decode,
            preprocess,
            queue: waited + started.saturating_duration_since(queued),
            image: finished - started,
            ..Timings::default()
        };
        Ok(EncodedImage { embedding, width, height, timings })
    }

    /// Has a pre-processed picture encoded.
    pub(super) async fn encode_pixels(&self, model: &Arc<Model>, pixels: Pixels) -> Result<Done, Abort> {
        let (result, done) = oneshot::channel();
        self.shared.device.push_image(ImageJob { model: Arc::clone(model), pixels, result });
        Ok(done.await.map_err(|_| Abort::Retry)??)
    }

    /// Has a text encoded, known or not.
    pub(super) async fn encode_uncached(&self, model: &Arc<Model>, text: &str) -> Result<Done, Abort> {
        let Lookup::Missing(pending, claim) = TextCache::new(0).lookup(text) else {
            return Err(Abort::Retry);
        };
        self.shared.device.push_texts(tokenize(model, vec![claim])?);
        Ok(pending.await.map_err(|_| Abort::Retry)??)
    }

    /// The embedding of each prompt, averaged over the templates.
    pub(super) async fn encode_ensemble(
        &self,
        model: &Arc<Model>,
        prompts: &[String],
        templates: &[PromptTemplate],
    ) -> Result<EncodedTexts, Abort> {
        if templates.is_empty() {
            return self.encode_texts(model, prompts).await;
        }
        let filled: Vec<String> = prompts
            .iter()
            .flat_map(|prompt| templates.iter().map(|template| template.fill(prompt)))
            .collect();
        let encoded = self.encode_texts(model, &filled).await?;
        let embeddings =
            encoded.embeddings.chunks(templates.len()).map(Embedding::mean).collect::<Result<_, _>>();
        let embeddings = embeddings.map_err(|error| EngineError::BackendFailed(error.to_string()))?;
        Ok(EncodedTexts { embeddings, parts: encoded.embeddings, ..encoded })
    }

    /// The embedding of each prompt as it is, if their templates are to be explained.
    pub(super) async fn encode_plain(
        &self,
        model: &Arc<Model>,
        prompts: &[String],
        options: &ClassifyOptions,
    ) -> Result<Vec<Embedding>, Abort> {
        if options.explain != Explain::Everything || options.templates.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.encode_texts(model, prompts).await?.embeddings)
    }

    /// How many tokens the encoder reads of these texts.
    pub(super) async fn count_tokens(&self, model: &Arc<Model>, texts: &[String]) -> Result<usize, Abort> {
        let (model, texts) = (Arc::clone(model), texts.to_vec());
        let count = move || {
            texts.iter().map(|text| Ok(model.tokenizer.encode(text)?.ids().len())).sum::<Result<usize, _>>()
        };
        unless_panicked(tokio::task::spawn_blocking(count).await)?
            .map_err(|error: TokenizerError| EngineError::InvalidArgument(error.to_string()).into())
    }

    /// The embedding of each text: from the cache, from a request that is encoding it, or encoded now.
    pub(super) async fn encode_texts(
        &self,
        model: &Arc<Model>,
        texts: &[String],
    ) -> Result<EncodedTexts, Abort> {
        let arrived = Instant::now();
        let mut claims = Vec::new();
        let found: Vec<_> = texts
            .iter()
            .map(|text| match model.texts.lookup(text) {
                Lookup::Ready(embedding) => Found::Here(embedding),
                Lookup::Running(pending) => Found::Coming(pending),
                Lookup::Missing(pending, claim) => {
                    claims.push(claim);
                    Found::Coming(pending)
                }
            })
            .collect();
        self.shared.statistics.looked_up(texts.len() - claims.len(), claims.len());
        if !claims.is_empty() {
            let tokenized = tokio::task::spawn_blocking({
                let model = Arc::clone(model);
                move || tokenize(&model, claims)
            });
            self.shared.device.push_texts(unless_panicked(tokenized.await)??);
        }
        let mut span: Option<(Instant, Instant)> = None;
        let mut embeddings = Vec::with_capacity(texts.len());
        for found in found {
            embeddings.push(match found {
                Found::Here(embedding) => embedding,
                Found::Coming(pending) => {
                    let Done { embedding, started, finished } = pending.await.map_err(|_| Abort::Retry)??;
                    let (first, last) = span.unwrap_or((started, finished));
                    span = Some((first.min(started), last.max(finished)));
                    embedding
                }
            });
        }
        let (started, finished) = span.unwrap_or((arrived, arrived));
        Ok(EncodedTexts {
            embeddings,
            parts: Vec::new(),
            queue: started.saturating_duration_since(arrived),
            text: finished.saturating_duration_since(started),
        })
    }
}

enum Found {
    Here(Embedding),
    Coming(Pending),
}

struct Prepared {
    pixels: Pixels,
    width: u32,
    height: u32,
    decode: Duration,
    preprocess: Duration,
}

fn prepare(file: &[u8], limits: &ImageLimits, spec: &ImageSpec) -> Result<Prepared, ImageError> {
    let start = Instant::now();
    let picture = Draft::decode(file, limits, spec)?;
    let decoded = Instant::now();
    let pixels = picture.fit()?;
    Ok(Prepared {
        pixels,
        width: picture.width(),
        height: picture.height(),
        decode: decoded - start,
        preprocess: decoded.elapsed(),
    })
}

fn tokenize(model: &Arc<Model>, claims: Vec<Claim>) -> Result<Vec<TextJob>, Abort> {
    let job = |claim: Claim| match model.tokenizer.encode(claim.text()) {
        Ok(tokens) => Ok(TextJob { model: Arc::clone(model), tokens, claim }),
        Err(error) => Err(Abort::Answer(EngineError::InvalidArgument(error.to_string()))),
    };
    claims.into_iter().map(job).collect()
}

fn unless_panicked<T>(joined: Result<T, tokio::task::JoinError>) -> Result<T, Abort> {
    joined.map_err(|_| Abort::Answer(EngineError::BackendFailed("the request could not be processed".into())))
}

impl From<ImageError> for EngineError {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Undecodable => Self::InvalidImage,
            ImageError::TooLarge { .. } | ImageError::TooMuchMemory { .. } => {
                Self::TooLarge(error.to_string())
            }
        }
    }
}
