//! One Redis server, seen through a deadline and a breaker.
//!
//! Redis slow is Redis absent: a command that does not answer within the deadline fails, and after
//! a few failures in a row the breaker answers at once, letting one command through now and then
//! to see whether the server is back. A connection that went silent is given up for a new one then:
//! where packets vanish, nobody else would ever end it. What to do without Redis is the caller's decision.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, FromRedisValue, IntoConnectionInfo, RedisError, ScriptInvocation};

/// Failures in a row after which the breaker opens.
const FAILURES_TO_OPEN: u32 = 3;
/// How long an open breaker answers by itself before it lets one command through.
const PROBE_EVERY: Duration = Duration::from_millis(250);

/// How long connecting may take, and so the age from which a silent connection is replaced.
const CONNECT: Duration = Duration::from_secs(1);

/// Why Redis gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    #[error("redis breaker is open after repeated failures")]
    Open,
    #[error("redis did not answer within {0:?}")]
    Deadline(Duration),
    #[error("redis: {0}")]
    Server(#[from] RedisError),
}

impl Unavailable {
    /// The one word for this case in logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Unavailable::Open => "breaker-open",
            Unavailable::Deadline(_) => "deadline",
            Unavailable::Server(_) => "error",
        }
    }
}

/// A lazily connected, multiplexed connection; cheap commands only, each within the deadline.
pub struct Redis {
    client: Client,
    connection: ArcSwap<Connection>,
    deadline: Duration,
    breaker: Breaker,
}

struct Connection {
    manager: ConnectionManager,
    since: Instant,
}

impl Redis {
    /// Prepares a connection to `url` without touching the network. Must be called inside a
    /// tokio runtime, which drives the connection from then on.
    ///
    /// # Errors
    /// When `url` is no `redis://` URL.
    pub fn connect(url: &str, deadline: Duration) -> Result<Redis, RedisError> {
        let client = client(url)?;
        let connection = Connection::lazy(&client)?;
        Ok(Redis {
            client,
            connection: ArcSwap::from_pointee(connection),
            deadline,
            breaker: Breaker::new(),
        })
    }

    /// Connects now, so that the first command does not pay for it; up to a second. A server that
    /// cannot be reached is tried again with the first command.
    pub async fn warm_up(&self) {
        if let Err(error) = greet(self.manager()).await {
            tracing::warn!(%error, "redis cannot be reached, going on without it for now");
        }
    }

    /// Runs one command.
    ///
    /// # Errors
    /// [`Unavailable`], within the deadline, whatever the server does.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Unavailable> {
        let mut manager = self.manager();
        self.guarded(command.query_async(&mut manager)).await
    }

    /// Runs one Lua script, loading it where the server does not know it yet.
    ///
    /// # Errors
    /// As [`Redis::query`].
    pub async fn script<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, Unavailable> {
        let mut manager = self.manager();
        self.guarded(script.invoke_async(&mut manager)).await
    }

    /// Whether the breaker lets commands through.
    pub fn is_available(&self) -> bool {
        !self.breaker.is_open()
    }

    async fn guarded<T>(
        &self,
        command: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, Unavailable> {
        if !self.breaker.may_try() {
            return Err(Unavailable::Open);
        }
        let answer = match tokio::time::timeout(self.deadline, command).await {
            Ok(answer) => answer.map_err(Unavailable::Server),
            Err(_) => Err(Unavailable::Deadline(self.deadline)),
        };
        match &answer {
            // A reply that says "error" still shows a living server, except when it is loading.
            Ok(_) => self.breaker.succeeded(),
            Err(Unavailable::Server(error))
                if error.code().is_some_and(|code| code != "LOADING") =>
            {
                self.breaker.succeeded();
            }
            Err(error) => {
                self.breaker.failed();
                if matches!(error, Unavailable::Deadline(_)) && self.breaker.is_open() {
                    self.replace_connection();
                }
            }
        }
        answer
    }

    fn manager(&self) -> ConnectionManager {
        self.connection.load().manager.clone()
    }

    /// Gives a silent connection up for a new one, unless that one is so new that it may be
    /// connecting still.
    fn replace_connection(&self) {
        if self.connection.load().since.elapsed() < CONNECT {
            return;
        }
        match Connection::lazy(&self.client) {
            Ok(connection) => {
                self.connection.store(Arc::new(connection));
                // Connecting may take longer than the deadline, which no probe would outlast.
                let manager = self.manager();
                tokio::spawn(async move {
                    if let Err(error) = greet(manager).await {
                        tracing::debug!(%error, "redis still cannot be reached");
                    }
                });
            }
            Err(error) => tracing::warn!(%error, "a silent redis connection stays"),
        }
    }
}

impl Connection {
    fn lazy(client: &Client) -> Result<Connection, RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None);
        Ok(Connection {
            manager: ConnectionManager::new_lazy_with_config(client.clone(), config)?,
            since: Instant::now(),
        })
    }
}

/// Connects and waits for a word, up to [`CONNECT`]; silence is no error yet.
async fn greet(mut manager: ConnectionManager) -> Result<(), RedisError> {
    let ping = redis::cmd("PING");
    let answer = ping.query_async::<String>(&mut manager);
    match tokio::time::timeout(CONNECT, answer).await {
        Ok(Err(error)) => Err(error),
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}

/// A client for `url` with Nagle's algorithm off, speaking RESP3.
///
/// # Errors
/// When `url` is no `redis://` URL.
pub fn client(url: &str) -> Result<redis::Client, RedisError> {
    let info = url.into_connection_info()?;
    let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true);
    redis::Client::open(info.set_tcp_settings(tcp))
}

/// Counts failures in a row; open, it lets one try through every [`PROBE_EVERY`].
struct Breaker {
    since: Instant,
    failures: AtomicU32,
    next_probe: AtomicU64,
}

impl Breaker {
    fn new() -> Breaker {
        Breaker {
            since: Instant::now(),
            failures: AtomicU32::new(0),
            next_probe: AtomicU64::new(0),
        }
    }

    fn is_open(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= FAILURES_TO_OPEN
    }

    fn may_try(&self) -> bool {
        if !self.is_open() {
            return true;
        }
        let now = self.elapsed();
        let probe = self.next_probe.load(Ordering::Relaxed);
        now >= probe
            && self
                .next_probe
                .compare_exchange(
                    probe,
                    now + millis(PROBE_EVERY),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok()
    }

    fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    fn failed(&self) {
        self.next_probe
            .store(self.elapsed() + millis(PROBE_EVERY), Ordering::Relaxed);
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    fn elapsed(&self) -> u64 {
        millis(self.since.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
