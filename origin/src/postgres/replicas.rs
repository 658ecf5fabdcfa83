//! Which server answers a read: a replica that has replayed far enough, else the primary.
//!
//! A request says how far in `Tidegate-Lsn`: the edge sends the newest position that the purge log has told it of, so
//! that what it fetches because of a purge shows the change that was purged. The answer to a write says in the same
//! field from which position on the write is seen.
//!
//! The position is compared on the very connection that the read then uses. A server only replays forward, so what it
//! had replayed when it was asked it still has when it is read; and an address that stands for several replicas cannot
//! answer for one and read from another. Asking takes the place of the question whether a pooled connection still lives,
//! and costs no more.
//!
//! Whatever is in doubt goes to the primary, which is always right: a request that names no position (whoever sends it
//! may have seen anything), one whose position cannot be read, another timeline, a server that is no standby or not of
//! our database, one that is behind, slow or away. A read that fails on the replica is done again on the primary.

use std::{
    ops::{Deref, DerefMut},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    body::Body,
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, request::Parts},
    middleware::Next,
    response::Response,
};
use sqlx::PgConnection;
use tokio::time::{Instant, timeout_at};

pub(crate) use crate::state::Servers;
use crate::{
    http::error::Problem,
    observe::metrics::{Fallback, Use},
    postgres::{
        held::{Held, in_time},
        lsn::Lsn,
        primary::{Primary, Slot, Ticket, Working},
        replica::{READ, written_so_far},
    },
};

pub(crate) const TIDEGATE_LSN: HeaderName = HeaderName::from_static("tidegate-lsn");
/// In place of a position: only the primary is known to show it.
pub(crate) const PRIMARY: HeaderValue = HeaderValue::from_static("primary");
/// A connection for the statements of one read: of the replica if it may be used, else of the primary.
pub(crate) struct Reader {
    // Declared first, so that the connection is free before its slot is.
    held: Held,
    _slot: Slot,
    /// On the primary.
    _working: Option<Working>,
}

impl Deref for Reader {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.held
    }
}

impl DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.held
    }
}

impl FromRequestParts<Servers> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, servers: &Servers) -> Result<Self, Problem> {
        Reading::new(servers, parts).begin().await
    }
}

/// A read that has not begun: what is refused before costs no connection.
pub(crate) struct Reading {
    servers: Servers,
    /// Where a replica may answer, and how far that must have come.
    replica: Option<(Attempt, Result<Lsn, Fallback>)>,
    primary: PrimaryReader,
}

impl Reading {
    fn new(servers: &Servers, parts: &Parts) -> Self {
        let attempt = parts.extensions.get::<Attempt>().cloned();
        Self {
            servers: servers.clone(),
            replica: attempt.map(|attempt| (attempt, needed(&parts.headers))),
            primary: PrimaryReader::new(servers, parts),
        }
    }

    pub(crate) async fn begin(self) -> Result<Reader, Problem> {
        if let Some((attempt, needed)) = self.replica {
            let metrics = self.servers.metrics();
            match on_replica(&self.servers, needed, attempt.until).await {
                Ok(held) => {
                    metrics.replica_reads.inc();
                    attempt.is_asked.store(true, Ordering::Relaxed);
                    return Ok(Reader {
                        held,
                        _slot: Slot::free(Use::ReplicaRead, metrics),
                        _working: None,
                    });
                }
                Err(reason) => metrics.fell_back(reason),
            }
        }
        self.primary.begin().await
    }
}

impl FromRequestParts<Servers> for Reading {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, servers: &Servers) -> Result<Self, Problem> {
        Ok(Self::new(servers, parts))
    }
}

/// A connection to the replica, if there is one and it has come far enough.
async fn on_replica(
    servers: &Servers,
    needed: Result<Lsn, Fallback>,
    until: Instant,
) -> Result<Held, Fallback> {
    let replica = servers.replica().ok_or(Fallback::Unavailable)?;
    replica.reader(needed?, until).await
}

/// How far a replica must have come to answer a request.
fn needed(request: &HeaderMap) -> Result<Lsn, Fallback> {
    let mut given = request.get_all(TIDEGATE_LSN).iter();
    match (given.next(), given.next()) {
        (None, _) => Err(Fallback::NoPosition),
        (Some(one), None) => {
            let position = one.to_str().ok().and_then(|text| text.parse().ok());
            position.ok_or(Fallback::Unreadable)
        }
        (Some(_), Some(_)) => Err(Fallback::Unreadable),
    }
}

