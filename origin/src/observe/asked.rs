//! What those who watch ask of the servers themselves.

use crate::{
    postgres::held::{Background, in_time},
    state::Servers,
};

/// What only the servers know.
#[derive(Clone, Copy, Default)]
pub(crate) struct Asked {
    /// How many rows wait in the outbox, and for how many seconds the oldest has.
    pub(crate) outbox: Option<(i64, f64)>,
    /// How many bytes the replica is behind.
    pub(crate) lag: Option<f64>,
}

/// Asks them, once for all who ask at a time, and on connections that no request waits for. What one does not say in time
/// is left out; one that has failed again and again is not asked.
pub(crate) async fn ask(servers: &Servers) -> Asked {
    let question = async {
        let primary = servers.primary();
        if !primary.is_ready() || primary.circuit() != "closed" {
            return Asked::default();
        }
        let background = servers.background();
        let lag = async { servers.replica()?.lag(background).await };
        let (outbox, lag) = tokio::join!(outbox(background), lag);
        Asked {
            outbox: outbox.ok(),
            lag,
        }
    };
    servers.watched().asked.ask(question).await
}

/// How many rows wait, and for how many seconds the oldest has.
async fn outbox(pool: &Background) -> Result<(i64, f64), sqlx::Error> {
    let ask = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM (SELECT FROM outbox LIMIT 100000) AS counted) AS "waiting!",
                  coalesce((SELECT CASE WHEN pg_catalog.isfinite(created_at)
                                   THEN extract(epoch FROM pg_catalog.clock_timestamp() - created_at)::float8 END
                            FROM outbox ORDER BY id LIMIT 1), 0) AS "oldest!""#
    );
    let mut held = pool.acquire().await?;
    let row = in_time(held.until(), ask.fetch_one(&mut *held)).await?;
    Ok((row.waiting, row.oldest))
}
