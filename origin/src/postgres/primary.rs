//! The primary, guarded: requests take connections in turn, and none waits for a database that is away.
//!
//! A request first takes one of as many slots as the pool has connections. Who gets none in time is told that all are in
//! use (503 with `Retry-After`), which is our load and says nothing of PostgreSQL. Who has a slot waits for PostgreSQL
//! alone: when that does not come in time either, or a statement fails because PostgreSQL went away or took too long, it
//! is a failure, and some in a row open the [`Breaker`].

use std::{
    panic::resume_unwind,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use sqlx::{PgPool, Postgres, Transaction, pool::PoolConnection};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{self, timeout_at},
};

use crate::{
    clock::Clock,
    http::error::{Problem, Unavailable},
    observe::metrics::{Metrics, Refused, Use},
    postgres::{
        breaker::{Admission, Breaker},
        replicas::Servers,
    },
};

/// How long a request waits for a connection, a slot included.
pub(crate) const ACQUIRE: Duration = Duration::from_secs(2);

/// The primary. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Primary(Arc<Inner>);

struct Inner {
    pool: PgPool,
    slots: Arc<Semaphore>,
    breaker: Mutex<Breaker>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum NoConnection {
    /// All are in use, and none came free in time.
    Exhausted,
    /// The circuit is open, for so long.
    Open { wait: Duration },
    /// PostgreSQL did not give one in time.
    Unreachable,
}

impl From<NoConnection> for Problem {
    fn from(reason: NoConnection) -> Self {
        match reason {
            NoConnection::Exhausted => Self::busy(),
            NoConnection::Open { wait } => Self::unavailable_for(wait),
            NoConnection::Unreachable => Self::unavailable(),
        }
    }
}

/// A slot while it is used; dropped after the connection, it says how long that was held.
pub(crate) struct Slot {
    _permit: Option<OwnedSemaphorePermit>,
    since: Instant,
    purpose: Use,
    metrics: Arc<Metrics>,
}

impl Slot {
    /// Where nobody waits in turn: on a replica.
    pub(crate) fn free(purpose: Use, metrics: &Arc<Metrics>) -> Self {
        Self::new(None, purpose, metrics)
    }

    fn new(permit: Option<OwnedSemaphorePermit>, purpose: Use, metrics: &Arc<Metrics>) -> Self {
        Self {
            _permit: permit,
            since: Instant::now(),
            purpose,
            metrics: metrics.clone(),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.metrics.held(self.purpose, self.since.elapsed());
    }
}

impl Primary {
    /// `slots` requests at once may have a connection of the pool.
    pub(crate) fn new(pool: PgPool, slots: u32, metrics: Arc<Metrics>, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            pool,
            slots: Arc::new(Semaphore::new(slots as usize)),
            breaker: Mutex::default(),
            clock,
            metrics,
        }))
    }

    /// The pool itself, for those who do not wait in turn.
    pub(crate) fn pool(&self) -> &PgPool {
        &self.0.pool
    }

    /// The circuit's state: `closed`, `open` or `half-open`.
    pub(crate) fn circuit(&self) -> &'static str {
        self.breaker().name()
    }

    /// A connection for one read.
    pub(crate) async fn acquire(&self) -> Result<(PoolConnection<Postgres>, Slot), NoConnection> {
        self.hold(Use::Read, self.0.pool.acquire()).await
    }

    /// A transaction for one write.
    pub(crate) async fn begin(
        &self,
    ) -> Result<(Transaction<'static, Postgres>, Slot), NoConnection> {
        self.hold(Use::Write, self.0.pool.begin()).await
    }

    async fn hold<T>(
        &self,
        purpose: Use,
        getting: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<(T, Slot), NoConnection> {
        let admission = self.breaker().admit(self.now());
        let probe = match admission {
            Admission::Pass => None,
            Admission::Probe => Some(Probe {
                primary: self,
                outcome: None,
            }),
            Admission::Refused { wait } => {
                self.0.metrics.refused(Refused::CircuitOpen);
                return Err(NoConnection::Open { wait });
            }
        };
        let end = time::Instant::now() + ACQUIRE;
        let waiting = self.0.metrics.waits();
        let permit = timeout_at(end, self.0.slots.clone().acquire_owned()).await;
        drop(waiting);
        let Ok(permit) = permit else {
            self.0.metrics.refused(Refused::Exhausted);
            return Err(NoConnection::Exhausted);
        };
        let permit = permit.expect("nobody closes the slots");
        let got = timeout_at(end, getting).await;
        if let Some(mut probe) = probe {
            probe.outcome = Some(matches!(got, Ok(Ok(_))));
        }
        let reason = match got {
            Ok(Ok(connection)) => {
                let slot = Slot::new(Some(permit), purpose, &self.0.metrics);
                return Ok((connection, slot));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        tracing::warn!(reason, "the database gives no connection");
        self.0.metrics.refused(Refused::Unreachable);
        self.failed();
        Err(NoConnection::Unreachable)
    }

    fn failed(&self) {
        if self.breaker().failed(self.now()) {
            tracing::error!(
                "the database has failed again and again: requests are refused for now"
            );
        }
    }

    fn now(&self) -> Duration {
        self.0.clock.elapsed()
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.0
            .breaker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one request that tries for all, whatever becomes of it.
struct Probe<'a> {
    primary: &'a Primary,
    outcome: Option<bool>,
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        let now = self.primary.now();
        self.primary.breaker().probed(now, self.outcome);
        if self.outcome == Some(true) {
            tracing::info!("the database is back");
        }
    }
}

/// Stands in every request; true once it has had a connection of the primary.
#[derive(Clone, Default)]
pub(crate) struct Ticket(Arc<AtomicBool>);

impl Ticket {
    pub(crate) fn of(request: &axum::http::Extensions) -> Self {
        request.get::<Self>().cloned().unwrap_or_default()
    }

    pub(crate) fn mark(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does each request to its end, whether its client waits for it or not, and tells the breaker what became of its
/// statements.
///
/// A request that was given up in the midst of a statement would leave a connection that is in use with nobody's slot:
/// those who come next would wait for PostgreSQL's sake, as it were, when all they lack is a connection.
pub(crate) async fn watch(
    State(servers): State<Servers>,
    mut request: Request,
    next: Next,
) -> Response {
    let ticket = Ticket::default();
    request.extensions_mut().insert(ticket.clone());
    let doing = tokio::spawn(async move {
        let answer = next.run(request).await;
        if ticket.0.load(Ordering::Relaxed) {
            let primary = servers.primary();
            if answer.extensions().get::<Unavailable>().is_some() {
                primary.failed();
            } else {
                primary.breaker().succeeded();
            }
        }
        answer
    });
    match doing.await {
        Ok(answer) => answer,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime ends.
            Err(_) => Problem::unavailable().into_response(),
        },
    }
}
