//! The primary, guarded: requests take connections in turn, and none waits for a database that is away.
//!
//! A request first takes one of as many slots as the pool has connections. Who gets none in time is told that all are in
//! use (503 with `Retry-After`), which is our load and says nothing of PostgreSQL. Who has a slot waits for PostgreSQL
//! alone: when that does not come in time either, or a statement fails because PostgreSQL went away or does not answer, it
//! is a failure, and some in a row open the [`Breaker`]. A statement that PostgreSQL itself cancels, because it took too
//! long or waits for a lock, is no failure of PostgreSQL.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use sqlx::PgPool;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{self, sleep_until, timeout_at},
};

use crate::{
    clock::Clock,
    http::error::{Problem, Unavailable},
    observe::metrics::{Metrics, Refused, Use},
    postgres::{
        breaker::{Admission, Breaker},
        held::Held,
        pools::ACQUIRE,
        readiness::Readiness,
        replicas::{PRIMARY, TIDEGATE_LSN},
    },
    state::Servers,
};

/// The primary. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Primary(Arc<Inner>);

struct Inner {
    pool: PgPool,
    slots: Arc<Semaphore>,
    ready: Readiness,
    breaker: Mutex<Breaker>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NoConnection {
    /// PostgreSQL has not been reached since the start, or its tables are not up to date yet.
    NotReady,
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
            NoConnection::NotReady | NoConnection::Unreachable => Self::unavailable(),
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
    pub(crate) fn new(
        pool: PgPool,
        slots: u32,
        ready: Readiness,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Self {
        Self(Arc::new(Inner {
            pool,
            ready,
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

    /// Whether PostgreSQL has been reached since the start, and its tables are up to date.
    pub(crate) fn is_ready(&self) -> bool {
        self.0.ready.is_declared()
    }

    /// A connection for one read.
    pub(crate) async fn acquire(&self) -> Result<(Held, Slot), NoConnection> {
        self.hold(Use::Read).await
    }

    /// A connection for one write, on which a transaction has begun.
    pub(crate) async fn begin(&self) -> Result<(Held, Slot), NoConnection> {
        self.hold(Use::Write).await
    }

    async fn hold(&self, purpose: Use) -> Result<(Held, Slot), NoConnection> {
        if !self.is_ready() {
            self.0.metrics.refused(Refused::NotReady);
            return Err(NoConnection::NotReady);
        }
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
        let getting = async {
            let mut held = Held::new(self.0.pool.acquire().await?, end);
            if purpose == Use::Write {
                held.begin().await?;
            }
            Ok::<_, sqlx::Error>(held)
        };
        let got = timeout_at(end, getting).await;
        if let Some(mut probe) = probe {
            probe.outcome = Some(matches!(got, Ok(Ok(_))));
        }
        let reason = match got {
            Ok(Ok(mut held)) => {
                held.renew();
                let slot = Slot::new(Some(permit), purpose, &self.0.metrics);
                return Ok((held, slot));
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

/// Stands in every request, and knows of its connection to the primary.
#[derive(Clone)]
pub(crate) struct Ticket(Arc<watch::Sender<Work>>);

/// What a request does on the primary.
#[derive(Clone, Copy, Default)]
struct Work {
    /// Whether it has had a connection.
    began: bool,
    /// Until when it may have the one that it has.
    until: Option<time::Instant>,
}

/// A request's connection, for as long as this lives.
pub(crate) struct Working(Ticket);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.0.send_modify(|work| work.until = None);
    }
}

impl Ticket {
    fn new() -> Self {
        Self(Arc::new(watch::Sender::default()))
    }

    pub(crate) fn of(request: &axum::http::Extensions) -> Self {
        request.get::<Self>().cloned().unwrap_or_else(Self::new)
    }

    /// Says that the request has a connection.
    pub(crate) fn mark(&self, held: &Held) -> Working {
        let (began, until) = (true, Some(held.until()));
        self.0.send_replace(Work { began, until });
        Working(self.clone())
    }

    /// Whether the request has had a connection.
    pub(crate) fn is_marked(&self) -> bool {
        self.0.borrow().began
    }

    /// Ready when the request has its connection for longer than it may.
    async fn overdue(&self) {
        let mut work = self.0.subscribe();
        loop {
            let until = work.borrow_and_update().until;
            let late = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = late => return,
                // The sender is this ticket's own.
                _ = work.changed() => {}
            }
        }
    }
}

/// Does each request to its end, whether its client waits for it or not, but no longer than it may have a connection, and
/// tells the breaker what became of its statements. One that panics is answered as well.
///
/// A request that was given up in the midst of a statement would leave a connection that is in use with nobody's slot:
/// those who come next would wait for PostgreSQL's sake, as it were, when all they lack is a connection.
pub(crate) async fn watch(
    State(servers): State<Servers>,
    mut request: Request,
    next: Next,
) -> Response {
    let ticket = Ticket::new();
    request.extensions_mut().insert(ticket.clone());
    let is_write = !request.method().is_safe();
    let doing = tokio::spawn(async move {
        let answer = tokio::select! {
            answer = next.run(request) => answer,
            () = ticket.overdue() => {
                tracing::warn!("the database does not answer in the midst of a request");
                let mut answer = Problem::silent().into_response();
                if is_write {
                    // Who knows what it has committed.
                    answer.headers_mut().insert(TIDEGATE_LSN, PRIMARY);
                }
                answer
            }
        };
        if ticket.is_marked() {
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
        Err(ended) if ended.is_panic() => {
            tracing::error!("a request panicked");
            Problem::internal().into_response()
        }
        // The runtime ends.
        Err(_) => Problem::unavailable().into_response(),
    }
}
