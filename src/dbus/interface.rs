//! The interface `org.hailo.Clip1`. Its doc comments are printed by introspection.

use std::collections::BTreeMap;

use bytes::Bytes;
use zbus::{Connection, OwnedFd, Variant, interface, message::Header};

use super::{
    Error,
    authority::Action,
    error::too_large,
    explanation,
    fd::PictureFiles,
    gate::Gate,
    options::{self, Options},
    properties::StatusProperties,
};
use crate::{
    clip::Embedding,
    engine::{Classified, ClassifyRequest, Engine, Snapshot, Timings},
};

/// Text and score.
type Classification = (String, f64);
/// `a{sv}`, in the order of its keys.
pub(super) type Details = BTreeMap<&'static str, Variant<'static>>;

/// The object at [`PATH`](super::PATH).
///
/// No method takes `&mut self`: zbus runs calls on `&self` side by side, each in a task of its own.
pub(super) struct Clip1 {
    engine: Engine,
    gate: Gate,
    files: PictureFiles,
}

impl Clip1 {
    pub(super) fn new(engine: Engine, gate: Gate) -> Self {
        Self { engine, gate, files: PictureFiles::default() }
    }

    async fn classify_picture(
        &self,
        image: Bytes,
        prompts: &[&str],
        options: &Options<'_>,
    ) -> Result<(Vec<Classification>, Details), Error> {
        let request =
            ClassifyRequest { image, prompts: self.owned_texts(prompts)?, options: options::parse(options)? };
        let classified = self.engine.classify(request).await?;
        let mut details = details(&classified);
        if let Some(explanation) = &classified.explanation {
            explanation::add(&mut details, explanation, &classified.classifications);
        }
        let classifications =
            classified.classifications.into_iter().map(|c| (c.text, c.score.into())).collect();
        Ok((classifications, details))
    }

    async fn embed_picture(&self, image: Bytes) -> Result<Vec<f64>, Error> {
        let embedded = self.engine.embed_image(image, None).await?;
        Ok(components(&embedded.embedding))
    }

    async fn picture_file(&self, file: OwnedFd) -> Result<Bytes, Error> {
        let timeout = self.engine.settings().performance.request_timeout;
        self.files.read(file.into(), self.max_bytes(), timeout).await
    }

    fn owned_picture(&self, image: &[u8]) -> Result<Bytes, Error> {
        if image.len() > self.max_bytes() {
            return Err(too_large("picture", image.len(), self.max_bytes()));
        }
        Ok(Bytes::copy_from_slice(image))
    }

    fn owned_texts(&self, texts: &[&str]) -> Result<Vec<String>, Error> {
        // As sent, with length and final NUL, or millions of empty strings would weigh nothing.
        let bytes = texts.iter().map(|text| text.len() + 5).sum();
        if bytes > self.max_bytes() {
            return Err(too_large("text", bytes, self.max_bytes()));
        }
        Ok(texts.iter().map(|&text| text.to_owned()).collect())
    }

    /// The limit of HTTP's bodies holds for pictures and for texts here.
    fn max_bytes(&self) -> usize {
        self.engine.settings().server.max_body_bytes
    }

    fn status(&self) -> StatusProperties {
        StatusProperties::from(&*self.engine.status().borrow())
    }
}

#[interface(name = "org.hailo.Clip1")]
impl Clip1 {
    /// Ranks the prompts for a picture, best first.
    ///
    /// image: the file's bytes (JPEG, PNG, WebP, GIF, BMP, TIFF).
    /// options: top_k u (all), threshold d (none), templates as (none; each with one {}),
    /// apply_softmax b and logit_scale d (as configured), timeout_ms u (as configured; can only
    /// shorten it), warnings b and explain b (false). Any integer type does for u and d. An unknown option is
    /// an error.
    /// classifications: each prompt with its probability, or with its cosine if there is one prompt
    /// alone or apply_softmax is false.
    /// details: inference_time_ms d, model s, backend s, and the stages decode_ms, preprocess_ms,
    /// queue_ms, image_ms, text_ms, score_ms d, which overlap. With warnings or explain also: cosines ad (one
    /// for each classification), warnings a(ss) (code and sentence), near_duplicates a(ssd) (two prompts and
    /// their cosine), and, if two prompts say different things, winner s, runner_up s, margin_cosine d and
    /// margin_odds d. With explain and templates also: templates a(ssd), the prompt that each template alone
    /// puts first and its odds (1 without a rival), led by {} for the prompts as they are.
    #[zbus(out_args("classifications", "details"))]
    async fn classify(
        &self,
        image: &[u8],
        prompts: Vec<&str>,
        options: Options<'_>,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(Vec<Classification>, Details), Error> {
        let work = async {
            let image = self.owned_picture(image)?;
            self.classify_picture(image, &prompts, &options).await
        };
        self.gate.answer(Action::Classify, &header, connection, work).await
    }

