//! `GET /openapi.json`: this facade described for programs, from the types that its handlers answer with.
//!
//! Bodies that are read field by field, so that errors name their field, have a type beside their handler
//! that says what the fields are; `make test-openapi` holds all of it against the service.

use std::sync::LazyLock;

use axum::{Json, extract::State};
use serde_json::Value;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        OpenApi as Document, SecurityRequirement,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{classify, embed, health, immich, index, llama_cpp, metrics, models, openai, router::Facade};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "hailo-clip",
        description = "CLIP zero-shot image classification and embeddings.",
        license(name = "MIT", identifier = "MIT"),
    ),
    paths(
        index::index,
        health::health,
        health::live,
        health::ready,
        classify::classify,
        embed::image,
        embed::text,
        openai::embeddings,
        models::list,
        models::show,
        llama_cpp::embeddings,
        llama_cpp::props,
        immich::predict,
        immich::ping,
        metrics::metrics,
        openapi,
    ),
    modifiers(&Keys),
)]
struct Api;

/// Keys are needed where the service has some, so every guarded operation goes with and without.
struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut Document) {
        let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        document.components.get_or_insert_default().add_security_scheme("key", bearer);
        let either = [SecurityRequirement::default(), SecurityRequirement::new("key", [""; 0])];
        document.security = Some(either.into());
    }
}

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut document =
        serde_json::to_value(Api::openapi()).expect("the document is made of strings and numbers");
    drop_formats_of_optional_numbers(&mut document);
    document
});

/// An optional number may be `null`, of which a format such as `double` says nothing, but some programs that
/// read it do not know. Its range says the rest.
fn drop_formats_of_optional_numbers(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let is_optional_number = fields.get("type").and_then(Value::as_array).is_some_and(|types| {
                types.iter().any(|name| name == "null")
                    && types.iter().any(|name| name == "number" || name == "integer")
            });
            if is_optional_number {
                fields.remove("format");
            }
            fields.values_mut().for_each(drop_formats_of_optional_numbers);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_formats_of_optional_numbers),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Describes this interface, as it is with the model in service.
#[utoipa::path(get, path = "/openapi.json", tag = "service", responses(
    (status = 200, description = "An OpenAPI 3.1 document.", body = Object),
    (status = "4XX", description = "The request cannot be served.", body = super::error::ErrorBody),
))]
pub(super) async fn openapi(State(facade): State<Facade>) -> Json<Value> {
    let mut document = DOCUMENT.clone();
    let loaded = facade.engine.status().borrow().loaded.clone();
    if let Some(loaded) = loaded {
        let dimensions = &mut document["components"]["schemas"]["EmbeddingsBody"]["properties"]["dimensions"];
        dimensions["minimum"] = loaded.embedding_dimension.into();
        dimensions["maximum"] = loaded.embedding_dimension.into();
    }
    Json(document)
}
