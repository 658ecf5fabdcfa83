//! What the origin offers, as OpenAPI. Each room describes its resources; what all of them have in common is added here,
//! in one place.

mod common;

use std::sync::LazyLock;

use axum::{
    Router,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use utoipa::OpenApi;

use crate::{activity, community, learning, observe, polyglot, state::Servers};

#[derive(OpenApi)]
#[openapi(
    paths(show),
    info(
        title = "Tidegate origin",
        description = "Users, courses, enrollments, documents, transactions, activity and circles."
    )
)]
struct Description;

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
    let mut description = Description::openapi();
    description.merge(learning::Description::openapi());
    description.merge(polyglot::Description::openapi());
    description.merge(activity::Description::openapi());
    description.merge(community::Description::openapi());
    description.merge(observe::Description::openapi());
    let mut document =
        serde_json::to_value(description).expect("the description is made of strings");
    common::complete(&mut document);
    Bytes::from(document.to_string())
});

pub(crate) fn routes() -> Router<Servers> {
    Router::new().route("/openapi.json", get(show))
}

/// Shows this description.
#[utoipa::path(get, path = "/openapi.json", tag = "operations", responses(
    (status = 200, description = "an OpenAPI document", body = serde_json::Value)))]
async fn show() -> Response {
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        ),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("max-age=60"),
        ),
    ];
    (headers, DOCUMENT.clone()).into_response()
}
