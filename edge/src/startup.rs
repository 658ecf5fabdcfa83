//! Puts the edge together from its configuration, starts it, and drains it.
//!
//! One thread follows the purge log and serves administration. Each worker is a thread of its
//! own with a current-thread runtime, its own listener (SO_REUSEPORT), upstream connections,
//! Redis connection and hot entries; the memory tier, the purge index, the compiled plugins and
//! the metrics are shared.

mod cancel;
mod control;
mod guests;
mod sweeper;
mod urls;
mod watcher;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http::HeaderValue;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::cache::{Cache, KeyPolicy, Memory};
use crate::clock::Clock;
use crate::config::Config;
use crate::filters::{Builtin, CacheError, Library, LocalLimits, PluginError};
use crate::handlers::HandlerError;
use crate::keyvalue::KeyValue;
use crate::proxy::Settings;
use crate::purge::{Followed, Index, Log, Orders, Own, Seal, Stream};
use crate::server::{self, Handler};
use crate::telemetry::Metrics;
pub use cancel::Cancel;
use guests::Guests;
pub use guests::check;
use sweeper::Sweeper;
use urls::Urls;
use watcher::Watcher;

/// How long the listener waits for the purge log before it opens without trusting its cache.
const LOG_PATIENCE: Duration = Duration::from_secs(5);

/// Keys whose rate limits are counted in this process.
const LIMIT_KEYS: usize = 100_000;

/// What plugins keep in this process, in bytes.
const KEPT_BYTES: usize = 64 << 20;

/// What a program or a test passes in beside the configuration.
pub struct Options {
    pub clock: Clock,
    /// Components that `builtin:NAME` may name.
    pub builtin_plugins: Builtin,
    /// The size of the purge index: 2^slots cells a row.
    pub index_slots: u32,
    /// Calls the start off.
    pub cancel: Cancel,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            clock: Clock::system(),
            builtin_plugins: &[],
            index_slots: 20,
            cancel: Cancel::default(),
        }
    }
}

