//! An edge in this process, with a clock that tests move.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::SystemTime;

use tidegate_edge::clock::Clock;
use tidegate_edge::config::{Config, Source};
use tidegate_edge::handlers::Handlers;
use tidegate_edge::startup::{self, Options};
use tidegate_semantics::Timestamp;
use tidegate_services::Redis;
use toml::{Table, Value};

use super::client::{Connection, Request, Response};
use super::origin::Origin;

/// The token that lets `PURGE` through.
pub(crate) const PURGE_TOKEN: &str = "Bearer purge-please";

/// What `builtin:NAME` may name here: all guests of the bundle, and the Spin applications.
static BUILTIN: LazyLock<Vec<(&str, &[u8])>> =
    LazyLock::new(|| [tidegate_plugins::WITH_FIXTURES, tidegate_plugins::spin::ALL].concat());

/// The handlers that most tests use, compiled once for all: what is in use is not compiled again.
static COMPILED: LazyLock<Handlers> = LazyLock::new(|| {
    let source = |name: &str| Source {
        file: format!("builtin:{name}"),
        ..Source::default()
    };
    let names = ["misfit", "misfit-classic"];
    let sources = names.map(|name| (name.to_owned(), source(name)));
    let sources = sources.iter().map(|(name, source)| (name, source));
    Handlers::load(sources, BUILTIN.as_slice()).expect("the fixtures are handlers")
});

/// What the clock of every edge shows at first: edges that share a response tell the same ages of it,
/// whenever they were started. Whole seconds, for ages and dates are told in those. No test may compare it with another
/// clock: by its end the tests have run for minutes.
static START: LazyLock<Timestamp> = LazyLock::new(|| {
    let now = Timestamp::from_system(SystemTime::now());
    Timestamp(now.0 / 1000 * 1000)
});

/// A running edge and its clock. Dropped, it drains.
pub(crate) struct Edge {
    pub(crate) clock: Clock,
    running: startup::Edge,
}

/// An edge to be.
pub(crate) struct Builder {
    settings: Table,
    clock: Clock,
}

impl Edge {
    /// An edge with one worker and one route, which leads to `origin`.
    pub(crate) fn before(origin: &Origin) -> Builder {
        Edge::builder(&origin.address.to_string())
    }

    fn builder(origin: &str) -> Builder {
        let text = format!(
            r#"
            [server]
            listen = "127.0.0.1:0"
            admin = "127.0.0.1:0"
            workers = 1
            drain_timeout = "1s"
            [cache]
            sweep_interval = "1d"
            [purge]
            token = "purge-please"
            # A clock that stands still gives nothing back.
            limit = "1000000/s"
            record_limit = "1000000/s"
            [origins.app]
            url = "http://{origin}"
            [[routes]]
            origin = "app"
            "#
        );
        Builder {
            settings: parse(&text),
            clock: Clock::manual(*START),
        }
    }

    /// An edge with one worker and one route, which a plugin of the bundle answers. `name` is what
    /// the configuration calls it: failures are counted by that.
    pub(crate) fn answered_by(name: &str, builtin: &str) -> Builder {
        LazyLock::force(&COMPILED);
        let plugin = format!("[plugins.{name}]\nfile = \"builtin:{builtin}\"");
        Edge::builder("127.0.0.1:9")
            .with(&plugin)
            .without_origin()
            .route(&format!("handler = {{ name = \"{name}\" }}"))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running.addr()
    }

    /// A request with this method, over a connection of its own.
    pub(crate) fn request(&self, method: &str, path: &str) -> Request {
        Request::new(self.running.addr(), method, path)
    }

    /// The answer to a GET.
    pub(crate) fn get(&self, path: &str) -> impl Future<Output = Response> + Send + use<> {
        self.request("GET", path).send()
    }

    /// Has these paths stored; each of them can be.
    pub(crate) async fn fill(&self, paths: &[&str]) {
        for path in paths {
            self.get(path).await;
            assert_eq!(self.get(path).await.cache_status(), "hit", "{path}");
        }
    }

