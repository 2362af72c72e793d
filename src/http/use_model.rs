//! `POST /v1/models/use`: another model, for those who hold a key that manages.
//!
//! On the bus polkit decides about this. A local user must find no way round it here, so a key that the
//! administrator has marked is needed, and a service without such keys never does it.

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{error::ApiError, json::JsonFields, payload, router::Facade, security};

#[derive(Serialize)]
struct Answer {
    model: String,
}

/// Takes an installed model into service.
pub(super) async fn use_model(State(facade): State<Facade>, request: Request) -> Result<Response, ApiError> {
    security::authorize_management(&facade, request.headers())?;
    let body = payload::receive_json(&facade, request).await?;
    let model = payload::decode_json(body, from_json).await?;
    facade.engine.load_model(&model).await?;
    let model = facade.engine.status().borrow().model.clone();
    Ok(Json(Answer { model }).into_response())
}

fn from_json(fields: Option<JsonFields>) -> Result<String, ApiError> {
    fields.ok_or_else(ApiError::no_json_body)?.model()
}
