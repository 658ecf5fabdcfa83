//! What the origin offers, as OpenAPI.

use axum::{
    Router,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};
use utoipa::OpenApi;

use crate::{activity, community, learning, observe, polyglot, postgres::replicas::Servers};

#[derive(OpenApi)]
#[openapi(info(
    title = "Tidegate origin",
    description = "Users, courses, enrollments, documents, transactions, activity and circles."
))]
struct Description;

pub(crate) fn routes() -> Router<Servers> {
    Router::new().route("/openapi.json", get(show))
}

async fn show() -> Response {
    let mut description = Description::openapi();
    description.merge(learning::Description::openapi());
    description.merge(polyglot::Description::openapi());
    description.merge(activity::Description::openapi());
    description.merge(community::Description::openapi());
    description.merge(observe::Description::openapi());
    let body = description
        .to_json()
        .expect("the description is made of strings");
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
    (headers, body).into_response()
}
