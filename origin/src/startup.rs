//! Starting and stopping: the pool, the migrations, the relay, the listener. The only module that sees all others.

use std::{net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use axum::{Extension, Router, extract::DefaultBodyLimit, middleware};
use sqlx::postgres::PgConnectOptions;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::{
    activity::{self, behind, days, worker},
    clock::Clock,
    community,
    config::Config,
    description,
    http::{
        BODY_LIMIT,
        access::{self, Token},
        error::Problem,
        server::{HEAD, serve},
    },
    learning::{
        self, courses::search::semantic::Meaning, embedding::provider, indexing, vectors::Vectors,
    },
    observe::{
        self, health,
        metrics::{self, Metrics},
        monitoring,
    },
    polyglot,
    postgres::{
        connect::{ConnectError, PATIENCE, migrate, reach},
        held::{Background, LONGEST, in_time},
        pools,
        primary::{self, Primary},
        readiness::Readiness,
        refusal,
        replicas::{self, Servers},
    },
    redis::on_redis::OnRedis,
    relay::{delivery::relay, outbox::PurgeSink},
    sample,
};

/// How long requests may take to end once we stop.
const DRAIN: Duration = Duration::from_secs(10);
/// How long closing the connections may take after that.
const CLOSE: Duration = Duration::from_secs(2);
/// The pauses between attempts to reach a database that was away at the start: the first, and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

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

impl StartError {
    /// Whether a start may succeed later, as it is.
    fn is_passing(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_passing(),
            Self::Identity(error) => refusal::is_passing(error),
            _ => false,
        }
    }
}

/// Why the sample data could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The database has not been reached, or its tables are not up to date.
    #[error("cannot write the sample data: the database is not ready")]
    NotReady,
    /// It refused.
    #[error("cannot write the sample data: {0}")]
    Database(#[from] sqlx::Error),
}

/// A running origin. Dropping it stops it without waiting; [`Origin::shutdown`] waits.
pub struct Origin {
    address: SocketAddr,
    servers: Servers,
    ready: Readiness,
    stop: watch::Sender<()>,
    server: JoinHandle<()>,
    /// The relay, and what works on the stream of events.
    tasks: Vec<JoinHandle<()>>,
}

impl Origin {
    /// Connects, migrates, listens, and relays tags from the outbox to `sink`.
    ///
    /// A database that is away is no reason not to start: events are accepted at once, what needs the database is refused,
    /// and it is migrated and used as soon as it is there.
    ///
    /// # Errors
    /// When the database is there and turns us away or cannot be migrated, or the address cannot be listened on.
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
        let options = pools::primary(&config.database_url)?;
        let pool = pools::of_requests(options.clone(), &config);
        let background = pools::behind_requests(options.clone(), &config.activity);
        let replica = config.replica_url.as_deref();
        let replica = replica.map(|url| pools::of_a_replica(url, &config));
        let metrics = Arc::new(Metrics::new());
        let ready = Readiness::not_yet();
        let primary = Primary::new(
            pool,
            config.pool_max,
            ready.clone(),
            metrics.clone(),
            clock.clone(),
        );
        let mut servers = Servers::new(primary, background, metrics.clone(), clock);
        if let Some(replica) = replica.transpose()? {
            servers = servers.with_replica(replica, config.replica_deadline);
        }

        let on_redis = OnRedis::new(&config.activity, metrics.clone());
        servers = servers
            .with_redis(on_redis.map_err(|_| StartError::RedisUrl)?)
            .with_secrets(config.jwt_secret.as_deref(), &config.service_token);

        let vectors = Vectors::new(provider(&config.embeddings));
        let preparation = Preparation {
            options,
            url: config.database_url.clone(),
            servers: servers.clone(),
            vectors: vectors.clone(),
            ready: ready.clone(),
        };
        let prepared = match preparation.attempt().await {
            Err(error) if !error.is_passing() => return Err(error),
            prepared => prepared,
        };

