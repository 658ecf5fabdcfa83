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
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Body,
    extract::{FromRef, FromRequestParts, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, request::Parts},
    middleware::Next,
    response::Response,
};
use sqlx::{PgConnection, PgPool};
use tokio::time::{Instant, timeout_at};

use crate::{
    clock::Clock,
    http::{error::Problem, jwt},
    learning::{courses::search::Notes, passwords::Hashing},
    observe::{
        Watched,
        metrics::{Fallback, Metrics, Use},
    },
    postgres::{
        held::{Background, Held, in_time},
        lsn::{Lsn, position_of},
        primary::{Primary, Slot, Ticket, Working},
    },
    redis::on_redis::OnRedis,
};

pub(crate) const TIDEGATE_LSN: HeaderName = HeaderName::from_static("tidegate-lsn");
/// In place of a position: only the primary is known to show it.
pub(crate) const PRIMARY: HeaderValue = HeaderValue::from_static("primary");
/// How long a replica that failed to say so is left alone.
const REST: Duration = Duration::from_secs(1);
/// How long a read may take on the replica. Its statements end before; this is for a server that has stopped in the midst.
const READ: Duration = Duration::from_secs(3);

/// The primary, and a replica where there is one. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Servers {
    primary: Primary,
    background: Background,
    replica: Option<Arc<Replica>>,
    metrics: Arc<Metrics>,
    clock: Clock,
    notes: Notes,
    on_redis: Arc<OnRedis>,
    jwt_key: Option<jwt::Key>,
    request_key: [u8; 32],
    hashing: Hashing,
    watched: Arc<Watched>,
}

