//! What a request consists of: admission, encoding, and what is made of the embeddings.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;

use super::{
    Classified, ClassifyRequest, EmbedOptions, EmbeddedImage, EmbeddedTexts, Engine, EngineError,
    ScoredPrompt, Timings, validate,
};
use crate::clip;

impl Engine {
    pub(super) async fn classify_now(&self, request: &ClassifyRequest) -> Result<Classified, EngineError> {
        let accepted = self.admit()?;
        let ClassifyRequest { image, prompts, options } = request;
        validate::classify(prompts, options)?;
        let since = accepted.since;
        self.within_deadline(&accepted, options.timeout, move |model, settings| async move {
            let texts = self.encode_ensemble(&model, prompts, &options.templates);
            let (image, texts) = tokio::try_join!(self.encode_image(&model, &settings, image), texts)?;
            let scoring_starts = Instant::now();
            let scoring = clip::Scoring {
                logit_scale: options.logit_scale.unwrap_or(model.info.logit_scale),
                logit_bias: model.logit_bias,
                apply_softmax: options.apply_softmax.unwrap_or(settings.clip.apply_softmax),
            };
            let selection = clip::Selection {
                top_k: options.top_k.unwrap_or(prompts.len()),
                threshold: options.threshold.unwrap_or(f32::NEG_INFINITY),
            };
            let ranked = clip::classify(&image.embedding, &texts.embeddings, &scoring, &selection)
                .map_err(|error| EngineError::BackendFailed(error.to_string()))?;
            let classifications = ranked
                .into_iter()
                .map(|c| ScoredPrompt { text: prompts[c.prompt].clone(), score: c.score, cosine: c.cosine })
                .collect();
            let timings = Timings {
                text: texts.text,
                score: scoring_starts.elapsed(),
                total: since.elapsed(),
                ..image.timings
            };
            Ok(Classified {
                classifications,
                model: Arc::clone(&model.name),
                backend: model.description.kind,
                timings,
            })
        })
        .await
    }

    pub(super) async fn embed_image_now(
        &self,
        image: &Bytes,
        options: &EmbedOptions,
    ) -> Result<EmbeddedImage, EngineError> {
        validate::timeout(options.timeout)?;
        let accepted = self.admit_with(options).await?;
        let since = accepted.since;
        self.within_deadline(&accepted, options.timeout, move |model, settings| async move {
            model.require(options.model.as_deref())?;
            let encoded = self.encode_image(&model, &settings, image).await?;
            Ok(EmbeddedImage {
                embedding: encoded.embedding,
                width: encoded.width,
                height: encoded.height,
                model: Arc::clone(&model.name),
                backend: model.description.kind,
                timings: Timings { total: since.elapsed(), ..encoded.timings },
            })
        })
        .await
    }

    pub(super) async fn embed_texts_now(
        &self,
        texts: &[String],
        options: &EmbedOptions,
    ) -> Result<EmbeddedTexts, EngineError> {
        validate::timeout(options.timeout)?;
        let accepted = self.admit_with(options).await?;
        validate::texts(texts)?;
        let since = accepted.since;
        self.within_deadline(&accepted, options.timeout, move |model, _| async move {
            model.require(options.model.as_deref())?;
            let tokens =
                if options.count_tokens { Some(self.count_tokens(&model, texts).await?) } else { None };
            let encoded = self.encode_texts(&model, texts).await?;
            Ok(EmbeddedTexts {
                embeddings: encoded.embeddings,
                tokens,
                model: Arc::clone(&model.name),
                backend: model.description.kind,
                timings: Timings {
                    queue: encoded.queue,
                    text: encoded.text,
                    total: since.elapsed(),
                    ..Timings::default()
                },
            })
        })
        .await
    }
}