        let unable = |source| StartError::Listen {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(unable)?;
        let address = listener.local_addr().map_err(unable)?;
        let (stop, stopped) = watch::channel(());
        let server = tokio::spawn(serve(
            listener,
            router(
                servers.clone(),
                &config.service_token,
                Meaning::new(vectors.clone()),
            ),
            HEAD,
            until(stopped.clone()),
        ));
        let mut work = on_stream(&config, &servers, &metrics, &stopped);
        let background = servers.background().clone();
        work.push(Box::pin(indexing::index(
            background.pool().clone(),
            vectors,
            metrics.clone(),
            until(stopped.clone()),
        )));
        work.push(Box::pin(relay(
            background,
            sink,
            metrics,
            until(stopped.clone()),
        )));
        let mut tasks: Vec<_> = work
            .into_iter()
            .map(|work| tokio::spawn(once(ready.clone(), stopped.clone(), work)))
            .collect();
        tracing::info!(%address, "the origin listens");
        if let Err(error) = prepared {
            tracing::warn!(%error, "the database is away: what needs it is refused until it is there");
            tasks.push(tokio::spawn(preparation.until_done(stopped)));
        }
        Ok(Self {
            address,
            servers,
            ready,
            stop,
            server,
            tasks,
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Writes sample data if there are no courses. A database that is away is waited for, for a few seconds.
    ///
    /// # Errors
    /// When the database is not ready by then, and those of the database.
    pub async fn seed(&self) -> Result<(), SeedError> {
        let ready = timeout(PATIENCE, self.ready.declared()).await;
        ready.map_err(|_| SeedError::NotReady)?;
        sample::fill(self.servers.primary().pool()).await?;
        Ok(())
    }

    /// The number of the user of that name, if there is one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn user_named(&self, username: &str) -> Result<Option<i64>, SeedError> {
        Ok(sample::user_named(self.servers.primary().pool(), username).await?)
    }

    /// Accepts nothing more, lets requests, the relay and the workers end for up to ten seconds, and closes the connections.
    ///
    /// Tags that the relay has not delivered stay in the outbox for the next one, and events in the stream.
    pub async fn shutdown(self) {
        drop(self.stop);
        let end = Instant::now() + DRAIN;
        let mut server = self.server;
        if timeout_at(end, &mut server).await.is_err() {
            tracing::warn!("requests were cut off at the end of the drain");
            server.abort();
        }
        for mut task in self.tasks {
            // A task that panicked has said so already.
            if timeout_at(end, &mut task).await.is_err() {
                tracing::warn!("work behind the requests was cut off at the end of the drain");
                task.abort();
            }
        }
        let _ = timeout(CLOSE, self.servers.close()).await;
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
        let options = pools::primary(database_url)?;
        reach(&options, PATIENCE).await?;
        let background = pools::of_a_relay(options);
        has_outbox(&background).await?;
        let metrics = Arc::new(Metrics::new());
        let clock = Clock::system();
        let ready = Readiness::not_yet();
        ready.declare();
        let pool = background.pool().clone();
        let primary = Primary::new(pool, 1, ready, metrics.clone(), clock.clone());
        let servers = Servers::new(primary, background.clone(), metrics.clone(), clock);
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
            let stopped = until(stopped.clone());
            tasks.push(tokio::spawn(serve(listener, router, HEAD, stopped)));
            address = Some(listens);
        }
        tasks.push(tokio::spawn(relay(
            background,
            sink,
            metrics,
            until(stopped),
        )));
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
        let end = Instant::now() + DRAIN;
        for mut task in self.tasks {
            if timeout_at(end, &mut task).await.is_err() {
                task.abort();
            }
        }
        let _ = timeout(CLOSE, self.servers.close()).await;
    }
}

/// What a database needs before it is used.
struct Preparation {
    options: PgConnectOptions,
    url: String,
    servers: Servers,
    vectors: Vectors,
    ready: Readiness,
}

impl Preparation {
    /// Reaches the database and brings its tables up to date.
    async fn attempt(&self) -> Result<(), StartError> {
        reach(&self.options, Duration::ZERO).await?;
        migrate(&self.url).await?;
        self.servers
            .identify()
            .await
            .map_err(StartError::Identity)?;
        let preparing = self.vectors.prepare(self.servers.background().pool(), true);
        match in_time(Instant::now() + LONGEST, preparing).await {
            Ok(true) => {}
            Ok(false) => tracing::info!("postgresql has no vectors: courses are searched by words"),
            Err(error) => tracing::warn!(%error, "courses are not indexed yet"),
        }
        self.ready.declare();
        Ok(())
    }

