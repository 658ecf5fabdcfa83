//! What users do on the way, which Redis takes first: events through a stream, reactions and drafts written behind, and
//! sessions and presence that never leave it.

pub(crate) mod behind;
pub(crate) mod days;
pub(crate) mod drafts;
pub(crate) mod events;
pub(crate) mod presence;
pub(crate) mod queries;
pub(crate) mod reactions;
pub(crate) mod sessions;
pub(crate) mod stream;
pub(crate) mod worker;

use axum::Router;
use utoipa::OpenApi;

use crate::postgres::replicas::Servers;

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .merge(events::routes())
        .merge(queries::routes())
        .merge(reactions::routes())
        .merge(drafts::routes())
        .merge(sessions::routes())
        .merge(presence::routes())
}

/// The room's part of the description.
#[derive(OpenApi)]
#[openapi(paths(
    events::accept,
    queries::list,
    queries::views,
    queries::trending,
    reactions::add,
    reactions::show,
    drafts::save,
    drafts::show,
    drafts::finish,
    drafts::show_finished,
    sessions::begin,
    sessions::show,
    sessions::end,
    presence::here,
    presence::leave,
    presence::present,
    presence::types,
    presence::stops,
    presence::typing,
))]
pub(crate) struct Description;
