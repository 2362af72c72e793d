//! What people and exporters' JSON files say of a model: options first, then the files.
//!
//! Known are `preprocess_cfg.json` and `config.json` of `OpenCLIP` (and of Immich, which takes them from there),
//! `preprocessor_config.json` and `config.json` of Hugging Face's Transformers.

use std::{collections::HashMap, str::FromStr};

use serde_json::Value;

use super::{ChangeError, import::missing, manifest::ImageFit};

/// Everything that is said.
pub(super) struct Told<'a> {
    options: &'a HashMap<String, String>,
    preprocess: Option<&'a Value>,
    config: Option<&'a Value>,
}

impl<'a> Told<'a> {
    pub(super) fn new(options: &'a HashMap<String, String>, json: &'a HashMap<String, Value>) -> Self {
        let config = json.get("config");
        let inside = config.and_then(|config| config.get("preprocess_cfg"));
        Self { options, preprocess: json.get("preprocess").or(inside), config }
    }

    pub(super) fn text(&self, option: &str) -> Option<String> {
        self.options.get(option).cloned()
    }

    /// A number that was given as an option.
    pub(super) fn number<T: FromStr>(&self, option: &str) -> Result<Option<T>, ChangeError> {
        let Some(text) = self.options.get(option) else { return Ok(None) };
        let number = text.trim().parse().map_err(|_| {
            ChangeError::Unsuitable(format!(
                "--{} is {text:?}, which is no such number",
                option.replace('_', "-")
            ))
        })?;
        Ok(Some(number))
    }

    pub(super) fn image_size(&self) -> Result<Option<u32>, ChangeError> {
        if let Some(size) = self.number("size")? {
            return Ok(Some(size));
        }
        let preprocess = |paths: &[&str]| self.preprocess.and_then(|value| first(value, paths));
        let size = preprocess(&[
            "/crop_size/height",
            "/crop_size",
            "/size/height",
            "/size/shortest_edge",
            "/size/0",
            "/size",
        ])
        .or_else(|| {
            self.config(&[
                "/vision_cfg/image_size",
                "/model_cfg/vision_cfg/image_size",
                "/vision_config/image_size",
            ])
        });
        Ok(size.and_then(|size| u32::try_from(size).ok()))
    }

    pub(super) fn embed_dim(&self) -> Option<usize> {
        let dimension = self.config(&["/embed_dim", "/model_cfg/embed_dim", "/projection_dim"])?;
        usize::try_from(dimension).ok()
    }

    pub(super) fn context_length(&self) -> Option<usize> {
        let length = self.config(&[
            "/text_cfg/context_length",
            "/model_cfg/text_cfg/context_length",
            "/text_config/max_position_embeddings",
        ])?;
        usize::try_from(length).ok()
    }

    fn config(&self, paths: &[&str]) -> Option<u64> {
        first(self.config?, paths)
    }

    pub(super) fn fit(&self, notes: &mut Vec<String>) -> Result<ImageFit, ChangeError> {
        let of_option = |fit: &str| match fit {
            "stretch" => Ok(ImageFit::Stretch),
            "crop" => Ok(ImageFit::Crop),
            "pad" => Ok(ImageFit::Pad),
            fit => Err(ChangeError::Unsuitable(format!("--fit is {fit:?}; it is stretch, crop or pad"))),
        };
        if let Some(fit) = self.options.get("fit") {
            return of_option(fit);
        }
        let unsaid = || missing("fit", "how pictures are brought to a square (stretch, crop or pad)");
        let preprocess = self.preprocess.ok_or_else(unsaid)?;
        let interpolation = preprocess.get("interpolation").or_else(|| preprocess.get("resample"));
        if interpolation.is_some_and(|by| by != "bicubic" && by != 3) {
            notes.push(
                "pictures are resized by bicubic interpolation, though the model was made for another one"
                    .to_owned(),
            );
        }
        match (preprocess.get("resize_mode").and_then(Value::as_str), preprocess.get("do_center_crop")) {
            (Some("shortest"), _) => Ok(ImageFit::Crop),
            (Some("squash"), _) => Ok(ImageFit::Stretch),
            (Some("longest"), _) => Ok(ImageFit::Pad),
            (_, Some(Value::Bool(true))) => Ok(ImageFit::Crop),
            (_, Some(Value::Bool(false))) => Ok(ImageFit::Stretch),
            _ => Err(unsaid()),
        }
    }

    pub(super) fn mean(&self) -> Result<[f32; 3], ChangeError> {
        self.channels("mean", &["mean", "image_mean"], "what is subtracted from red, green and blue")
    }

    pub(super) fn std(&self) -> Result<[f32; 3], ChangeError> {
        self.channels("std", &["std", "image_std"], "what red, green and blue are divided by")
    }

    fn channels(&self, option: &str, keys: &[&str], what: &str) -> Result<[f32; 3], ChangeError> {
        if let Some(text) = self.options.get(option) {
            let numbers: Result<Vec<f32>, _> = text.split(',').map(|number| number.trim().parse()).collect();
            return numbers.ok().and_then(|numbers| numbers.try_into().ok()).ok_or_else(|| {
                ChangeError::Unsuitable(format!("--{option} is {text:?}; it is three numbers with commas"))
            });
        }
        let list = self.preprocess.and_then(|value| keys.iter().find_map(|key| value.get(key)));
        list.and_then(|list| serde_json::from_value(list.clone()).ok())
            .ok_or_else(|| missing(option, &format!("{what} (three numbers with commas)")))
    }

    /// `OpenAI`'s and nearly every other CLIP's is 100, since training stops it there; a sigmoid model's is not.
    pub(super) fn logit_scale(&self, notes: &mut Vec<String>) -> Result<f32, ChangeError> {
        if let Some(scale) = self.number("logit_scale")? {
            return Ok(scale);
        }
        let sigmoid = ["/init_logit_bias", "/model_cfg/init_logit_bias"];
        if self.config.is_some_and(|config| sigmoid.iter().any(|path| config.pointer(path).is_some())) {
            return Err(missing(
                "logit-scale",
                "the factor on the cosine, which a sigmoid model needs as it needs --logit-bias",
            ));
        }
        notes.push(
            "the files do not tell the logit scale, 100 was taken as with nearly every CLIP".to_owned(),
        );
        Ok(100.0)
    }
}

fn first(value: &Value, paths: &[&str]) -> Option<u64> {
    paths.iter().find_map(|path| value.pointer(path)?.as_u64())
}
