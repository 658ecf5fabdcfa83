//! What the origin offers, as OpenAPI.

use axum::{
    Router,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};
use utoipa::OpenApi;

use crate::{
    activity,
    courses::{self, search},
    documents, drafts, enrollments, events, health, monitoring, presence, reactions,
    replicas::Servers,
    sessions, stats, transactions, users,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidegate origin",
        description = "Users, courses, enrollments, documents, transactions and activity."
    ),
    paths(
        users::create,
        users::show,
        users::edit,
        users::remove,
        courses::list,
        search::search,
        search::click,
        search::popular,
        courses::create,
        courses::show,
        courses::edit,
        courses::publish,
        enrollments::of_user,
        enrollments::students,
        enrollments::show,
        enrollments::enrol,
        enrollments::progress,
        enrollments::unenroll,
        enrollments::transfer,
        documents::write,
        documents::read,
        transactions::write,
        transactions::read,
        events::accept,
        activity::list,
        activity::views,
        activity::trending,
        reactions::add,
        reactions::show,
        drafts::save,
        drafts::show,
        drafts::finish,
        sessions::begin,
        sessions::show,
        sessions::end,
        presence::here,
        presence::leave,
        presence::present,
        presence::types,
        presence::stops,
        presence::typing,
        stats::show,
        health::show,
        monitoring::database,
        monitoring::performance,
    )
)]
struct Description;

pub(crate) fn routes() -> Router<Servers> {
    Router::new().route("/openapi.json", get(show))
}

async fn show() -> Response {
    let body = Description::openapi()
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
