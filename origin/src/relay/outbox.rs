//! The outbox: tags to purge, committed with the data they speak of, until a relay has taken them to
//! the purge log.
//!
//! A write announces its tags in its own transaction, so that there is never a change without its purge, nor a purge
//! without its change. Courses and documents are announced by a trigger (`tidegate_purge` in the migrations), also when
//! somebody changes them by hand; the rest by their handlers with [`announce`].

use std::{future::Future, pin::Pin};

use sqlx::PgConnection;

use crate::postgres::lsn::Lsn;

/// What makes the outbox, and watches tables for it, in a database of one's own: SQL to be run once, repeats are
/// harmless.
pub const WATCHING: &str = include_str!("../../migrations/0003_watching.sql");

/// How many tags stand in one row at most.
const ROW: usize = 1_000;

/// Where tags go: the purge log.
pub trait PurgeSink: Send + Sync {
    /// Records that whatever carries one of the tags is invalid. Returns when it is recorded, and not before.
    ///
    /// A replica that has replayed as far as `seen` shows the changes that the tags speak of; `None` when that is not
    /// known.
    fn append(
        &self,
        tags: Vec<String>,
        seen: Option<Lsn>,
    ) -> Pin<Box<dyn Future<Output = Result<(), SinkError>> + Send + '_>>;
}

/// Why tags could not be recorded. They stay in the outbox and are offered again.
#[derive(Debug, thiserror::Error)]
#[error("the purge log does not take tags: {0}")]
pub struct SinkError(pub String);

/// Announces tags in the transaction of the data they speak of.
///
/// # Errors
/// Those of the statement.
pub async fn announce(connection: &mut PgConnection, tags: &[String]) -> Result<(), sqlx::Error> {
    for row in tags.chunks(ROW) {
        sqlx::query!("INSERT INTO outbox (tags) VALUES ($1)", row)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Whether a tag fits the fields that list tags, as the SQL function `tidegate_is_tag` says it.
pub(crate) fn is_tag(text: &str) -> bool {
    (1..=4_096).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
