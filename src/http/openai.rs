//! `POST /v1/embeddings`, as OpenAI has it, for texts and, beyond that, for pictures.

use std::borrow::Cow;

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{
    error::ApiError,
    image_field, json,
    parameters::{Integer, Texts},
    payload, pictures,
    router::Facade,
    timing::server_timing,
};
use crate::{clip::Embedding, engine::EmbedOptions};

/// The body's fields, each still JSON, so that an error can name its field.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    modality: Option<&'a RawValue>,
    #[serde(borrow)]
    encoding_format: Option<&'a RawValue>,
    #[serde(borrow)]
    dimensions: Option<&'a RawValue>,
}

/// Texts or pictures to embed.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the body, which is read field by field")]
pub(super) struct EmbeddingsBody {
    /// Name or alias of the model in service.
    model: String,
    input: Input,
    modality: Option<Modality>,
    encoding_format: Option<EncodingFormat>,
    /// The model's own number of dimensions; no other can be asked for.
    #[schema(minimum = 1)]
    dimensions: Option<u64>,
}

/// One text, or several; pictures as data URIs or base64.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "describes the field, which is read otherwise")]
pub(super) enum Input {
    One(String),
    Several(#[schema(inline)] Several),
}

/// At least one, at most 1000.
#[derive(Deserialize, ToSchema)]
#[schema(min_items = 1, max_items = 1000)]
#[allow(dead_code, reason = "as above")]
pub(super) struct Several(Vec<String>);

/// What the input is; text if absent.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Modality {
    Text,
    Image,
}

/// How embeddings are written; float if absent.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum EncodingFormat {
    /// An array of numbers.
    Float,
    /// Little-endian 32-bit floats in base64.
    Base64,
}

struct Asked {
    model: String,
    input: Inputs,
    format: EncodingFormat,
    dimensions: Option<u64>,
}

enum Inputs {
    Texts(Vec<String>),
    Images(Vec<Bytes>),
}

/// The embeddings, in the input's order.
#[derive(Serialize, ToSchema)]
pub(super) struct Embeddings {
    /// `list`
    object: &'static str,
    data: Vec<Item>,
    /// Name of the model that answered.
    model: String,
    usage: Usage,
}

/// One embedding.
#[derive(Serialize, ToSchema)]
pub(super) struct Item {
    /// `embedding`
    object: &'static str,
    /// Position of the input.
    index: usize,
    embedding: Vector,
}

/// L2-normalised.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Vector {
    Float(Vec<f32>),
    Base64(String),
}

/// Tokens that the encoder has read, start and end of each text included. Pictures have none.
#[derive(Serialize, ToSchema)]
pub(super) struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// An error in OpenAI's form.
#[derive(Serialize, ToSchema)]
pub(super) struct OpenAiError {
    error: OpenAiErrorDetails,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
pub(super) struct OpenAiErrorDetails {
    /// What failed, for people.
    message: String,
    /// `invalid_request_error` or `server_error`
    r#type: &'static str,
    /// The field that is at fault.
    param: Option<&'static str>,
    /// Stable, for programs.
    code: &'static str,
}

/// Embeds texts or pictures.
#[utoipa::path(post, path = "/v1/embeddings", tag = "openai",
    request_body = EmbeddingsBody,
    responses(
        (status = 200, description = "The embeddings.", body = Embeddings),
        (status = "4XX", description = "The request cannot be served.", body = OpenAiError),
        (status = "5XX", description = "The service cannot serve now.", body = OpenAiError),
    ))]
pub(super) async fn embeddings(State(facade): State<Facade>, request: Request) -> Result<Response, ApiError> {
    let body = payload::receive_json(&facade, request).await?;
    let Asked { model, input, format, dimensions } = payload::decode(body, parse).await?;
    let options = EmbedOptions { model: Some(model), count_tokens: true, ..EmbedOptions::default() };
    let (embeddings, model, tokens, timings) = match input {
        Inputs::Texts(texts) => {
            let embedded = facade.engine.embed_texts_with(texts, &options).await?;
            (embedded.embeddings, embedded.model, embedded.tokens.unwrap_or_default(), embedded.timings)
        }
        Inputs::Images(images) => {
            let mut images = images.into_iter();
            let first = images.next().ok_or_else(empty_input)?;
            let embedded = pictures::embed(&facade.engine, first, images, &options).await?;
            (embedded.embeddings, embedded.model, 0, embedded.timings)
        }
    };
    if let (Some(asked), Some(embedding)) = (dimensions, embeddings.first())
        && u64::try_from(embedding.dimension()) != Ok(asked)
    {
        let own = embedding.dimension();
        return Err(ApiError::invalid_argument(format!(
            "'dimensions' must be {own}: this model's embeddings cannot be shortened"
        ))
        .about("dimensions"));
    }
    let item = |(index, embedding)| Item { object: "embedding", index, embedding: write(embedding, format) };
    let answer = Embeddings {
        object: "list",
        data: embeddings.iter().enumerate().map(item).collect(),
        model: model.to_string(),
        usage: Usage { prompt_tokens: tokens, total_tokens: tokens },
    };
    Ok((server_timing(&timings), Json(answer)).into_response())
}

