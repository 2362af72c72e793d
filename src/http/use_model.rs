//! `POST /v1/models/use`: another model, for those who hold a key that manages.
//!
//! On the bus polkit decides about this. A local user must find no way round it here, so a key that the
//! administrator has marked is needed, and a service without such keys never does it.
//! As on the bus, the choice outlives a restart, and what was begun ends even if the client has hung up.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    error::{ApiError, ErrorBody},
    json::JsonFields,
    payload,
    router::Facade,
    security,
};
use crate::{engine::ChoiceError, model::ChangeError};

/// Records that the named model was chosen. May write files.
pub type Choose = Arc<dyn Fn(&str) -> Result<(), ChangeError> + Send + Sync>;

/// The model to take into service.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the body, which is read field by field")]
pub(super) struct UseModelBody {
    /// Name of an installed model.
    model: String,
}

/// The model that is in service.
#[derive(Serialize, ToSchema)]
pub(super) struct UsedModel {
    /// Its name.
    model: String,
}

/// Takes an installed model into service, with a key that manages.
#[utoipa::path(post, path = "/v1/models/use", tag = "service", request_body = UseModelBody, responses(
    (status = 200, description = "The model is in service.", body = UsedModel),
    (status = "4XX", description = "The request cannot be served.", body = ErrorBody),
    (status = "5XX", description = "The model does not load.", body = ErrorBody),
))]
pub(super) async fn use_model(State(facade): State<Facade>, request: Request) -> Result<Response, ApiError> {
    security::authorize_management(&facade, request.headers())?;
    let body = payload::receive_json(&facade, request).await?;
    let model = payload::decode_json(body, from_json).await?;
    let (engine, choose, name) = (facade.engine.clone(), facade.choose.clone(), model.clone());
    let record = move |model: &str| choose.map_or(Ok(()), |choose| choose(model));
    // In a task of its own: this future is dropped if the client hangs up.
    let chosen = tokio::spawn(async move { engine.choose_model(name, record).await });
    chosen.await.map_err(|_| ApiError::internal())?.map_err(|error| match error {
        ChoiceError::Load(error) => error.into(),
        ChoiceError::Record(error) => {
            let message = format!("model {model} is in service, but will not be after a restart: {error}");
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "not_recorded", message)
        }
    })?;
    Ok(Json(UsedModel { model }).into_response())
}

fn from_json(fields: Option<JsonFields>) -> Result<String, ApiError> {
    fields.ok_or_else(ApiError::no_json_body)?.model()
}
