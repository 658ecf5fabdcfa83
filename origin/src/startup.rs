//! Starting and stopping: the pool, the migrations, the relay, the listener. The only module that sees all others.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::DefaultBodyLimit, middleware};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::timeout};

use crate::{
    activity::{self, behind, days, worker},
    clock::Clock,
    config::{Activity, Config},
    description,
    http::{
        access::{self, Token},
        error::Problem,
        input::BODY_LIMIT,
    },
    learning,
    observe::{
        self, health,
        metrics::{self, Metrics},
        monitoring,
    },
    polyglot,
    postgres::{
        connect::{ConnectError, connection, migrate, reach},
        primary::{self, ACQUIRE, Primary},
        replicas::{self, Servers},
    },
    redis::on_redis::OnRedis,
    relay::{delivery::relay, outbox::PurgeSink},
    sample,
};

/// How long a statement may run.
const STATEMENT: Duration = Duration::from_secs(5);
/// How long a request's transaction may wait for its next statement. Where the origin's machine is gone without a word,
/// PostgreSQL gives the locks back after this time. A relay's transaction waits for the purge log, and has no such limit.
const SILENCE: Duration = Duration::from_secs(15);
/// From which similarity on a title is found by a misspelt word. Of no meaning to a server without trigrams.
const ALIKE: (&str, &str) = ("pg_trgm.word_similarity_threshold", "0.4");
/// How long a statement may run on the replica, before the primary is asked instead.
const REPLICA_STATEMENT: Duration = Duration::from_secs(2);
/// Connections of a relay: one delivers, one listens, one tells how many rows wait.
const RELAY_CONNECTIONS: u32 = 3;
/// Connections of what works on Redis, beside one for each worker: one keeps the days of events in order, one folds
/// reactions, one writes drafts.
const BEHIND_CONNECTIONS: u32 = 3;
/// How long requests may take to end once we stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Why the origin did not start. No text has a password in it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database, or its replica.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The address of Redis cannot be read.
    #[error("the redis url is not one of redis")]
    RedisUrl,
    /// The database has no outbox, or an older one.
    #[error("the database has no outbox ({0}): run what `tidegate relay --print-sql` prints")]
    Outbox(#[source] sqlx::Error),
    /// The outbox stands where names are not looked for.
    #[error(
        "the outbox stands in a schema that the search_path of the database's role lacks ({schemas}): \
         add it (ALTER ROLE ... SET search_path)"
    )]
    Path {
        /// Where there is one: mostly one schema.
        schemas: String,
    },
    /// The database does not say which one it is, so that its replica could not be told from others.
    #[error("cannot ask the database for its identity: {0}")]
    Identity(#[source] sqlx::Error),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Why the sample data could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the sample data: {0}")]
pub struct SeedError(#[from] sqlx::Error);

/// A running origin. Dropping it stops it without waiting; [`Origin::shutdown`] waits.
pub struct Origin {
    address: SocketAddr,
    servers: Servers,
    /// Connections for what works behind the requests, so that neither waits for the other.
    background: PgPool,
    stop: watch::Sender<()>,
    server: JoinHandle<()>,
    /// The relay, and what works on the stream of events.
    tasks: Vec<JoinHandle<()>>,
}

impl Origin {
    /// Connects, migrates, listens, and relays tags from the outbox to `sink`.
    ///
    /// # Errors
    /// When the database cannot be reached within five seconds or migrated, or the address cannot be listened on.
    pub async fn start(config: Config, sink: Arc<dyn PurgeSink>) -> Result<Self, StartError> {
        Self::start_by(Clock::system(), config, sink).await
    }

    /// The same by another clock than the system's.
    ///
    /// # Errors
    /// As [`Origin::start`].
    pub async fn start_by(
        clock: Clock,
        config: Config,
        sink: Arc<dyn PurgeSink>,
    ) -> Result<Self, StartError> {
        let options = connection(&config.database_url, STATEMENT)?;
        let replica = config.replica_url.as_deref();
        let replica = replica.map(|url| connection(url, REPLICA_STATEMENT));
        let replica = replica.transpose()?;
        reach(&options).await?;
        let pool = PgPoolOptions::new()
            .min_connections(config.pool_min)
            .max_connections(config.pool_max)
            .acquire_timeout(ACQUIRE)
            .connect_lazy_with(options.clone().options([
                (
                    "idle_in_transaction_session_timeout",
                    SILENCE.as_millis().to_string().as_str(),
                ),
                ALIKE,
            ]));
        let background = PgPoolOptions::new()
            .max_connections(background_connections(&config.activity))
            .acquire_timeout(ACQUIRE)
            .connect_lazy_with(options);
        migrate(&config.database_url).await?;
        let metrics = Arc::new(Metrics::new());
        let primary = Primary::new(pool, config.pool_max, metrics.clone(), clock.clone());
        let mut servers = Servers::new(primary, metrics.clone(), clock);
        if let Some(replica) = replica {
            // No question whether a connection lives: where it is, is asked before each use.
            let replica = PgPoolOptions::new()
                .max_connections(config.pool_max)
                .acquire_timeout(config.replica_deadline)
                .test_before_acquire(false)
                .connect_lazy_with(replica.options([ALIKE]));
            servers = servers
                .with_replica(replica, config.replica_deadline)
                .await
                .map_err(StartError::Identity)?;
        }

        let on_redis = OnRedis::new(&config.activity, metrics.clone());
        servers = servers
            .with_redis(on_redis.map_err(|_| StartError::RedisUrl)?)
            .with_secrets(config.jwt_secret.as_deref(), &config.service_token);

        let unable = |source| StartError::Listen {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(unable)?;
        let address = listener.local_addr().map_err(unable)?;
        let (stop, stopped) = watch::channel(());
        let server = tokio::spawn(serve(
            listener,
            router(servers.clone(), &config.service_token),
            stopped.clone(),
        ));
        let mut tasks = on_stream(&config, &background, &servers, &metrics, &stopped);
        tasks.push(tokio::spawn(relay(
            background.clone(),
            sink,
            metrics,
            until(stopped),
        )));
        tracing::info!(%address, "the origin listens");
        Ok(Self {
            address,
            servers,
            background,
            stop,
            server,
            tasks,
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Writes sample data if there are no courses.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn seed(&self) -> Result<(), SeedError> {
        sample::fill(self.servers.primary().pool()).await?;
        Ok(())
    }

    /// Accepts nothing more, lets requests end for up to ten seconds, stops the relay and the workers and closes the connections.
    ///
    /// Tags that the relay has not delivered stay in the outbox for the next one.
    pub async fn shutdown(self) {
        drop(self.stop);
        let mut server = self.server;
        if timeout(DRAIN, &mut server).await.is_err() {
            tracing::warn!("requests were cut off at the end of the drain");
            server.abort();
        }
        for task in self.tasks {
            // A task that panicked has said so already.
            let _ = task.await;
        }
        let _ = timeout(DRAIN, self.background.close()).await;
        let _ = timeout(DRAIN, self.servers.close()).await;
    }
}

/// A relay by itself, for a database whose tables are not ours. Dropping it stops it without waiting.
pub struct Relay {
    address: Option<SocketAddr>,
    servers: Servers,
    stop: watch::Sender<()>,
    tasks: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Relays tags from the outbox to `sink`, and shows its metrics and its health at `listen`.
    ///
    /// # Errors
    /// When the database cannot be reached within five seconds, has no outbox as [`outbox::WATCHING`] makes it, or the
    /// address cannot be listened on.
    ///
    /// [`outbox::WATCHING`]: crate::relay::outbox::WATCHING
    pub async fn start(
        database_url: &str,
        listen: Option<SocketAddr>,
        sink: Arc<dyn PurgeSink>,
    ) -> Result<Self, StartError> {
        let options = connection(database_url, STATEMENT)?;
        reach(&options).await?;
        let pool = PgPoolOptions::new()
            .max_connections(RELAY_CONNECTIONS)
            .acquire_timeout(ACQUIRE)
            .connect_lazy_with(options);
        has_outbox(&pool).await?;
        let metrics = Arc::new(Metrics::new());
        let clock = Clock::system();
        let primary = Primary::new(pool.clone(), 1, metrics.clone(), clock.clone());
        let servers = Servers::new(primary, metrics.clone(), clock);
        let (stop, stopped) = watch::channel(());
        let mut tasks = Vec::new();
        let mut address = None;
        if let Some(wanted) = listen {
            let unable = |source| StartError::Listen {
                address: wanted,
                source,
            };
            let listener = TcpListener::bind(wanted).await.map_err(unable)?;
            let listens = listener.local_addr().map_err(unable)?;
            let router = metrics::routes()
                .merge(health::routes())
                .with_state(servers.clone());
            tasks.push(tokio::spawn(serve(listener, router, stopped.clone())));
            address = Some(listens);
        }
        tasks.push(tokio::spawn(relay(pool, sink, metrics, until(stopped))));
        match address {
            Some(address) => tracing::info!(%address, "the relay runs and listens"),
            None => tracing::info!("the relay runs"),
        }
        Ok(Self {
            address,
            servers,
            stop,
            tasks,
        })
    }

    /// Where it listens, if it does.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Stops the relay and closes the connections. What it has not delivered stays in the outbox.
    pub async fn shutdown(self) {
        drop(self.stop);
        for mut task in self.tasks {
            if timeout(DRAIN, &mut task).await.is_err() {
                task.abort();
            }
        }
        let _ = timeout(DRAIN, self.servers.close()).await;
    }
}

async fn has_outbox(pool: &PgPool) -> Result<(), StartError> {
    let looked = sqlx::query("SELECT tidegate_lsn() FROM outbox LIMIT 0");
    let Err(error) = looked.execute(pool).await else {
        return Ok(());
    };
    // It may be complete elsewhere; where it is on the path and something of it is missing, it is an older one.
    let elsewhere: Result<Option<String>, _> = sqlx::query_scalar(
        "SELECT pg_catalog.string_agg(nspname::text, ', ' ORDER BY nspname)
         FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace AS own ON own.oid = relnamespace
         WHERE relname = 'outbox' AND pg_catalog.to_regclass('outbox') IS NULL
             AND EXISTS (SELECT FROM pg_catalog.pg_proc WHERE pronamespace = own.oid AND proname = 'tidegate_lsn')",
    )
    .fetch_one(pool)
    .await;
    Err(match elsewhere {
        Ok(Some(schemas)) => StartError::Path { schemas },
        Ok(None) | Err(_) => StartError::Outbox(error),
    })
}

/// How many connections may work behind the requests.
fn background_connections(activity: &Activity) -> u32 {
    if activity.redis_url.is_none() || activity.events_workers == 0 {
        return RELAY_CONNECTIONS;
    }
    let workers = u32::try_from(activity.events_workers).unwrap_or(u32::MAX);
    workers.saturating_add(RELAY_CONNECTIONS + BEHIND_CONNECTIONS)
}

/// What takes events and all else that waits in Redis to the database, where there is one and this process is to.
fn on_stream(
    config: &Config,
    pool: &PgPool,
    servers: &Servers,
    metrics: &Arc<Metrics>,
    stopped: &watch::Receiver<()>,
) -> Vec<JoinHandle<()>> {
    let on_redis = servers.on_redis();
    let (Ok(redis), Ok(stream)) = (on_redis.redis(), on_redis.stream()) else {
        return Vec::new();
    };
    let settings = &config.activity;
    if settings.events_workers == 0 {
        return Vec::new();
    }
    let retention = on_redis.retention();
    let maintain = days::maintain(
        pool.clone(),
        stream.clone(),
        servers.clock().clone(),
        retention,
        until(stopped.clone()),
    );
    let behind = behind::write(pool.clone(), redis.clone(), until(stopped.clone()));
    let mut tasks = vec![tokio::spawn(maintain), tokio::spawn(behind)];
    for _ in 0..settings.events_workers {
        tasks.push(tokio::spawn(worker::work(
            pool.clone(),
            stream.clone(),
            settings.clone(),
            metrics.clone(),
            servers.clock().clone(),
            until(stopped.clone()),
        )));
    }
    tasks
}

/// All routes, behind the token.
fn router(servers: Servers, token: &str) -> Router {
    Router::new()
        .merge(learning::routes())
        .merge(polyglot::routes())
        .merge(activity::routes())
        .merge(observe::routes())
        .merge(description::routes())
        .fallback(|| async { Problem::nothing_here() })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn_with_state(
            servers.clone(),
            replicas::direct,
        ))
        .layer(middleware::from_fn_with_state(
            servers.clone(),
            primary::watch,
        ))
        .layer(middleware::from_fn_with_state(
            Token::new(token),
            access::require,
        ))
        .layer(middleware::from_fn_with_state(
            servers.clone(),
            monitoring::measure,
        ))
        .with_state(servers)
}

async fn serve(listener: TcpListener, router: Router, stopped: watch::Receiver<()>) {
    if let Err(error) = axum::serve(listener, router)
        .with_graceful_shutdown(until(stopped))
        .await
    {
        tracing::error!(%error, "the origin's listener failed");
    }
}

/// Ready when the sender is gone.
async fn until(mut stopped: watch::Receiver<()>) {
    while stopped.changed().await.is_ok() {}
}
