//! Redis, seen through a deadline: slow is away, and away is said at once. What to do without it is the caller's decision.
//!
//! A connection that falls silent is given up for a new one, because nobody else would ever end it where packets vanish.

use std::{
    future::Future,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, IntoConnectionInfo, Pipeline,
    RedisError, ScriptInvocation, ServerErrorKind,
    aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection},
    io::tcp::TcpSettings,
};
use tokio::time::timeout;

/// How long connecting may take, and so the age from which a silent connection is replaced.
const CONNECT: Duration = Duration::from_secs(1);

/// Why Redis gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Away {
    /// It did not answer in time. What was asked for may be done or not.
    #[error("redis did not answer within {0:?}")]
    Deadline(Duration),
    /// It refused, or could not be reached.
    #[error("redis: {0}")]
    Server(#[from] RedisError),
}

/// One Redis server, whose connection all requests share. Connected when it is first needed.
pub(crate) struct Redis {
    client: Client,
    connection: Mutex<(ConnectionManager, Instant)>,
    deadline: Duration,
}

impl Redis {
    /// Touches no network. Must be called inside a runtime, which drives the connection from then on.
    ///
    /// # Errors
    /// When `url` is none of Redis.
    pub(crate) fn new(url: &str, deadline: Duration) -> Result<Self, RedisError> {
        // Small commands go out at once.
        let tcp = TcpSettings::default().set_nodelay(true);
        let client = Client::open(url.into_connection_info()?.set_tcp_settings(tcp))?;
        let connection = Mutex::new((lazy(&client)?, Instant::now()));
        Ok(Self {
            client,
            connection,
            deadline,
        })
    }

    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Away> {
        let mut connection = self.connection();
        self.in_time(command.query_async(&mut connection)).await
    }

    /// Runs commands one after the other in one exchange.
    pub(crate) async fn pipeline<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, Away> {
        let mut connection = self.connection();
        self.in_time(commands.query_async(&mut connection)).await
    }

    /// Runs a script, which the server is shown when it does not know it.
    pub(crate) async fn script<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, Away> {
        let mut connection = self.connection();
        self.in_time(script.invoke_async(&mut connection)).await
    }

    /// A connection of its own, for commands that wait up to `wait` for something to come.
    pub(crate) async fn waiting(&self, wait: Duration) -> Result<MultiplexedConnection, Away> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(wait + self.deadline));
        let connecting = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        Ok(connecting.await?)
    }

    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, Away> {
        match timeout(self.deadline, answer).await {
            Ok(Err(error)) => {
                // After a fail-over the server that we know is a replica, and may stay there for long.
                if error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly) {
                    self.replace();
                }
                Err(Away::Server(error))
            }
            Ok(Ok(answer)) => Ok(answer),
            Err(_) => {
                self.replace();
                Err(Away::Deadline(self.deadline))
            }
        }
    }

    fn connection(&self) -> ConnectionManager {
        self.held().0.clone()
    }

    /// Gives the connection up for a new one, unless it is so new that it may be connecting still.
    fn replace(&self) {
        let mut held = self.held();
        if held.1.elapsed() < CONNECT {
            return;
        }
        match lazy(&self.client) {
            Ok(connection) => *held = (connection, Instant::now()),
            Err(error) => tracing::warn!(%error, "a connection to redis stays that is of no use"),
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, (ConnectionManager, Instant)> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is made with the first command, and made anew after it was lost.
fn lazy(client: &Client) -> Result<ConnectionManager, RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(0)
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(None);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}
