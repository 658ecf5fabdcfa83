//! Connections to the Redis servers that a route lists, on one worker.
//!
//! A guest has a connection for itself as long as it holds it: what it does to the connection
//! (`SELECT`, `MULTI`, `SUBSCRIBE`) is its own affair. Afterwards the connection is kept for the
//! next guest that names the same address, unless something was done to it, or it failed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, IntoConnectionInfo, ProtocolVersion,
    RedisError,
};

use crate::config::RedisServers;

/// The most connections that the guests of a route have at once, on one worker.
const MOST_OPEN: usize = 128;
/// The most connections to an address that are kept for later.
const MOST_IDLE: usize = 16;
/// The most addresses that connections are kept for: a guest makes them up.
const MOST_ADDRESSES: usize = 16;
/// A connection that was kept for longer is asked whether it is still there.
const FRESH: Duration = Duration::from_secs(1);

/// Commands that leave something of themselves on a connection.
const SPOILING: &[&str] = &[
    "ASKING",
    "AUTH",
    "CLIENT",
    "DISCARD",
    "EXEC",
    "HELLO",
    "MONITOR",
    "MULTI",
    "PSUBSCRIBE",
    "PSYNC",
    "PUNSUBSCRIBE",
    "QUIT",
    "READONLY",
    "READWRITE",
    "REPLCONF",
    "RESET",
    "SCRIPT",
    "SELECT",
    "SSUBSCRIBE",
    "SUBSCRIBE",
    "SUNSUBSCRIBE",
    "SYNC",
    "UNSUBSCRIBE",
    "UNWATCH",
    "WATCH",
];

/// The servers of a route.
pub(in crate::handlers) struct Servers {
    allowed: RedisServers,
    timeout: Duration,
    open: AtomicUsize,
    idle: Mutex<HashMap<String, Vec<Idle>>>,
}

struct Idle {
    connection: MultiplexedConnection,
    since: Instant,
}

/// A connection that a guest has. Dropped, it may serve another.
pub(super) struct Lease {
    servers: Arc<Servers>,
    address: String,
    connection: MultiplexedConnection,
    is_spoiled: AtomicBool,
    /// Commands whose answer is still to come. A guest that ends leaves its own behind.
    under_way: AtomicUsize,
}

/// Why there is no connection.
pub(super) enum NoConnection {
    Address,
    TooMany,
    Failed(String),
}

impl Servers {
    /// No connection is made before a guest asks for one.
    pub(in crate::handlers) fn new(allowed: RedisServers, timeout: Duration) -> Arc<Servers> {
        Arc::new(Servers {
            allowed,
            timeout,
            open: AtomicUsize::new(0),
            idle: Mutex::default(),
        })
    }

    /// A connection to `address`, if the route lists its server.
    ///
    /// # Errors
    /// [`NoConnection`], within the timeout.
    pub(super) async fn open(self: &Arc<Servers>, address: &str) -> Result<Lease, NoConnection> {
        let info = address
            .into_connection_info()
            .ok()
            .filter(|info| self.allowed.allow(info.addr()))
            .ok_or(NoConnection::Address)?;
        let room = Room::take(self)?;
        let connection = match self.reuse(address).await {
            Some(connection) => connection,
            None => {
                // Replies in the form that Spin's own host knows.
                let settings = info.redis_settings().clone();
                let settings = settings.set_protocol(ProtocolVersion::RESP2);
                let info = info.set_redis_settings(settings);
                self.connect(info)
                    .await
                    .map_err(|error| NoConnection::Failed(error.to_string()))?
            }
        };
        room.keep();
        Ok(Lease {
            servers: Arc::clone(self),
            address: address.to_owned(),
            connection,
            is_spoiled: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
        })
    }

    async fn connect(
        &self,
        info: redis::ConnectionInfo,
    ) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        let client = Client::open(info)?;
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    /// A connection that was kept, and still answers.
    async fn reuse(&self, address: &str) -> Option<MultiplexedConnection> {
        loop {
            let mut idle = {
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                idle.get_mut(address)?.pop()?
            };
            if idle.since.elapsed() < FRESH {
                return Some(idle.connection);
            }
            let ping = redis::cmd("PING");
            if ping.exec_async(&mut idle.connection).await.is_ok() {
                return Some(idle.connection);
            }
        }
    }

    fn put(&self, address: &str, connection: MultiplexedConnection) {
        let since = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !idle.contains_key(address) && idle.len() >= MOST_ADDRESSES {
            idle.clear();
        }
        let kept = idle.entry(address.to_owned()).or_default();
        if kept.len() < MOST_IDLE {
            kept.push(Idle { connection, since });
        }
    }
}

/// Room for a connection that is being made.
struct Room<'a>(&'a Servers);

impl Room<'_> {
    fn take(servers: &Servers) -> Result<Room<'_>, NoConnection> {
        let room = Room(servers);
        if servers.open.fetch_add(1, Ordering::Relaxed) >= MOST_OPEN {
            return Err(NoConnection::TooMany);
        }
        Ok(room)
    }

    /// The connection is there; its lease gives the room back.
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lease {
    /// Runs one command.
    ///
    /// # Errors
    /// What the server says, or that it says nothing within the timeout.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let mut connection = self.connection.clone();
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let answer = command.query_async(&mut connection).await;
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        if let Err(error) = &answer
            && error.code().is_none()
        {
            // Not the server's own words: nobody knows what comes next over this connection.
            self.is_spoiled.store(true, Ordering::Relaxed);
        }
        answer
    }

    /// Runs a command by name, which may be one that the connection is not the same after.
    ///
    /// # Errors
    /// As [`Lease::query`].
    pub(super) async fn execute<T: FromRedisValue>(
        &self,
        name: &str,
        command: &Cmd,
    ) -> Result<T, RedisError> {
        if SPOILING
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
        {
            self.is_spoiled.store(true, Ordering::Relaxed);
        }
        self.query(command).await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.servers.open.fetch_sub(1, Ordering::Relaxed);
        let is_waiting = self.under_way.load(Ordering::Relaxed) > 0;
        if !is_waiting && !self.is_spoiled.load(Ordering::Relaxed) {
            self.servers.put(&self.address, self.connection.clone());
        }
    }
}
