//! The learning platform: users, courses with their search, and the seats between them.

pub(crate) mod courses;
pub(crate) mod embedding;
pub(crate) mod enrollments;
pub(crate) mod indexing;
pub(crate) mod passwords;
pub(crate) mod users;
pub(crate) mod vectors;

use axum::Router;
use utoipa::OpenApi;

use crate::postgres::replicas::Servers;

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .merge(users::routes())
        .merge(passwords::routes())
        .merge(courses::routes())
        .merge(enrollments::routes())
}

/// The room's part of the description.
#[derive(OpenApi)]
#[openapi(paths(
    users::create,
    users::show,
    users::edit,
    users::remove,
    passwords::change,
    courses::list,
    courses::search::search,
    courses::search::semantic::semantic,
    courses::search::click,
    courses::search::popular,
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
))]
pub(crate) struct Description;
