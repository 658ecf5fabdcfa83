//! What a `tidegate.toml` may say, and the errors that point at the line where it does not.
//!
//! `${NAME}` and `${NAME:-default}` inside double-quoted strings are replaced from the
//! environment before parsing. Unknown keys are errors.

mod environment;
mod plugins;
mod syntax;
mod units;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;
use tidegate_semantics::Policy;

pub use plugins::{Grant, OnFailure, Source, Use};
pub use syntax::SyntaxError;
use units::{byte_size, duration, optional_duration};

/// A whole configuration, checked: every route names an origin and plugins that exist.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub server: Server,
    #[serde(default)]
    pub cache: Cache,
    pub redis: Option<Redis>,
    #[serde(default)]
    pub log: Log,
    #[serde(default)]
    pub purge: Purge,
    pub origins: BTreeMap<String, Origin>,
    #[serde(default)]
    pub plugins: BTreeMap<String, Source>,
    pub routes: Vec<Route>,
}

/// `[server]`: listeners and their limits.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Where clients connect (HTTP/1.1 and h2c).
    pub listen: SocketAddr,
    /// Where administration listens; none without it.
    pub admin: Option<SocketAddr>,
    /// Required as `Authorization: Bearer …` on everything of the admin listener that changes
    /// something; without it such requests are refused unless the listener is on loopback.
    pub admin_token: Option<Secret>,
    /// Worker threads, one runtime each; 0 means one per core.
    pub workers: usize,
    /// The name in `Via` and `Cache-Status`.
    pub name: String,
    /// A request head over this many bytes is answered 431.
    #[serde(deserialize_with = "byte_size")]
    pub max_header_bytes: usize,
    /// A request body over this many bytes is answered 413.
    #[serde(deserialize_with = "byte_size")]
    pub max_body_bytes: usize,
    /// How long a connection may be idle, or take to send a request head.
    #[serde(deserialize_with = "duration")]
    pub header_timeout: Duration,
    /// How long a drain waits for exchanges under way.
    #[serde(deserialize_with = "duration")]
    pub drain_timeout: Duration,
    /// A header in which a trusted front (Fly's proxy, say) names the client's address.
    pub client_address_header: Option<String>,
    /// Whether the origin's 102 and 103 are relayed to HTTP/1.1 clients.
    pub interim_responses: bool,
}

impl Default for Server {
    fn default() -> Server {
        Server {
            listen: SocketAddr::from(([0, 0, 0, 0], 8080)),
            admin: None,
            admin_token: None,
            workers: 0,
            name: "tidegate".to_owned(),
            max_header_bytes: 64 << 10,
            max_body_bytes: 100 << 20,
            header_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(10),
            client_address_header: None,
            interim_responses: true,
        }
    }
}

/// `[cache]`: the budgets of the tiers in memory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// Bytes of the memory tier (L1), shared by all workers.
    #[serde(deserialize_with = "byte_size")]
    pub memory: usize,
    /// Bytes of each worker's own tier of hot entries (L0).
    #[serde(deserialize_with = "byte_size")]
    pub hot: usize,
    /// A body over this many bytes streams through and is not kept.
    #[serde(deserialize_with = "byte_size")]
    pub max_entry: usize,
}

impl Default for Cache {
    fn default() -> Cache {
        Cache {
            memory: 256 << 20,
            hot: 8 << 20,
            max_entry: 16 << 20,
        }
    }
}

/// `[redis]`: the regional tier (L2), and the purge log unless `[log]` names another server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    pub url: Secret,
    /// Past this, L2 is a miss.
    #[serde(default = "Redis::default_deadline", deserialize_with = "duration")]
    pub deadline: Duration,
    /// Bodies over this many bytes stay out of L2.
    #[serde(default = "Redis::default_max_entry", deserialize_with = "byte_size")]
    pub max_entry: usize,
    /// Prefixes every key, so that several deployments can share a server.
    #[serde(default = "Redis::default_prefix")]
    pub prefix: String,
}

impl Redis {
    fn default_deadline() -> Duration {
        Duration::from_millis(5)
    }

    fn default_max_entry() -> usize {
        1 << 20
    }

    fn default_prefix() -> String {
        "tidegate".to_owned()
    }
}

/// `[log]`: the purge log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// The Redis that keeps the log; that of `[redis]` when absent, in process when neither is.
    pub url: Option<Secret>,
    /// An edge that has not heard from the log for this long stops trusting its cache on routes
    /// with `on_partition = "revalidate"`.
    #[serde(deserialize_with = "duration")]
    pub trust: Duration,
    /// How long an append may take before the caller is told "not recorded".
    #[serde(deserialize_with = "duration")]
    pub deadline: Duration,
}

impl Default for Log {
    fn default() -> Log {
        Log {
            url: None,
            trust: Duration::from_secs(2),
            deadline: Duration::from_millis(250),
        }
    }
}