    /// The same again and again, until it is done or `stopped`. What is final at a start is tried on as well: whoever
    /// mends it need not start us again.
    async fn until_done(self, stopped: watch::Receiver<()>) {
        let attempts = async {
            let mut pause = AGAIN.0;
            let mut said = String::new();
            loop {
                sleep(pause).await;
                pause = (pause * 2).min(AGAIN.1);
                let Err(error) = self.attempt().await else {
                    return;
                };
                let error = error.to_string();
                if error != said {
                    tracing::warn!(error, "the database is not ready yet");
                    said = error;
                }
            }
        };
        tokio::select! {
            () = until(stopped) => {}
            () = attempts => tracing::info!("the database is ready"),
        }
    }
}

/// Work that goes on until it is told to end.
type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Does work once the database is ready.
async fn once(ready: Readiness, stopped: watch::Receiver<()>, work: Work) {
    tokio::select! {
        () = ready.declared() => work.await,
        () = until(stopped) => {}
    }
}

async fn has_outbox(background: &Background) -> Result<(), StartError> {
    let mut held = background.acquire().await.map_err(StartError::Outbox)?;
    let looked = sqlx::query("SELECT tidegate_lsn() FROM outbox LIMIT 0");
    let Err(error) = in_time(held.renew(), looked.execute(&mut *held)).await else {
        return Ok(());
    };
    // It may be complete elsewhere; where it is on the path and something of it is missing, it is an older one.
    let ask = sqlx::query_scalar(
        "SELECT pg_catalog.string_agg(nspname::text, ', ' ORDER BY nspname)
         FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace AS own ON own.oid = relnamespace
         WHERE relname = 'outbox' AND pg_catalog.to_regclass('outbox') IS NULL
             AND EXISTS (SELECT FROM pg_catalog.pg_proc WHERE pronamespace = own.oid AND proname = 'tidegate_lsn')",
    );
    let elsewhere: Result<Option<String>, _> =
        in_time(held.renew(), ask.fetch_one(&mut *held)).await;
    Err(match elsewhere {
        Ok(Some(schemas)) => StartError::Path { schemas },
        Ok(None) | Err(_) => StartError::Outbox(error),
    })
}

/// What takes events and all else that waits in Redis to the database, where there is one and this process is to.
fn on_stream(
    config: &Config,
    servers: &Servers,
    metrics: &Arc<Metrics>,
    stopped: &watch::Receiver<()>,
) -> Vec<Work> {
    let (on_redis, background) = (servers.on_redis(), servers.background());
    let (Ok(redis), Ok(stream)) = (on_redis.redis(), on_redis.stream()) else {
        return Vec::new();
    };
    let settings = &config.activity;
    if settings.events_workers == 0 {
        return Vec::new();
    }
    let mut work: Vec<Work> = vec![
        Box::pin(days::maintain(
            background.clone(),
            stream.clone(),
            servers.clock().clone(),
            on_redis.retention(),
            until(stopped.clone()),
        )),
        Box::pin(behind::write(
            background.clone(),
            redis.clone(),
            until(stopped.clone()),
        )),
    ];
    for _ in 0..settings.events_workers {
        work.push(Box::pin(worker::work(
            background.clone(),
            stream.clone(),
            settings.clone(),
            metrics.clone(),
            servers.clock().clone(),
            until(stopped.clone()),
        )));
    }
    work
}

/// All routes, behind the token.
fn router(servers: Servers, token: &str, meaning: Meaning) -> Router {
    let routes = Router::new()
        .merge(learning::routes().layer(Extension(meaning)))
        .merge(polyglot::routes())
        .merge(activity::routes())
        .merge(community::routes())
        .merge(observe::routes())
        .merge(description::routes());
    guarded(routes, servers, token)
}

/// Routes, with all that goes around each request.
fn guarded(routes: Router<Servers>, servers: Servers, token: &str) -> Router {
    routes
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

/// Ready when the sender is gone.
async fn until(mut stopped: watch::Receiver<()>) {
    while stopped.changed().await.is_ok() {}
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    async fn panics() -> &'static str {
        panic!("as it is told to")
    }

    #[tokio::test]
    async fn a_request_that_panics_is_answered_with_a_problem_and_counted() {
        // Nobody connects.
        let options = pools::primary("postgres://nobody@127.0.0.1:1/nothing").unwrap();
        let background = pools::of_a_relay(options);
        let pool = background.pool().clone();
        let metrics = Arc::new(Metrics::new());
        let clock = Clock::system();
        let ready = Readiness::not_yet();
        let primary = Primary::new(pool, 1, ready, metrics.clone(), clock.clone());
        let servers = Servers::new(primary, background, metrics.clone(), clock);
        let routes = Router::new().route("/", get(panics));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = guarded(routes, servers, "token");
        tokio::spawn(serve(listener, router, HEAD, std::future::pending()));

        let mut client = TcpStream::connect(address).await.unwrap();
        let request =
            "GET / HTTP/1.1\r\nhost: a\r\nx-service-token: token\r\nconnection: close\r\n\r\n";
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
        assert!(answer.contains("urn:tidegate:internal"), "{answer}");
        assert_eq!(metrics.requests(), (1, 1));
    }
}