    /// Classify for a picture in a file: a regular file or a memfd, open for reading.
    ///
    /// It is read from its start; the descriptor's offset is neither used nor changed. A bus limits
    /// the size of messages, so this is the way for large pictures.
    #[zbus(out_args("classifications", "details"))]
    async fn classify_fd(
        &self,
        image: OwnedFd,
        prompts: Vec<&str>,
        options: Options<'_>,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(Vec<Classification>, Details), Error> {
        let work = async {
            let image = self.picture_file(image).await?;
            self.classify_picture(image, &prompts, &options).await
        };
        self.gate.answer(Action::Classify, &header, connection, work).await
    }

    /// The embedding of a picture, L2-normalised, with EmbeddingDimension components.
    #[zbus(out_args("embedding"))]
    async fn embed_image(
        &self,
        image: &[u8],
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<f64>, Error> {
        let work = async { self.embed_picture(self.owned_picture(image)?).await };
        self.gate.answer(Action::Classify, &header, connection, work).await
    }

    /// EmbedImage for a picture in a file, as in ClassifyFd.
    #[zbus(out_args("embedding"))]
    async fn embed_image_fd(
        &self,
        image: OwnedFd,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<f64>, Error> {
        let work = async { self.embed_picture(self.picture_file(image).await?).await };
        self.gate.answer(Action::Classify, &header, connection, work).await
    }

    /// The embeddings of texts, in order, each L2-normalised.
    #[zbus(out_args("embeddings"))]
    async fn embed_texts(
        &self,
        texts: Vec<&str>,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<Vec<f64>>, Error> {
        let work = async {
            let embedded = self.engine.embed_texts(self.owned_texts(&texts)?, None).await?;
            Ok(embedded.embeddings.iter().map(components).collect())
        };
        self.gate.answer(Action::Classify, &header, connection, work).await
    }

    /// What has been counted since the start, from all clients on D-Bus and HTTP.
    ///
    /// uptime_s; requests that came to the engine and what became of them: answered, rejected (bad input),
    /// refused (the queue was full), not_ready (no model), timed_out, failed; first_answer_ms, with its
    /// wait for the model, median_answer_ms and p95_answer_ms (of the last 512), absent until there is an
    /// answer; text_cache_hits, text_cache_misses.
    #[zbus(out_args("statistics"))]
    async fn statistics(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<BTreeMap<&'static str, f64>, Error> {
        let work = async { Ok(counts(&self.engine.statistics().snapshot())) };
        self.gate.answer(Action::Classify, &header, connection, work).await
    }

    /// The version of the service.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// starting, loading, ready, degraded (serves, but not on the hardware asked for), failed, or
    /// draining (about to stop). Calls are served while ready or degraded.
    #[zbus(property)]
    fn state(&self) -> &'static str {
        self.status().state
    }

    /// The name of the configured model, loaded or not.
    #[zbus(property)]
    fn model(&self) -> String {
        self.status().model
    }

    /// SHA-256 over all that decides the embeddings of the loaded model on its hardware: encoders, tokenizer,
    /// pre-processing. Only embeddings under the same digest can be compared; a name may come to stand for
    /// another model. Empty while no model is loaded.
    #[zbus(property)]
    fn model_digest(&self) -> String {
        self.status().model_digest
    }

    /// Numeric precision of the model where it runs: fp32, fp16 or int8; empty while no model is loaded. An encoder
    /// on a Hailo NPU is int8.
    #[zbus(property)]
    fn precision(&self) -> String {
        self.status().precision
    }

    /// cpu or hailo; empty while no model is loaded.
    #[zbus(property)]
    fn backend(&self) -> &'static str {
        self.status().backend
    }

    /// The device, for people, such as "Hailo-8L"; empty while no model is loaded.
    #[zbus(property)]
    fn device(&self) -> String {
        self.status().device
    }

    /// The NPU's architecture, such as "Hailo-8L"; empty on the CPU.
    #[zbus(property)]
    fn device_architecture(&self) -> String {
        self.status().architecture
    }

    /// Version of the NPU's firmware; empty on the CPU.
    #[zbus(property)]
    fn firmware_version(&self) -> String {
        self.status().firmware
    }

    /// Version of HailoRT, the NPU's library; empty on the CPU.
    #[zbus(property)]
    fn library_version(&self) -> String {
        self.status().library
    }

    /// Version of the NPU's kernel driver; empty on the CPU, or where it does not tell.
    #[zbus(property)]
    fn driver_version(&self) -> String {
        self.status().driver
    }

    /// Components of an embedding; 0 while no model is loaded.
    #[zbus(property)]
    fn embedding_dimension(&self) -> u32 {
        self.status().embedding_dimension
    }

    /// Side of the image encoder's square in pixels; 0 while no model is loaded.
    #[zbus(property)]
    fn image_size(&self) -> u32 {
        self.status().image_size
    }

    /// The model's factor on the cosine, such as 100; 0 while no model is loaded.
    #[zbus(property)]
    fn logit_scale(&self) -> f64 {
        self.status().logit_scale
    }

    /// Calls accepted and not yet answered, from all clients on D-Bus and HTTP.
    #[zbus(property(emits_changed_signal = "false"))]
    fn queue_depth(&self) -> u32 {
        u32::try_from(self.engine.queue_depth()).unwrap_or(u32::MAX)
    }

    /// Most calls that are accepted at a time; a reload of the configuration may change it.
    #[zbus(property(emits_changed_signal = "false"))]
    fn max_queue_size(&self) -> u32 {
        u32::try_from(self.engine.max_queue_size()).unwrap_or(u32::MAX)
    }

    /// Temperature of the device in °C, NaN where there is no sensor. (No number could stand for
    /// "unknown" without being taken for a reading; JSON tools print null.)
    #[zbus(property(emits_changed_signal = "false"))]
    fn device_temperature(&self) -> f64 {
        self.engine.health().and_then(|health| health.temperature).map_or(f64::NAN, f64::from)
    }

    /// Whether the device runs slower now to protect itself from heat or current.
    #[zbus(property(emits_changed_signal = "false"))]
    fn device_throttled(&self) -> bool {
        self.engine.health().and_then(|health| health.throttled).unwrap_or(false)
    }

    /// Whether the model was unloaded, for idleness or by hand: the next call waits until it is loaded again.
    #[zbus(property)]
    fn idle(&self) -> bool {
        self.status().idle
    }

    /// Why the state is degraded or failed; else empty.
    #[zbus(property)]
    fn last_error(&self) -> String {
        self.status().last_error
    }
}

fn details(classified: &Classified) -> Details {
    let Timings { decode, preprocess, queue, image, text, score, total } = classified.timings;
    let stages = [
        ("inference_time_ms", total),
        ("decode_ms", decode),
        ("preprocess_ms", preprocess),
        ("queue_ms", queue),
        ("image_ms", image),
        ("text_ms", text),
        ("score_ms", score),
    ];
    let mut details: Details =
        stages.into_iter().map(|(name, time)| (name, (time.as_secs_f64() * 1000.0).into())).collect();
    details.insert("model", classified.model.to_string().into());
    details.insert("backend", classified.backend.as_str().into());
    details
}

/// Counts are exact up to 2^53.
#[allow(clippy::cast_precision_loss, reason = "no service lives to see 2^53 requests")]
fn counts(snapshot: &Snapshot) -> BTreeMap<&'static str, f64> {
    let times = [
        ("first_answer_ms", snapshot.first_answer),
        ("median_answer_ms", snapshot.median_answer),
        ("p95_answer_ms", snapshot.p95_answer),
    ];
    let times = times.into_iter().filter_map(|(key, time)| Some((key, time?.as_secs_f64() * 1000.0)));
    [
        ("requests", snapshot.requests),
        ("answered", snapshot.answered),
        ("rejected", snapshot.rejected),
        ("refused", snapshot.refused),
        ("not_ready", snapshot.not_ready),
        ("timed_out", snapshot.timed_out),
        ("failed", snapshot.failed),
        ("text_cache_hits", snapshot.text_cache_hits),
        ("text_cache_misses", snapshot.text_cache_misses),
    ]
    .into_iter()
    .map(|(key, count)| (key, count as f64))
    .chain(times)
    .chain([("uptime_s", snapshot.uptime.as_secs_f64())])
    .collect()
}

fn components(embedding: &Embedding) -> Vec<f64> {
    embedding.as_slice().iter().copied().map(f64::from).collect()
}