fn write(embedding: &Embedding, format: EncodingFormat) -> Vector {
    let components = embedding.as_slice();
    match format {
        EncodingFormat::Float => Vector::Float(components.to_vec()),
        EncodingFormat::Base64 => {
            let bytes: Vec<u8> = components.iter().flat_map(|component| component.to_le_bytes()).collect();
            Vector::Base64(STANDARD.encode(bytes))
        }
    }
}

fn parse(body: &[u8]) -> Result<Asked, ApiError> {
    let fields: Fields<'_> = json::object(body)?.ok_or_else(ApiError::no_json_body)?;
    let model = field(fields.model, "model", "the name of a model")?
        .ok_or_else(|| ApiError::invalid_argument("Missing 'model' field").about("model"))?;
    let modality = field(fields.modality, "modality", "\"text\" or \"image\"")?.unwrap_or(Modality::Text);
    let format = field(fields.encoding_format, "encoding_format", "\"float\" or \"base64\"")?
        .unwrap_or(EncodingFormat::Float);
    let dimensions: Option<Integer> = field(fields.dimensions, "dimensions", "a positive integer")?;
    let input =
        fields.input.ok_or_else(|| ApiError::invalid_argument("Missing 'input' field").about("input"))?;
    let input = texts(input)?;
    let input = match modality {
        Modality::Text => Inputs::Texts(input),
        Modality::Image => Inputs::Images(pictures(&input)?),
    };
    Ok(Asked { model, input, format, dimensions: dimensions.map(|Integer(number)| number) })
}

fn field<'a, T: Deserialize<'a>>(
    json: Option<&'a RawValue>,
    name: &'static str,
    expected: &str,
) -> Result<Option<T>, ApiError> {
    let read = json.map(|json| serde_json::from_str(json.get())).transpose();
    read.map_err(|_| ApiError::invalid_argument(format!("'{name}' must be {expected}")).about(name))
}

fn texts(input: &RawValue) -> Result<Vec<String>, ApiError> {
    if let Ok(one) = serde_json::from_str::<Cow<'_, str>>(input.get()) {
        return Ok(vec![one.into_owned()]);
    }
    let several: Texts = serde_json::from_str(input.get()).map_err(|_| {
        ApiError::invalid_argument(
            "'input' must be a string or an array of strings; arrays of tokens are not understood, for each \
             model has its own tokens",
        )
        .about("input")
    })?;
    let several = several.into_texts("input").map_err(|error| error.about("input"))?;
    if several.is_empty() { Err(empty_input()) } else { Ok(several) }
}

fn pictures(input: &[String]) -> Result<Vec<Bytes>, ApiError> {
    let decode = |(number, text): (usize, &String)| {
        image_field::decode(text).map_err(|_| {
            ApiError::invalid_argument(format!(
                "Number {number} of 'input' is not a picture in base64 or a data: URI; addresses are not fetched"
            ))
            .about("input")
        })
    };
    (1..).zip(input).map(decode).collect()
}

fn empty_input() -> ApiError {
    ApiError::invalid_argument("'input' must not be empty").about("input")
}

/// An error as OpenAI's clients read it.
pub(super) fn error_body(error: &ApiError) -> OpenAiError {
    let code = match error.code() {
        "no_such_model" => "model_not_found",
        "unauthorized" => "invalid_api_key",
        code => code,
    };
    let r#type = if error.status().is_server_error() { "server_error" } else { "invalid_request_error" };
    let param = if error.status() == StatusCode::NOT_FOUND { Some("model") } else { error.param() };
    OpenAiError { error: OpenAiErrorDetails { message: error.to_string(), r#type, param, code } }
}
