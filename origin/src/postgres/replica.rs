//! A standby of the primary: whether it is one, where it is, and whether it answers.

use std::{
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use sqlx::{PgConnection, PgPool};
use tokio::time::Instant;

use crate::{
    observe::metrics::Fallback,
    postgres::{
        held::{Background, Held, in_time},
        lsn::{Lsn, position_of},
    },
};

/// How long one that failed to say where it is is left alone.
const REST: Duration = Duration::from_secs(1);
/// How long a read may take on it. Its statements end before; this is for a server that has stopped in the midst.
pub(crate) const READ: Duration = Duration::from_secs(3);

/// A standby, which need not be there.
pub(crate) struct Replica {
    pool: PgPool,
    /// How long it may take to say where it is, a new connection included.
    deadline: Duration,
    /// The identifier that the primary's cluster shares with its standbys, once the primary has told it.
    system: OnceLock<i64>,
    rests_until: Mutex<Option<Instant>>,
}

/// Where a replica is.
struct Place {
    is_standby: bool,
    system: i64,
    lsn: Option<Lsn>,
}

impl Replica {
    /// A replica that is read once the primary has been asked which cluster it is.
    pub(crate) fn new(pool: PgPool, deadline: Duration) -> Self {
        Self {
            pool,
            deadline,
            system: OnceLock::new(),
            rests_until: Mutex::new(None),
        }
    }

    /// Asks the primary which cluster it is, so that its replica can be told from others.
    ///
    /// # Errors
    /// When it does not say.
    pub(crate) async fn identify(&self, primary: &Background) -> Result<(), sqlx::Error> {
        let ask = sqlx::query_scalar!(
            r#"SELECT system_identifier AS "system!" FROM pg_control_system()"#
        );
        let mut held = primary.acquire().await?;
        let system = in_time(held.until(), ask.fetch_one(&mut *held)).await?;
        self.system.get_or_init(|| system);
        Ok(())
    }

    /// How many bytes of the primary's log it has not replayed; `None` when that cannot be told.
    pub(crate) async fn lag(&self, primary: &Background) -> Option<f64> {
        // The replica first: the primary only moves on meanwhile, and the difference is not negative.
        let end = Instant::now() + READ;
        let acquired = in_time(end, self.pool.acquire()).await.ok()?;
        let mut held = Held::new(acquired, end);
        let replayed = in_time(end, place(&mut held)).await.ok()?.lsn?;
        let mut held = primary.acquire().await.ok()?;
        let asked = in_time(held.until(), written_so_far(&mut held)).await;
        let written = asked.ok()?;
        (written.timeline == replayed.timeline)
            .then(|| written.position.saturating_sub(replayed.position) as f64)
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    /// A connection to the replica until a moment, if it shows all that had been written at `needed`.
    pub(crate) async fn reader(&self, needed: Lsn, until: Instant) -> Result<Held, Fallback> {
        let system = self.system.get().copied();
        let system = system.ok_or(Fallback::Unavailable)?;
        if self.rests() {
            return Err(Fallback::Unavailable);
        }
        let end = Instant::now() + self.deadline;
        let asking = async {
            let mut held = Held::new(self.pool.acquire().await?, end);
            let place = place(&mut held).await?;
            Ok((held, place))
        };
        let (mut held, place) = match in_time(end, asking).await {
            Ok(answer) => answer,
            Err(error) => return Err(self.failed(&error.to_string())),
        };
        held.keep_until(until);
        if !place.is_standby || place.system != system {
            return Err(Fallback::NotAReplica);
        }
        match place.lsn {
            Some(lsn) if lsn.timeline != needed.timeline => Err(Fallback::OtherTimeline),
            Some(lsn) if lsn.position >= needed.position => Ok(held),
            _ => Err(Fallback::Behind),
        }
    }

    /// Leaves it alone for a moment, for a reason.
    pub(crate) fn failed(&self, reason: &str) -> Fallback {
        tracing::warn!(
            reason,
            "the replica does not answer: the primary is read instead"
        );
        *self.rest() = Some(Instant::now() + REST);
        Fallback::Unavailable
    }

    fn rests(&self) -> bool {
        self.rest().is_some_and(|until| Instant::now() < until)
    }

    fn rest(&self) -> MutexGuard<'_, Option<Instant>> {
        self.rests_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks a server where it is.
///
/// A standby does not say which timeline it replays, but three things tell of one that it is on already: where it last
/// began anew, what it must replay to be consistent, and what it receives, which it does only of the line that it
/// replays. Each may be late, so the highest is right or too low, and then the primary is read.
async fn place(connection: &mut PgConnection) -> Result<Place, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT pg_is_in_recovery() AS "is_standby!", pg_last_wal_replay_lsn()::text AS replayed,
               (SELECT system_identifier FROM pg_control_system()) AS "system!",
               greatest((SELECT timeline_id FROM pg_control_checkpoint()),
                        (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
                        (SELECT received_tli FROM pg_stat_wal_receiver)) AS "timeline!""#
    )
    .fetch_one(connection)
    .await?;
    let position = row.replayed.as_deref().and_then(position_of);
    let timeline = u32::try_from(row.timeline).ok();
    Ok(Place {
        is_standby: row.is_standby,
        system: row.system,
        lsn: timeline
            .zip(position)
            .map(|(timeline, position)| Lsn { timeline, position }),
    })
}

/// The end of what the primary has written.
pub(crate) async fn written_so_far(connection: &mut PgConnection) -> Result<Lsn, sqlx::Error> {
    let text = sqlx::query_scalar!(r#"SELECT tidegate_lsn() AS "lsn!""#)
        .fetch_one(connection)
        .await?;
    text.parse()
        .map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
