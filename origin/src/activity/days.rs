//! The days of events: partitions are made ahead of time, and dropped when their retention is over.

use std::{collections::BTreeSet, future::Future, pin::pin, sync::Arc, time::Duration};

use sqlx::{Connection, PgConnection};
use time::{Date, OffsetDateTime, Time};
use tokio::time::sleep;

use crate::{
    activity::stream::Stream,
    clock::Clock,
    postgres::held::{Background, in_time},
};

/// How often partitions are made and dropped.
const MAINTENANCE: Duration = Duration::from_secs(3_600);
/// When it is tried again after a failure, such as a lock that others hold for long.
const SOON: Duration = Duration::from_secs(30);
/// How many days of partitions are made ahead.
const AHEAD: time::Duration = time::Duration::days(7);
/// How much longer than events are accepted their partitions are kept: those on their way still find them.
const GRACE: time::Duration = time::Duration::days(1);

/// Makes partitions ahead of time and drops those that are past their retention, now and every hour.
pub(crate) async fn maintain(
    pool: Background,
    stream: Arc<Stream>,
    clock: Clock,
    retention: time::Duration,
    shutdown: impl Future<Output = ()> + Send,
) {
    let mut shutdown = pin!(shutdown);
    let mut is_told = false;
    loop {
        if !is_told && let Ok(weaknesses) = stream.weaknesses().await {
            is_told = true;
            for weakness in weaknesses {
                tracing::warn!(weakness, "redis may lose events that were accepted");
            }
        }
        let now = clock.now();
        let pause = match put_in_order(&pool, now, retention).await {
            Ok((made, dropped)) => {
                tracing::debug!(made, dropped, "the days of events are in order");
                MAINTENANCE
            }
            Err(error) => {
                tracing::warn!(%error, "the days of events are not in order");
                SOON
            }
        };
        if let Err(error) = stream.forget_the_gone().await {
            tracing::debug!(%error, "readers that are gone are not forgotten");
        }
        tokio::select! {
            () = &mut shutdown => return,
            () = sleep(pause) => {}
        }
    }
}

/// Makes the partitions of some days, of events that waited for longer than they are made ahead or kept.
pub(crate) async fn make(
    connection: &mut PgConnection,
    days: BTreeSet<Date>,
) -> Result<(), sqlx::Error> {
    let days: Vec<_> = days
        .into_iter()
        .map(|day| day.with_time(Time::MIDNIGHT).assume_utc())
        .collect();
    sqlx::query!(
        "SELECT tidegate_make_event_days(day, day) FROM UNNEST($1::timestamptz[]) AS day",
        &days
    )
    .fetch_all(connection)
    .await?;
    Ok(())
}

/// Makes the days that are ahead and drops those that are over; returns how many of each.
async fn put_in_order(
    pool: &Background,
    now: OffsetDateTime,
    retention: time::Duration,
) -> Result<(i32, i32), sqlx::Error> {
    let mut held = pool.acquire().await?;
    let until = held.until();
    let round = async {
        let made = make_from(&mut held, now - GRACE, now + AHEAD).await?;
        let dropped = drop_before(&mut held, now - retention - GRACE).await?;
        Ok((made, dropped))
    };
    in_time(until, round).await
}

async fn make_from(
    connection: &mut PgConnection,
    first: OffsetDateTime,
    last: OffsetDateTime,
) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT tidegate_make_event_days($1, $2) AS "made!""#,
        first,
        last
    )
    .fetch_one(connection)
    .await
}

/// Waits for readers of the table a second at most: who comes after it waits as long.
async fn drop_before(
    connection: &mut PgConnection,
    before: OffsetDateTime,
) -> Result<i32, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::query!("SET LOCAL lock_timeout = '1s'")
        .execute(&mut *transaction)
        .await?;
    let dropped = sqlx::query_scalar!(
        r#"SELECT tidegate_drop_event_days($1) AS "dropped!""#,
        before
    )
    .fetch_one(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(dropped)
}