/// Why the edge does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}: {source}")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("{0}")]
    CodeCache(#[from] CacheError),
    #[error("{0}")]
    Plugins(#[from] PluginError),
    #[error("route {0:?}: {1}")]
    Plugin(String, Box<PluginError>),
    #[error("{0}")]
    Handlers(#[from] HandlerError),
    #[error("route {0:?}: {1}")]
    Handler(String, Box<HandlerError>),
    #[error("{0}")]
    Config(String),
    #[error("cannot start a worker: {0}")]
    Worker(io::Error),
    #[error("the start was called off")]
    Cancelled,
}

/// A running edge. Dropped, it drains.
pub struct Edge {
    address: SocketAddr,
    admin: Option<SocketAddr>,
    drain: watch::Sender<bool>,
    workers: Vec<JoinHandle<()>>,
    /// Says that the workers have ended.
    ended: watch::Sender<bool>,
    control: Option<JoinHandle<()>>,
    _sweeper: Sweeper,
    _watcher: Option<Watcher>,
}

impl Edge {
    /// Starts listening. Returns when requests are answered.
    ///
    /// # Errors
    /// A [`StartError`] that names what and where.
    pub fn start(config: Config, options: Options) -> Result<Edge, StartError> {
        let shared = Arc::new(Shared::new(config, &options)?);
        let config = &shared.config;
        let workers = match config.server.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let listen = |address: SocketAddr, workers| {
            server::bind(address, workers).map_err(|source| StartError::Listen { address, source })
        };
        let admin = match config.server.admin {
            Some(address) => listen(address, 1)?.pop(),
            None => None,
        };
        let admin_address = admin
            .as_ref()
            .and_then(|listener| listener.local_addr().ok());
        if !options.cancel.may_be_seen() {
            return Err(StartError::Cancelled);
        }
        let (drain, draining) = watch::channel(false);
        let (ended, ending) = watch::channel(false);
        let mut edge = Edge {
            address: config.server.listen,
            admin: admin_address,
            drain,
            workers: Vec::new(),
            ended,
            control: None,
            _sweeper: shared.start_sweeper()?,
            _watcher: None,
        };
        let (followed, following) = mpsc::sync_channel(1);
        edge.control = Some(shared.start_control(admin, draining.clone(), ending, followed)?);
        // A thread that failed has told why; then there is nothing to wait for.
        if let Ok(followed) = following.recv() {
            shared.wait_for_log(followed, &options.cancel);
        }
        // Dropped, the edge takes its leave. What comes from here on takes seconds at most.
        if options.cancel.is_cancelled() {
            return Err(StartError::Cancelled);
        }
        let listeners = listen(config.server.listen, workers)?;
        edge.address = listeners[0].local_addr().map_err(StartError::Worker)?;
        let (ready, started) = mpsc::sync_channel(workers);
        for (number, listener) in listeners.into_iter().enumerate() {
            let thread = shared.start_worker(number, listener, draining.clone(), ready.clone())?;
            edge.workers.push(thread);
        }
        drop(ready);
        for result in started {
            result.map_err(StartError::Config)?;
        }
        edge._watcher = shared.start_watcher()?;
        tracing::info!(address = %edge.address, workers, "edge is listening");
        Ok(edge)
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Where administration listens.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Stops accepting, lets the exchanges under way finish within `server.drain_timeout`, and
    /// what goes on without a client too: writes, fills and refreshes. Then stops. The purge log
    /// is followed and administration answers until then.
    pub fn drain(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        self.drain.send_replace(true);
        // A panic has been reported by the thread itself.
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
        // As long as a worker served, purges had to reach it.
        self.ended.send_replace(true);
        if let Some(control) = self.control.take() {
            let _ = control.join();
        }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What all threads of an edge share.
struct Shared {
    config: Config,
    clock: Clock,
    log: Log,
    orders: Arc<Orders>,
    memory: Memory,
    cache: Cache,
    metrics: Metrics,
    guests: Guests,
    /// Of each route, in their order.
    key_policies: Vec<Option<Arc<KeyPolicy>>>,
    local_limits: Arc<LocalLimits>,
    local_keyvalue: KeyValue,
    seal: Option<Arc<Seal>>,
    settings: Settings,
}

impl Shared {
    fn new(config: Config, options: &Options) -> Result<Shared, StartError> {
        let keys = (crate::random::word(), crate::random::word());
        let clock = options.clock.clone();
        let key_policies = key_policies(&config)?;
        let index = Index::new(options.index_slots, keys);
        let index = index.with_replicas(config.origins.values().any(|origin| origin.replicas));
        let index = Arc::new(match Urls::new(&config.routes, &key_policies) {
            Some(urls) => index.with_urls(Box::new(urls)),
            None => index,
        });
        let seal = config.log.key.as_ref();
        let seal = seal.map(|key| Arc::new(Seal::new(key.expose())));
        let log = match config.log_url() {
            None => Log::in_process(index, clock.clone()),
            Some(url) => {
                let prefix = config
                    .redis
                    .as_ref()
                    .map_or("tidegate", |redis| &redis.prefix);
                let stream = Stream::new(url.expose(), prefix)
                    .map_err(|error| StartError::Config(format!("log.url: {error}")))?;
                Log::in_redis(
                    index,
                    clock.clone(),
                    stream,
                    config.log.trust,
                    config.log.deadline,
                )
            }
        };
        let metrics = Metrics::default();
        let own = Own::new(config.server.instance.as_deref(), &config.server.region);
        let orders = Orders::new(log.clone(), metrics.clone(), own, &config.purge);
        let memory = Memory::new(config.cache.memory);
        let via = HeaderValue::try_from(format!("1.1 {}", config.server.name))
            .map_err(|_| StartError::Config("server.name is no token".to_owned()))?;
        let limits_clock = clock.clone();
        let library = Library::open(options.builtin_plugins, &config.wasm)?;
        let guests = Guests::load(&config, library, clock.clone(), &metrics)?;
        Ok(Shared {
            cache: Cache::new(keys, memory.clone(), config.cache.hot),
            guests,
            key_policies,
            seal,
            local_limits: Arc::new(LocalLimits::new(LIMIT_KEYS, move || limits_clock.now().0)),
            local_keyvalue: KeyValue::in_memory(KEPT_BYTES, clock.clone()),
            settings: Settings {
                name: config.server.name.clone(),
                via,
                tells_key: config.server.cache_status_key,
                max_body: config.server.max_body_bytes,
                max_entry: config.cache.max_entry,
                purge_token: config.purge.token.clone(),
            },
            metrics,
            config,
            clock,
            log,
            orders: Arc::new(orders),
            memory,
        })
    }

    fn wait_for_log(&self, mut followed: Followed, cancel: &Cancel) {
        let until = Instant::now() + LOG_PATIENCE;
        while !*followed.borrow_and_update() && !cancel.is_cancelled() {
            if Instant::now() > until {
                tracing::warn!(
                    "the purge log cannot be reached: starting without trust in the cache"
                );
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn start_sweeper(&self) -> Result<Sweeper, StartError> {
        let (memory, log, metrics) = (&self.memory, &self.log, &self.metrics);
        let interval = self.config.cache.sweep_interval;
        Sweeper::start(memory.clone(), log.clone(), metrics.clone(), interval)
            .map_err(StartError::Worker)
    }

    /// Watches the files of plugins, if there are any and the configuration wants it.
    fn start_watcher(&self) -> Result<Option<Watcher>, StartError> {
        let interval = self.config.wasm.watch;
        let mut sources = self.config.plugins.values();
        if interval.is_zero() || sources.all(|source| source.builtin().is_some()) {
            return Ok(None);
        }
        let roster = Arc::clone(&self.guests.roster);
        Watcher::start(interval, move || roster.look())
            .map(Some)
            .map_err(StartError::Worker)
    }

    fn start_worker(
        self: &Arc<Self>,
        number: usize,
        listener: std::net::TcpListener,
        draining: watch::Receiver<bool>,
        ready: mpsc::SyncSender<Result<(), String>>,
    ) -> Result<JoinHandle<()>, StartError> {
        let shared = Arc::clone(self);
        start_thread(format!("tidegate-{number}"), move |runtime| {
            runtime.block_on(async move {
                let worker = match shared.worker().await {
                    Ok(worker) => Arc::new(worker),
                    Err(error) => {
                        let _ = ready.send(Err(error));
                        return;
                    }
                };
                let _ = ready.send(Ok(()));
                drop(ready);
                let serving = async {
                    shared
                        .serve(listener, Arc::clone(&worker), draining.clone())
                        .await;
                    worker.finished().await;
                };
                if shared
                    .within_drain(draining.clone(), serving)
                    .await
                    .is_none()
                {
                    tracing::warn!("exchanges were still under way when the drain ended");
                }
            });
        })
    }

    /// Serves until `stop` says true and what is under way has ended.
    async fn serve<H: Handler>(
        &self,
        listener: std::net::TcpListener,
        handler: Arc<H>,
        stop: watch::Receiver<bool>,
    ) {
        let server = &self.config.server;
        let limits = server::Limits {
            max_header: server.max_header_bytes,
            header_timeout: server.header_timeout,
            write_timeout: server.write_timeout,
        };
        if let Err(error) = server::serve(listener, handler, limits, stop).await {
            tracing::error!(%error, "a listener stopped");
        }
    }

    /// The work's outcome; `None` when it is not done `server.drain_timeout` after the signal.
    async fn within_drain<T>(
        &self,
        mut draining: watch::Receiver<bool>,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let too_late = async {
            let _ = draining.wait_for(|drain| *drain).await;
            tokio::time::sleep(self.config.server.drain_timeout).await;
        };
        tokio::select! {
            // What ends just in time has ended.
            biased;
            outcome = work => Some(outcome),
            () = too_late => None,
        }
    }
}

fn key_policies(config: &Config) -> Result<Vec<Option<Arc<KeyPolicy>>>, StartError> {
    let policies = config.routes.iter().map(|route| {
        let policy = KeyPolicy::new(&route.key).map_err(|message| {
            StartError::Config(format!("route {:?}: {message}", route.name()))
        })?;
        Ok(policy.map(Arc::new))
    });
    policies.collect()
}

fn start_thread(
    name: String,
    run: impl FnOnce(&Runtime) + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Worker)?;
    std::thread::Builder::new()
        .name(name)
        .spawn(move || {
            run(&runtime);
            // Fetches and refreshes nobody waits for end here.
            runtime.shutdown_background();
        })
        .map_err(StartError::Worker)
}
