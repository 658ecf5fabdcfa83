//! What users do together, and what they keep to themselves: circles and who is in them, messages, notifications, journals.
//!
//! # In which order rows are locked
//!
//! First users, in order of their numbers; then circles, in order of theirs; then what is in circles. No lock is made
//! stronger later. So of two who wait, none waits for the other, whoever joins, leaves, writes or is removed at once.
//! (Courses come before users, where a user is removed; nothing here locks one.)
//!
//! - A row that refers to a user locks it `FOR KEY SHARE`, so whoever writes such rows beside others locks their users
//!   before all else ([`hold`]). Removing a user locks it `FOR UPDATE`: no row about the user is made meanwhile.
//! - A circle is locked `FOR KEY SHARE` by who writes messages, which none of its members leaves meanwhile; `FOR NO KEY
//!   UPDATE` by who joins, which counts the seats, and in whose way no messages are; `FOR UPDATE` by whatever may end a
//!   membership, and the circle with the last one.
//! - Whatever depends on who is in a circle is looked at by a statement of its own after the lock: one that waited for the
//!   lock may show the rest as it was before.

pub(crate) mod circles;
pub(crate) mod journal;
pub(crate) mod members;
pub(crate) mod messages;
pub(crate) mod notifications;

use axum::Router;
use sqlx::PgConnection;
use utoipa::OpenApi;

use crate::postgres::replicas::Servers;

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .merge(circles::routes())
        .merge(members::routes())
        .merge(messages::routes())
        .merge(notifications::routes())
        .merge(journal::routes())
}

/// The room's part of the description.
#[derive(OpenApi)]
#[openapi(paths(
    circles::list,
    circles::create,
    circles::show,
    circles::of_user,
    members::list,
    members::show,
    members::join,
    members::leaving::appoint,
    members::leaving::leave,
    messages::list,
    messages::show,
    messages::say,
    messages::edit,
    messages::remove,
    notifications::list,
    notifications::unread,
    notifications::read,
    notifications::read_all,
    journal::list,
    journal::show,
    journal::write,
    journal::edit,
    journal::remove,
    journal::streak::show,
))]
pub(crate) struct Description;

/// Keeps users from being removed until the transaction ends; returns those that there are.
async fn hold(connection: &mut PgConnection, users: &[i64]) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT id FROM users WHERE id = ANY ($1) ORDER BY id FOR KEY SHARE",
        users
    )
    .fetch_all(connection)
    .await
}