/// `[purge]`: who may purge over the public listener.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Purge {
    /// The token that the `PURGE` method must carry as `Authorization: Bearer …`; without it the
    /// method is refused.
    pub token: Option<Secret>,
}

/// `[origins.NAME]`: where misses and writes go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// `http://host:port`, without a path.
    pub url: String,
    #[serde(
        default = "Origin::default_connect_timeout",
        deserialize_with = "duration"
    )]
    pub connect_timeout: Duration,
    /// Until the head of the response, and between two parts of its body.
    #[serde(default = "Origin::default_timeout", deserialize_with = "duration")]
    pub timeout: Duration,
    /// Fields set on every request to it, such as a service token.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// Sends this `Host` instead of the client's.
    pub host: Option<String>,
    /// Idle connections kept by each worker.
    #[serde(default = "Origin::default_idle_connections")]
    pub idle_connections: usize,
}

impl Origin {
    fn default_connect_timeout() -> Duration {
        Duration::from_secs(2)
    }

    fn default_timeout() -> Duration {
        Duration::from_secs(30)
    }

    fn default_idle_connections() -> usize {
        256
    }
}

/// What a route does with its cache while the purge log cannot be heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnPartition {
    /// Each entry is validated at most once per `log.trust`.
    #[default]
    Revalidate,
    /// The cache is used as if nothing had been purged.
    Serve,
}

/// `[[routes]]`: the first whose host and path fit decides.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The name in metrics and logs; its path when absent.
    pub name: Option<String>,
    /// `*` or absent for any host; `*.example.org` for all below it.
    #[serde(default = "Route::any_host")]
    pub host: String,
    /// A path prefix on segment boundaries: `/a` fits `/a` and `/a/b`, not `/ab`.
    #[serde(default = "Route::any_path")]
    pub path: String,
    pub origin: String,
    /// `false` forwards everything without looking into the cache.
    #[serde(default = "Route::caches")]
    pub cache: bool,
    #[serde(default, deserialize_with = "optional_duration")]
    pub ttl: Option<Duration>,
    #[serde(default, deserialize_with = "optional_duration")]
    pub default_ttl: Option<Duration>,
    #[serde(default, deserialize_with = "optional_duration")]
    pub stale_while_revalidate: Option<Duration>,
    #[serde(default, deserialize_with = "optional_duration")]
    pub stale_if_error: Option<Duration>,
    #[serde(default)]
    pub honour_request_directives: bool,
    #[serde(default = "Route::caches")]
    pub store_set_cookie: bool,
    #[serde(default = "Route::caches")]
    pub deception_armour: bool,
    #[serde(default)]
    pub on_partition: OnPartition,
    /// The filters of this route, in order.
    #[serde(default)]
    pub plugins: Vec<Use>,
}

impl Route {
    fn any_host() -> String {
        "*".to_owned()
    }

    fn any_path() -> String {
        "/".to_owned()
    }

    fn caches() -> bool {
        true
    }

    fn check(&self) -> Result<(), String> {
        if !self.path.starts_with('/') {
            return Err(format!("path {:?} does not start with \"/\"", self.path));
        }
        if self.path.contains(['?', '#']) {
            return Err(format!("path {:?} must not have a query", self.path));
        }
        let name = self.host.strip_prefix("*.").unwrap_or(&self.host);
        let is_name = name
            .parse::<Authority>()
            .is_ok_and(|authority| authority.host() == name && !name.contains('*'));
        if self.host == "*" || is_name {
            return Ok(());
        }
        Err(format!(
            "host {:?} is not \"*\", a host without a port, or \"*.\" before one",
            self.host
        ))
    }

