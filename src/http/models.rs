//! `GET /v1/models`, as OpenAI has it: what is installed, and what is in service.

use std::{
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use axum::{
    Json,
    extract::{Path as UrlPath, State},
    http::StatusCode,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{error::ApiError, openai::OpenAiError, router::Facade};
use crate::{
    engine::ModelInfo,
    model::{self, Bundle},
};

/// The installed models, sorted by name.
#[derive(Serialize, ToSchema)]
pub(super) struct List {
    /// `list`
    object: &'static str,
    data: Vec<Model>,
}

/// An installed model.
#[derive(Serialize, ToSchema)]
pub(super) struct Model {
    /// Its name.
    id: String,
    /// `model`
    object: &'static str,
    /// When its files were installed, in seconds since 1970; 0 if that is not known.
    created: u64,
    /// `hailo-clip`
    owned_by: &'static str,
    /// Whether it is in service. Only then it can be asked.
    loaded: bool,
    /// Other names that it answers to.
    aliases: Vec<String>,
    /// Components of an embedding; absent if the model's description cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    dimension: Option<usize>,
    /// `fp32`, `fp16` or `int8`; absent if the model's description cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    precision: Option<String>,
}

/// Lists the models.
#[utoipa::path(get, path = "/v1/models", tag = "openai", responses(
    (status = 200, description = "The installed models.", body = List),
    (status = "4XX", description = "The request cannot be served.", body = OpenAiError),
))]
pub(super) async fn list(State(facade): State<Facade>) -> Result<Json<List>, ApiError> {
    Ok(Json(List { object: "list", data: installed(&facade).await? }))
}

/// Describes one model, by its name or an alias.
#[utoipa::path(get, path = "/v1/models/{model}", tag = "openai",
    params(("model" = String, Path, description = "Name or alias.")),
    responses(
        (status = 200, description = "The model.", body = Model),
        (status = "4XX", description = "The request cannot be served.", body = OpenAiError),
    ))]
pub(super) async fn show(
    State(facade): State<Facade>,
    UrlPath(name): UrlPath<String>,
) -> Result<Json<Model>, ApiError> {
    let answers = |model: &Model| model.id == name || model.aliases.contains(&name);
    let models = installed(&facade).await?;
    // The one in service first: several may answer to an alias.
    let (loaded, others): (Vec<_>, Vec<_>) =
        models.into_iter().filter(answers).partition(|model| model.loaded);
    loaded.into_iter().chain(others).next().map(Json).ok_or_else(|| {
        ApiError::new(StatusCode::NOT_FOUND, "no_such_model", "No model of that name is installed")
    })
}

async fn installed(facade: &Facade) -> Result<Vec<Model>, ApiError> {
    let folders = facade.options().models.clone();
    let loaded = facade.engine.status().borrow().loaded.clone();
    let read = tokio::task::spawn_blocking(move || read(&folders, loaded));
    read.await.map_err(|_| ApiError::internal())
}

fn read(folders: &[PathBuf], loaded: Option<ModelInfo>) -> Vec<Model> {
    let mut models: Vec<_> = model::list(folders)
        .into_iter()
        .filter(|name| loaded.as_ref().is_none_or(|loaded| loaded.name != *name))
        .map(|name| match Bundle::find(&name, folders) {
            Ok(bundle) => Model {
                precision: Some(bundle.precision.to_string()),
                ..Model::new(
                    name,
                    bundle.aliases,
                    Some(bundle.embedding_dimension),
                    bundle.tokenizer.path.parent(),
                )
            },
            Err(_) => Model::new(name, Vec::new(), None, None),
        })
        .collect();
    if let Some(loaded) = loaded {
        let bundle = Bundle::find(&loaded.name, folders).ok();
        let folder = bundle.as_ref().and_then(|bundle| bundle.tokenizer.path.parent());
        let dimension = Some(loaded.embedding_dimension);
        models.push(Model {
            loaded: true,
            precision: Some(loaded.precision),
            ..Model::new(loaded.name, loaded.aliases, dimension, folder)
        });
    }
    models.sort_by(|a, b| a.id.cmp(&b.id));
    models
}

impl Model {
    fn new(id: String, aliases: Vec<String>, dimension: Option<usize>, folder: Option<&Path>) -> Self {
        let modified = folder.and_then(|folder| folder.metadata().ok()?.modified().ok());
        let created = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self {
            id,
            object: "model",
            created: created.map_or(0, |time| time.as_secs()),
            owned_by: "hailo-clip",
            loaded: false,
            aliases,
            dimension,
            precision: None,
        }
    }
}