/// A read that has not begun, and that the primary alone may answer: what it is put together with may be newer than any
/// replica.
pub(crate) struct PrimaryReader {
    primary: Primary,
    ticket: Ticket,
}

impl PrimaryReader {
    fn new(servers: &Servers, parts: &Parts) -> Self {
        Self {
            primary: servers.primary().clone(),
            ticket: Ticket::of(&parts.extensions),
        }
    }

    pub(crate) async fn begin(self) -> Result<Reader, Problem> {
        let (held, slot) = self.primary.acquire().await?;
        Ok(Reader {
            _working: Some(self.ticket.mark(&held)),
            held,
            _slot: slot,
        })
    }
}

impl FromRequestParts<Servers> for PrimaryReader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, servers: &Servers) -> Result<Self, Problem> {
        Ok(Self::new(servers, parts))
    }
}

/// Stands in a request that a replica may answer.
#[derive(Clone)]
struct Attempt {
    /// True once it was asked to.
    is_asked: Arc<AtomicBool>,
    /// When the primary is asked instead.
    until: Instant,
}

/// Lets a replica answer reads, does those that it fails again on the primary, and says in the answer to a write from
/// which position on it is seen; in that to a read which demanded the primary, how far that has come.
pub(crate) async fn direct(
    State(servers): State<Servers>,
    mut request: Request,
    next: Next,
) -> Response {
    if !request.method().is_safe() {
        let ticket = Ticket::of(request.extensions());
        let mut answer = next.run(request).await;
        // What was refused without a look at the database says nothing of it. Where the database failed, who knows.
        let may_be_done = ticket.is_marked() || answer.status().is_server_error();
        if may_be_done && answer.extensions().get::<OnRedisAlone>().is_none() {
            let lsn = seen_from(&servers, answer.status()).await;
            answer.headers_mut().insert(TIDEGATE_LSN, lsn);
        }
        return answer;
    }
    let mut demands = request.headers().get_all(TIDEGATE_LSN).iter();
    if demands.next() == Some(&PRIMARY) && demands.next().is_none() {
        if servers.replica().is_some() {
            servers.metrics().fell_back(Fallback::Unreadable);
        }
        // Whoever does not know what to ask for is told: the position that this read shows, or a later one.
        let mut answer = next.run(request).await;
        let lsn = seen_from(&servers, answer.status()).await;
        if lsn != PRIMARY {
            answer.headers_mut().insert(TIDEGATE_LSN, lsn);
        }
        return answer;
    }
    let Some(replica) = servers.replica() else {
        return next.run(request).await;
    };
    let (parts, body) = request.into_parts();
    // What a read's body says matters to nobody here, so the second attempt has none.
    let again = Request::from_parts(parts.clone(), Body::empty());
    request = Request::from_parts(parts, body);
    let attempt = Attempt {
        is_asked: Arc::default(),
        until: Instant::now() + READ,
    };
    request.extensions_mut().insert(attempt.clone());
    let mut reading = pin!(next.clone().run(request));
    let answer = match timeout_at(attempt.until, &mut reading).await {
        Ok(answer) => answer,
        Err(_) if attempt.is_asked.load(Ordering::Relaxed) => {
            replica.failed("it stopped in the midst of a read");
            servers.metrics().fell_back(Fallback::Failed);
            return next.run(again).await;
        }
        Err(_) => reading.await,
    };
    if answer.status().is_server_error() && attempt.is_asked.load(Ordering::Relaxed) {
        servers.metrics().fell_back(Fallback::Failed);
        return next.run(again).await;
    }
    answer
}

/// Stands in the answer to a write that the database has no part in, and that no position of it can tell of.
#[derive(Clone)]
struct OnRedisAlone;

/// Marks answers to writes that the database has no part in: they are given while it is away, too.
pub(crate) async fn touches_no_database(mut answer: Response) -> Response {
    answer.extensions_mut().insert(OnRedisAlone);
    answer
}

/// The position from which on a write that has just been answered is seen; read after its commit.
async fn seen_from(servers: &Servers, answer: StatusCode) -> HeaderValue {
    // A database that has just failed is not asked another time; and who knows what it has committed.
    if answer.is_server_error() {
        return PRIMARY;
    }
    let asking = async {
        let (mut held, _slot) = servers.primary().acquire().await.ok()?;
        in_time(held.until(), written_so_far(&mut held)).await.ok()
    };
    let lsn = asking.await;
    lsn.and_then(|lsn| HeaderValue::try_from(lsn.to_string()).ok())
        .unwrap_or(PRIMARY)
}