struct Replica {
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

impl Servers {
    /// A primary without a replica.
    pub(crate) fn new(
        primary: Primary,
        background: Background,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Self {
        Self {
            primary,
            background,
            replica: None,
            on_redis: Arc::new(OnRedis::none(metrics.clone())),
            metrics,
            clock,
            notes: Notes::default(),
            jwt_key: None,
            request_key: [0; 32],
            hashing: Hashing::default(),
            watched: Arc::default(),
        }
    }

    /// The same with a key that tokens of users are signed with, and one that is nobody else's.
    pub(crate) fn with_secrets(self, jwt_secret: Option<&str>, service_token: &str) -> Self {
        let context = "tidegate origin idempotency request";
        Self {
            jwt_key: jwt_secret.map(jwt::Key::new),
            request_key: blake3::derive_key(context, service_token.as_bytes()),
            ..self
        }
    }

    /// What hashes of requests are made with, so that they tell nothing of what was in them, such as a password.
    pub(crate) fn request_key(&self) -> &[u8; 32] {
        &self.request_key
    }

    /// Where passwords are hashed.
    pub(crate) fn hashing(&self) -> &Hashing {
        &self.hashing
    }

    pub(crate) fn jwt_key(&self) -> Option<&jwt::Key> {
        self.jwt_key.as_ref()
    }

    /// The same with what lives on Redis.
    pub(crate) fn with_redis(self, on_redis: OnRedis) -> Self {
        Self {
            on_redis: Arc::new(on_redis),
            ..self
        }
    }

    pub(crate) fn on_redis(&self) -> &Arc<OnRedis> {
        &self.on_redis
    }

    /// The same with a replica, which need not be there yet, and is read once the primary is [`identify`](Self::identify)d.
    pub(crate) fn with_replica(self, pool: PgPool, deadline: Duration) -> Self {
        let replica = Replica {
            pool,
            deadline,
            system: OnceLock::new(),
            rests_until: Mutex::new(None),
        };
        Self {
            replica: Some(Arc::new(replica)),
            ..self
        }
    }

    /// Asks the primary which cluster it is, so that its replica can be told from others.
    ///
    /// # Errors
    /// When it does not say.
    pub(crate) async fn identify(&self) -> Result<(), sqlx::Error> {
        let Some(replica) = &self.replica else {
            return Ok(());
        };
        let ask = sqlx::query_scalar!(
            r#"SELECT system_identifier AS "system!" FROM pg_control_system()"#
        );
        let mut held = self.background.acquire().await?;
        let system = in_time(held.until(), ask.fetch_one(&mut *held)).await?;
        replica.system.get_or_init(|| system);
        Ok(())
    }

    pub(crate) fn primary(&self) -> &Primary {
        &self.primary
    }

    pub(crate) fn background(&self) -> &Background {
        &self.background
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(crate) fn has_replica(&self) -> bool {
        self.replica.is_some()
    }

    pub(crate) fn watched(&self) -> &Watched {
        &self.watched
    }

    /// Where searches are noted.
    pub(crate) fn notes(&self) -> &Notes {
        &self.notes
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) async fn close(&self) {
        self.background.close().await;
        self.primary.pool().close().await;
        if let Some(replica) = &self.replica {
            replica.pool.close().await;
        }
    }

    /// How many bytes of the primary's log the replica has not replayed; `None` when that cannot be told.
    pub(crate) async fn replica_lag(&self) -> Option<f64> {
        let replica = self.replica.as_ref()?;
        // The replica first: the primary only moves on meanwhile, and the difference is not negative.
        let end = Instant::now() + READ;
        let acquired = in_time(end, replica.pool.acquire()).await.ok()?;
        let mut held = Held::new(acquired, end);
        let replayed = in_time(end, place(&mut held)).await.ok()?.lsn?;
        let mut held = self.background.acquire().await.ok()?;
        let written = in_time(held.until(), written_so_far(&mut held))
            .await
            .ok()?;
        (written.timeline == replayed.timeline)
            .then(|| written.position.saturating_sub(replayed.position) as f64)
    }

    async fn reader(
        &self,
        needed: Result<Lsn, Fallback>,
        until: Instant,
    ) -> Result<Held, Fallback> {
        let replica = self.replica.as_ref().ok_or(Fallback::Unavailable)?;
        replica.reader(needed?, until).await
    }
}

impl Replica {
    /// A connection to the replica until a moment, if it shows all that had been written at `needed`.
    async fn reader(&self, needed: Lsn, until: Instant) -> Result<Held, Fallback> {
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

    fn failed(&self, reason: &str) -> Fallback {
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

    fn rest(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
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
async fn written_so_far(connection: &mut PgConnection) -> Result<Lsn, sqlx::Error> {
    let text = sqlx::query_scalar!(r#"SELECT tidegate_lsn() AS "lsn!""#)
        .fetch_one(connection)
        .await?;
    text.parse()
        .map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

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
            let metrics = &self.servers.metrics;
            match self.servers.reader(needed, attempt.until).await {
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
            primary: servers.primary.clone(),
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

impl FromRef<Servers> for PgPool {
    fn from_ref(servers: &Servers) -> PgPool {
        servers.primary.pool().clone()
    }
}

impl FromRef<Servers> for Clock {
    fn from_ref(servers: &Servers) -> Clock {
        servers.clock.clone()
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
        if servers.replica.is_some() {
            servers.metrics.fell_back(Fallback::Unreadable);
        }
        // Whoever does not know what to ask for is told: the position that this read shows, or a later one.
        let mut answer = next.run(request).await;
        let lsn = seen_from(&servers, answer.status()).await;
        if lsn != PRIMARY {
            answer.headers_mut().insert(TIDEGATE_LSN, lsn);
        }
        return answer;
    }
    let Some(replica) = &servers.replica else {
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
            servers.metrics.fell_back(Fallback::Failed);
            return next.run(again).await;
        }
        Err(_) => reading.await,
    };
    if answer.status().is_server_error() && attempt.is_asked.load(Ordering::Relaxed) {
        servers.metrics.fell_back(Fallback::Failed);
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
        let (mut held, _slot) = servers.primary.acquire().await.ok()?;
        in_time(held.until(), written_so_far(&mut held)).await.ok()
    };
    let lsn = asking.await;
    lsn.and_then(|lsn| HeaderValue::try_from(lsn.to_string()).ok())
        .unwrap_or(PRIMARY)
}
