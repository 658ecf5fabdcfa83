//! A connection while somebody has it, and until when that may be.
//!
//! PostgreSQL itself ends statements that take too long, as long as it is there. Where its machine is gone, or what is
//! between it and us loses every packet, nobody ends them: the system gives a silent connection up after a quarter of an
//! hour. So whoever works on a connection does so until a moment of its own. One that is held until that moment is not
//! given back, where it would be waited for once more, but closed as it stands.

use std::{
    io,
    ops::{Deref, DerefMut},
    time::Duration,
};

use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection, postgres::PgListener, raw_sql};
use tokio::time::{Instant, timeout, timeout_at};

/// How long a request may hold a connection, and a statement behind the requests may take: longer than PostgreSQL lets a
/// statement run, so that this decides only where PostgreSQL does not.
pub(crate) const LONGEST: Duration = Duration::from_secs(8);

/// A connection. Dropped in time it goes back to its pool, and what was not committed is rolled back.
pub(crate) struct Held {
    /// There until it is dropped.
    connection: Option<PoolConnection<Postgres>>,
    until: Instant,
    in_transaction: bool,
}

const THERE: &str = "a connection is there until it is dropped";

impl Held {
    pub(crate) fn new(connection: PoolConnection<Postgres>, until: Instant) -> Self {
        Self {
            connection: Some(connection),
            until,
            in_transaction: false,
        }
    }

    /// Until when it may be held.
    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    /// Begins the longest time anew, and says when that ends.
    pub(crate) fn renew(&mut self) -> Instant {
        self.until = Instant::now() + LONGEST;
        self.until
    }

    /// Lets it be held until another moment.
    pub(crate) fn keep_until(&mut self, until: Instant) {
        self.until = until;
    }

    /// Begins a transaction.
    pub(crate) async fn begin(&mut self) -> Result<(), sqlx::Error> {
        self.in_transaction = true;
        raw_sql("BEGIN").execute(&mut **self).await?;
        Ok(())
    }

    /// Makes what the transaction did last.
    pub(crate) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        raw_sql("COMMIT").execute(&mut **self).await?;
        self.in_transaction = false;
        Ok(())
    }
}

impl Deref for Held {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect(THERE)
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect(THERE)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        if Instant::now() >= self.until {
            close(connection);
            return;
        }
        let in_transaction = self.in_transaction;
        tokio::spawn(async move {
            // The pool has it back once it is as it was.
            if in_transaction {
                let rolling = raw_sql("ROLLBACK").execute(&mut *connection);
                if !matches!(timeout(LONGEST, rolling).await, Ok(Ok(_))) {
                    close(connection);
                    return;
                }
            }
            // The pool asks whether it lives. One that does not answer keeps nobody's place for long.
            let _ = timeout(LONGEST, connection.return_to_pool()).await;
        });
    }
}

/// Closes a connection where it stands, without a word that could take as long as what was waited for. Its pool may make
/// another at once.
fn close(connection: PoolConnection<Postgres>) {
    drop(connection.detach());
}

/// Waits for what a database is asked until `end`; one that has not answered by then counts as away.
pub(crate) async fn in_time<T>(
    end: Instant,
    asked: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let silent = |_| Err(sqlx::Error::Io(io::Error::from(io::ErrorKind::TimedOut)));
    timeout_at(end, asked).await.unwrap_or_else(silent)
}

/// Connections for what works behind the requests, so that neither waits for the other. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Background(PgPool);

impl Background {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self(pool)
    }

    pub(crate) async fn acquire(&self) -> Result<Held, sqlx::Error> {
        Ok(Held::new(self.0.acquire().await?, Instant::now() + LONGEST))
    }

    /// A connection on which a transaction has begun.
    pub(crate) async fn begin(&self) -> Result<Held, sqlx::Error> {
        let mut held = self.acquire().await?;
        in_time(held.renew(), held.begin()).await?;
        Ok(held)
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.0
    }

    /// A connection that hears what is notified.
    pub(crate) async fn listen(&self, channel: &str) -> Result<PgListener, sqlx::Error> {
        in_time(Instant::now() + LONGEST, async {
            let mut listener = PgListener::connect_with(&self.0).await?;
            listener.listen(channel).await?;
            Ok(listener)
        })
        .await
    }

    pub(crate) async fn close(&self) {
        self.0.close().await;
    }
}