    /// Whether a path is stored, asked without a fetch that would store it.
    pub(crate) async fn is_stored(&self, path: &str) -> bool {
        self.request("HEAD", path).send().await.cache_status() == "hit"
    }

    /// The answer to a `PURGE` with the token.
    pub(crate) fn purge(&self, path: &str) -> impl Future<Output = Response> + Send + use<> {
        self.request("PURGE", path)
            .with("authorization", PURGE_TOKEN)
            .send()
    }

    /// A request to the admin listener.
    pub(crate) fn admin(&self, method: &str, path: &str) -> Request {
        let admin = self.running.admin_addr().expect("the builder asks for one");
        Request::new(admin, method, path)
    }

    /// Purges what this JSON names.
    pub(crate) async fn order(&self, json: &str) -> Response {
        self.admin("POST", "/purge").body(json).send().await
    }

    /// Returns when what was sent before has been taken up: the one worker serves in turn, and this
    /// goes there and back several times.
    pub(crate) async fn settled(&self) {
        for _ in 0..4 {
            assert_eq!(self.request("PURGE", "/").send().await.status, 401);
        }
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection::open(self.running.addr()).await
    }

    pub(crate) fn drain(self) {
        self.running.drain();
    }
}

impl Builder {
    /// Adds or overrides settings, in TOML.
    pub(crate) fn with(mut self, settings: &str) -> Builder {
        merge(&mut self.settings, parse(settings));
        self
    }

    /// Leaves a section out.
    pub(crate) fn without(mut self, section: &str) -> Builder {
        self.settings.remove(section);
        self
    }

    fn without_origin(mut self) -> Builder {
        self.settings.remove("origins");
        if let Some(route) = self.first_route() {
            route.remove("origin");
        }
        self
    }

    fn first_route(&mut self) -> Option<&mut Table> {
        let routes = self.settings.get_mut("routes")?.as_array_mut()?;
        routes.first_mut()?.as_table_mut()
    }

    /// Adds or overrides settings of the route.
    pub(crate) fn route(mut self, settings: &str) -> Builder {
        let route = self.first_route();
        merge(route.expect("there is a route"), parse(settings));
        self
    }

    /// Shares the regional tier and the purge log in `redis`. Deadlines and trust are longer than
    /// any test takes, unless it says otherwise.
    pub(crate) fn redis(self, redis: &Redis) -> Builder {
        self.with(&format!(
            "redis = {{ url = {:?}, deadline = \"5s\" }}\nlog = {{ trust = \"1d\", deadline = \"10s\" }}",
            redis.url()
        ))
    }

    /// On the clock of another edge.
    pub(crate) fn on_the_clock_of(mut self, other: &Edge) -> Builder {
        self.clock = other.clock.clone();
        self
    }

    pub(crate) fn start(self) -> Edge {
        let clock = self.clock.clone();
        Edge {
            clock,
            running: self.started().expect("the edge starts"),
        }
    }

    /// Why the edge does not start.
    pub(crate) fn refusal(self) -> String {
        match self.started() {
            Ok(_) => panic!("the edge starts"),
            Err(error) => error.to_string(),
        }
    }

    fn started(self) -> Result<startup::Edge, startup::StartError> {
        let text = toml::to_string(&self.settings).expect("a table is TOML");
        let config = Config::from_toml(&text, "test").expect("a test's own settings are right");
        let options = Options {
            clock: self.clock,
            builtin_plugins: &BUILTIN,
            index_slots: 12,
            ..Options::default()
        };
        startup::Edge::start(config, options)
    }
}

fn parse(text: &str) -> Table {
    text.parse().expect("a test's own settings are TOML")
}

fn merge(into: &mut Table, from: Table) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(Value::Table(there)), Value::Table(new)) => merge(there, new),
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
}
