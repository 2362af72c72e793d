//! What llama.cpp's server has for embeddings, as far as Frigate asks for it: `POST /embeddings` and
//! `GET /props`. Frigate's semantic search takes such a server for its provider `llamacpp`.

use std::fmt;

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{error::ApiError, image_field, json, payload, pictures, router::Facade, timing::server_timing};
use crate::{
    clip::Embedding,
    engine::{EmbedOptions, MAX_PROMPTS, Timings},
};

/// Stands for a picture in a prompt. llama.cpp draws one at each start; this is its default.
const MEDIA_MARKER: &str = "<__media__>";

/// Texts and pictures to embed.
#[derive(Deserialize, ToSchema)]
pub(super) struct ContentBody<'a> {
    /// Name or alias of the model in service; any does if it is absent.
    #[serde(borrow)]
    #[schema(value_type = Option<String>)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    #[schema(value_type = Vec<Content>, min_items = 1, max_items = 1000)]
    content: Option<&'a RawValue>,
}

/// A text, or a picture.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Content {
    Text(String),
    Prompt(Prompt),
}

/// A text, or a picture in whose place the prompt has the marker.
#[derive(Deserialize, ToSchema)]
pub(super) struct Prompt {
    prompt_string: String,
    /// The picture's file in base64.
    #[schema(max_items = 1)]
    multimodal_data: Option<Vec<String>>,
}

/// An embedding.
#[derive(Serialize, ToSchema)]
pub(super) struct ContentEmbedding {
    /// Position of the content.
    index: usize,
    /// One, L2-normalised.
    embedding: [Vec<f32>; 1],
}

/// What can be asked.
#[derive(Serialize, ToSchema)]
pub(super) struct Props {
    modalities: Modalities,
    /// Stands for a picture in a prompt.
    media_marker: &'static str,
}

/// Kinds of input besides text.
#[derive(Serialize, ToSchema)]
pub(super) struct Modalities {
    vision: bool,
    audio: bool,
}

/// An error in llama.cpp's form.
#[derive(Serialize, ToSchema)]
pub(super) struct LlamaCppError {
    error: LlamaCppErrorDetails,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
pub(super) struct LlamaCppErrorDetails {
    /// The status.
    code: u16,
    /// What failed, for people.
    message: String,
    /// Stable, for programs.
    r#type: &'static str,
}

/// A list, of which no more are kept than a request may have.
struct Contents<'a> {
    kept: Vec<&'a RawValue>,
    count: usize,
}

impl<'de> Deserialize<'de> for Contents<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentsVisitor;

        impl<'de> Visitor<'de> for ContentsVisitor {
            type Value = Contents<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Contents<'de>, A::Error> {
                let mut contents = Contents { kept: Vec::new(), count: 0 };
                while let Some(content) = array.next_element()? {
                    contents.count += 1;
                    if contents.count <= MAX_PROMPTS {
                        contents.kept.push(content);
                    }
                }
                Ok(contents)
            }
        }

        deserializer.deserialize_seq(ContentsVisitor)
    }
}

enum Input {
    Text(String),
    Picture(Bytes),
}

/// Tells Frigate what can be asked.
#[utoipa::path(get, path = "/props", tag = "llama.cpp", responses(
    (status = 200, description = "Texts and pictures.", body = Props),
    (status = "4XX", description = "The request cannot be served.", body = LlamaCppError),
))]
pub(super) async fn props() -> Json<Props> {
    Json(Props { modalities: Modalities { vision: true, audio: false }, media_marker: MEDIA_MARKER })
}

/// Embeds texts and pictures.
#[utoipa::path(post, path = "/embeddings", tag = "llama.cpp",
    request_body = ContentBody,
    responses(
        (status = 200, description = "The embeddings, in order.", body = Vec<ContentEmbedding>),
        (status = "4XX", description = "The request cannot be served.", body = LlamaCppError),
        (status = "5XX", description = "The service cannot serve now.", body = LlamaCppError),
    ))]
pub(super) async fn embeddings(State(facade): State<Facade>, request: Request) -> Result<Response, ApiError> {
    let body = payload::receive_json(&facade, request).await?;
    let (model, inputs) = payload::decode(body, parse).await?;
    let options = EmbedOptions { model, ..EmbedOptions::default() };
    let (embeddings, timings) = embed(&facade, inputs, &options).await?;
    let item = |(index, embedding): (_, Embedding)| ContentEmbedding {
        index,
        embedding: [embedding.as_slice().to_vec()],
    };
    let answer: Vec<_> = embeddings.into_iter().enumerate().map(item).collect();
    Ok((server_timing(&timings), Json(answer)).into_response())
}