    /// The name in metrics and logs.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.path)
    }

    /// What the caching rules need to know of this route.
    pub fn policy(&self) -> Policy {
        Policy {
            honour_request_directives: self.honour_request_directives,
            ttl: self.ttl,
            default_ttl: self.default_ttl,
            stale_while_revalidate: self.stale_while_revalidate,
            stale_if_error: self.stale_if_error,
            store_set_cookie: self.store_set_cookie,
            deception_armour: self.deception_armour,
            ..Policy::default()
        }
    }
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Secret {
        Secret(value.into())
    }

    /// The value itself, for the one place that uses it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether a request carries it as `Authorization: Bearer`. How long comparing takes does not
    /// tell how much was right.
    pub fn is_carried_by(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes) else {
            return false;
        };
        value.split_at_checked(7).is_some_and(|(scheme, given)| {
            let is_right = blake3::hash(self.0.as_bytes()) == blake3::hash(given);
            scheme.eq_ignore_ascii_case(b"bearer ") && is_right
        })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(secret)")
    }
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{name}, line {line}: environment variable {variable} is not set")]
    Environment {
        name: String,
        line: usize,
        variable: String,
    },
    #[error("{name}{source}")]
    Syntax { name: String, source: SyntaxError },
    #[error("{name}: {message}")]
    Meaning { name: String, message: String },
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`], naming the file and, where there is one, the line.
    pub fn from_file(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let mut config = Config::from_toml(&text, &path.display().to_string())?;
        let folder = path.parent().unwrap_or(Path::new("."));
        for source in config.plugins.values_mut() {
            source.resolve_beside(folder);
        }
        Ok(config)
    }

    /// Parses and checks a text; `name` is what errors call it.
    ///
    /// # Errors
    /// As [`Config::from_file`].
    pub fn from_toml(text: &str, name: &str) -> Result<Config, ConfigError> {
        let value = |variable: &str| std::env::var(variable).ok();
        let expanded = environment::expand(text, |_, variable| value(variable)).map_err(
            |(line, variable)| ConfigError::Environment {
                name: name.to_owned(),
                line,
                variable,
            },
        )?;
        let config: Config = toml::from_str(&expanded).map_err(|error| ConfigError::Syntax {
            name: name.to_owned(),
            source: SyntaxError::new::<Config>(text, &expanded, &error, value),
        })?;
        config.check().map_err(|message| ConfigError::Meaning {
            name: name.to_owned(),
            message,
        })?;
        Ok(config)
    }

    /// One route that forwards everything to `origin` and caches what HTTP allows.
    ///
    /// # Errors
    /// When `origin` is no usable URL.
    pub fn forwarding_to(origin: &str) -> Result<Config, ConfigError> {
        let origin = toml::Value::String(origin.to_owned());
        let text = format!("[origins.default]\nurl = {origin}\n[[routes]]\norigin = \"default\"\n");
        Config::from_toml(&text, "--origin")
    }

    /// Where the purge log is kept, when not in process.
    pub fn log_url(&self) -> Option<&Secret> {
        self.log
            .url
            .as_ref()
            .or(self.redis.as_ref().map(|redis| &redis.url))
    }

    fn check(&self) -> Result<(), String> {
        if self.routes.is_empty() {
            return Err("no route: at least one [[routes]] is needed".to_owned());
        }
        for (name, origin) in &self.origins {
            origin
                .check()
                .map_err(|message| format!("origin {name:?}: {message}"))?;
        }
        for route in &self.routes {
            let place = format!("route {:?}", route.name());
            if !self.origins.contains_key(&route.origin) {
                return Err(format!("{place}: no origin named {:?}", route.origin));
            }
            route
                .check()
                .map_err(|message| format!("{place}: {message}"))?;
            for plugin in &route.plugins {
                if !self.plugins.contains_key(&plugin.name) {
                    return Err(format!("{place}: no plugin named {:?}", plugin.name));
                }
            }
        }
        if self.cache.max_entry > self.cache.memory {
            return Err(format!(
                "cache.max_entry ({} bytes) is larger than cache.memory ({} bytes)",
                self.cache.max_entry, self.cache.memory
            ));
        }
        if let Some(header) = &self.server.client_address_header {
            http::HeaderName::try_from(header).map_err(|_| {
                format!("server.client_address_header: {header:?} is no field name")
            })?;
        }
        if self.redis.is_none() && self.log.url.is_some() {
            tracing::debug!("a log in redis without an L2: purges reach the other edges");
        }
        Ok(())
    }
}

impl Origin {
    /// The authority to connect to.
    ///
    /// # Errors
    /// A message that says what is wrong with the URL.
    pub fn authority(&self) -> Result<Authority, String> {
        // First of all: the other messages show the URL.
        if self.url.contains('@') {
            return Err("url must not carry credentials".to_owned());
        }
        let url: http::Uri = self
            .url
            .parse()
            .map_err(|error| format!("url {:?}: {error}", self.url))?;
        match url.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(format!(
                    "url {:?}: https to an origin is not supported yet",
                    self.url
                ));
            }
            _ => return Err(format!("url {:?} must start with http://", self.url)),
        }
        if url
            .path_and_query()
            .is_some_and(|path| path.as_str() != "/")
        {
            return Err(format!("url {:?} must not have a path", self.url));
        }
        let authority = url
            .authority()
            .expect("a URL with a scheme has an authority");
        Ok(authority.clone())
    }

    fn check(&self) -> Result<(), String> {
        self.authority()?;
        for (name, value) in &self.headers {
            http::HeaderName::try_from(name.as_str())
                .map_err(|_| format!("headers: {name:?} is no field name"))?;
            http::HeaderValue::try_from(value.expose())
                .map_err(|_| format!("headers: the value of {name:?} is no field value"))?;
        }
        if let Some(host) = &self.host {
            http::HeaderValue::try_from(host.as_str())
                .map_err(|_| format!("host {host:?} is no host"))?;
        }
        Ok(())
    }
}
