//! What a `tidegate.toml` may say, and the errors that point at the line where it does not.
//!
//! `${NAME}` and `${NAME:-default}` inside double-quoted strings are replaced from the
//! environment before parsing. Unknown keys are errors.

mod compression;
mod environment;
mod hosts;
mod key;
mod origin;
mod plugins;
mod purge;
mod route;
mod secret;
mod server;
mod servers;
mod sum;
mod syntax;
mod tiers;
mod units;
mod wasm;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use compression::{Compression, Levels};
pub use hosts::AllowedHosts;
pub use key::{Key, Query};
pub use origin::Origin;
pub use plugins::{Grant, OnFailure, Source, Use};
pub use purge::{Purge, Rate};
pub use route::{OnPartition, Ranges, ReadYourWrites, Route};
pub use secret::Secret;
pub use server::Server;
pub use servers::RedisServers;
pub use sum::Sum;
pub use syntax::SyntaxError;
pub use tiers::{Cache, Log, Redis};
pub use units::parse_duration;
pub use wasm::Wasm;

use tiers::check_redis_url;
use units::check_not_zero;

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
    #[serde(default)]
    pub origins: BTreeMap<String, Origin>,
    #[serde(default)]
    pub plugins: BTreeMap<String, Source>,
    #[serde(default)]
    pub wasm: Wasm,
    pub routes: Vec<Route>,
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
        config.wasm.resolve_beside(folder);
        Ok(config)
    }

    /// Parses and checks a text; `name` is what errors call it.
    ///
    /// # Errors
    /// As [`Config::from_file`].
    pub fn from_toml(text: &str, name: &str) -> Result<Config, ConfigError> {
        Config::from_toml_with(text, name, |variable| std::env::var(variable).ok())
    }

    /// The same with other variables than those of the environment.
    ///
    /// # Errors
    /// As [`Config::from_file`].
    pub fn from_toml_with(
        text: &str,
        name: &str,
        value: impl Fn(&str) -> Option<String>,
    ) -> Result<Config, ConfigError> {
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
        self.server.check()?;
        self.purge.check()?;
        if let Some(redis) = &self.redis {
            check_redis_url("redis.url", &redis.url)?;
            redis.check_lease()?;
        }
        self.log.check()?;
        self.wasm.check()?;
        for (name, origin) in &self.origins {
            origin
                .check()
                .map_err(|message| format!("origin {name:?}: {message}"))?;
        }
        // What a plugin keeps stands under its name, what a Spin guest keeps under `NAME/LABEL`.
        if let Some(name) = self
            .plugins
            .keys()
            .find(|name| name.is_empty() || name.contains('/'))
        {
            return Err(format!(
                "plugin {name:?}: a plugin's name is not empty and has no \"/\""
            ));
        }
        for route in &self.routes {
            let place = format!("route {:?}", route.name());
            match (&route.origin, &route.handler) {
                (Some(origin), None) if !self.origins.contains_key(origin) => {
                    return Err(format!("{place}: no origin named {origin:?}"));
                }
                (Some(_), None) | (None, Some(_)) => {}
                (None, None) => return Err(format!("{place}: neither an origin nor a handler")),
                (Some(_), Some(_)) => {
                    return Err(format!(
                        "{place}: both an origin and a handler, which answers in its place"
                    ));
                }
            }
            for (at, origin) in route.origins.iter().enumerate() {
                if !self.origins.contains_key(origin) {
                    return Err(format!("{place}: origins: no origin named {origin:?}"));
                }
                if route.origin.as_ref() == Some(origin) || route.origins[..at].contains(origin) {
                    return Err(format!(
                        "{place}: origins: {origin:?} is one of the route's already"
                    ));
                }
            }
            route
                .check()
                .map_err(|message| format!("{place}: {message}"))?;
            if route.read_your_writes.is_some() && self.log.key.is_none() {
                return Err(format!(
                    "{place}: read_your_writes needs log.key, a secret that all edges share"
                ));
            }
            let named = |message| format!("{place}: {message}");
            for filter in &route.plugins {
                filter.check_filter().map_err(named)?;
            }
            if let Some(handler) = &route.handler {
                handler.check_handler().map_err(named)?;
            }
            let handlers = route.handler.iter().chain(&route.middleware);
            for plugin in route.plugins.iter().chain(handlers) {
                if !self.plugins.contains_key(&plugin.name) {
                    return Err(format!("{place}: no plugin named {:?}", plugin.name));
                }
                plugin
                    .check()
                    .map_err(|message| format!("{place}: {message}"))?;
            }
        }
        check_not_zero("cache.sweep_interval", self.cache.sweep_interval)?;
        if self.cache.max_entry > self.cache.memory {
            return Err(format!(
                "cache.max_entry ({} bytes) is larger than cache.memory ({} bytes)",
                self.cache.max_entry, self.cache.memory
            ));
        }
        if self.redis.is_none() && self.log.url.is_some() {
            tracing::debug!("a log in redis without an L2: purges reach the other edges");
        }
        Ok(())
    }
}