async fn embed(
    facade: &Facade,
    inputs: Vec<Input>,
    options: &EmbedOptions,
) -> Result<(Vec<Embedding>, Timings), ApiError> {
    let are_texts: Vec<bool> = inputs.iter().map(|input| matches!(input, Input::Text(_))).collect();
    let (mut texts, mut images) = (Vec::new(), Vec::new());
    for input in inputs {
        match input {
            Input::Text(text) => texts.push(text),
            Input::Picture(image) => images.push(image),
        }
    }
    let mut models = Vec::new();
    let mut timings = Timings::default();
    let mut of_texts = Vec::new().into_iter();
    if !texts.is_empty() {
        let embedded = facade.engine.embed_texts_with(texts, options).await?;
        models.push(embedded.model);
        timings = embedded.timings;
        of_texts = embedded.embeddings.into_iter();
    }
    let mut of_images = Vec::new().into_iter();
    let mut images = images.into_iter();
    if let Some(first) = images.next() {
        let embedded = pictures::embed(&facade.engine, first, images, options).await?;
        models.push(embedded.model);
        timings = Timings { text: timings.text, ..embedded.timings };
        of_images = embedded.embeddings.into_iter();
    }
    if models.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(ApiError::model_replaced());
    }
    let next = |is_text: bool| if is_text { of_texts.next() } else { of_images.next() };
    let embeddings: Option<Vec<_>> = are_texts.into_iter().map(next).collect();
    // The engine gives one embedding for each input.
    Ok((embeddings.ok_or_else(ApiError::internal)?, timings))
}

fn parse(body: &[u8]) -> Result<(Option<String>, Vec<Input>), ApiError> {
    let fields: ContentBody<'_> = json::object(body)?.ok_or_else(ApiError::no_json_body)?;
    let model = fields.model.map(|model| serde_json::from_str(model.get())).transpose();
    let model = model.map_err(|_| ApiError::invalid_argument("'model' must be the name of a model"))?;
    let content = fields.content.ok_or_else(|| ApiError::invalid_argument("Missing 'content' field"))?;
    let Contents { kept, count } = serde_json::from_str(content.get())
        .map_err(|_| ApiError::invalid_argument("'content' must be an array of texts and of prompts"))?;
    if count == 0 || count > MAX_PROMPTS {
        let message = format!("'content' has {count} entries; it must have 1 to {MAX_PROMPTS}");
        return Err(ApiError::invalid_argument(message));
    }
    let inputs = (1..).zip(kept).map(|(number, json)| {
        input(json)
            .map_err(|problem| ApiError::invalid_argument(format!("Number {number} of 'content' {problem}")))
    });
    Ok((model, inputs.collect::<Result<_, _>>()?))
}

fn input(json: &RawValue) -> Result<Input, &'static str> {
    let content = serde_json::from_str(json.get()).map_err(
        |_| "must be a text, or have 'prompt_string' and perhaps a picture in base64 in 'multimodal_data'",
    )?;
    let Prompt { prompt_string, multimodal_data } = match content {
        Content::Text(text) => return Ok(Input::Text(text)),
        Content::Prompt(prompt) => prompt,
    };
    match multimodal_data.unwrap_or_default().as_slice() {
        [] => Ok(Input::Text(prompt_string)),
        [picture] if prompt_string.trim() == MEDIA_MARKER => image_field::decode(picture)
            .map(Input::Picture)
            .map_err(|_| "has no picture in base64 in 'multimodal_data'"),
        _ => Err("must be a text or one picture alone, for which the prompt is \"<__media__>\""),
    }
}

/// An error as llama.cpp's clients read it.
pub(super) fn error_body(error: &ApiError) -> LlamaCppError {
    let (code, message, r#type) = (error.status().as_u16(), error.to_string(), error.code());
    LlamaCppError { error: LlamaCppErrorDetails { code, message, r#type } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Input, &'static str> {
        input(&RawValue::from_string(json.into()).unwrap())
    }

    #[test]
    fn a_content_is_a_text_or_a_picture() {
        for text in [
            r#""a cat""#,
            r#"{"prompt_string":"a cat"}"#,
            r#"{"prompt_string":"a cat","multimodal_data":[]}"#,
        ] {
            assert!(matches!(read(text).unwrap(), Input::Text(text) if text == "a cat"));
        }
        let picture = r#"{"prompt_string":"<__media__>\n","multimodal_data":["AAAA"]}"#;
        assert!(matches!(read(picture).unwrap(), Input::Picture(bytes) if *bytes == [0, 0, 0]));
        for wrong in [
            "7",
            "[1, 2]",
            "{}",
            r#"{"prompt_string":"<__media__>","multimodal_data":["?"]}"#,
            r#"{"prompt_string":"<__media__> a cat","multimodal_data":["AAAA"]}"#,
            r#"{"prompt_string":"a cat","multimodal_data":["AAAA"]}"#,
            r#"{"prompt_string":"<__media__><__media__>","multimodal_data":["AAAA","AAAA"]}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
