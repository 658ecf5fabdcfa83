//! What a configuration says about plugins: where they come from, and how a route uses them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::hosts::AllowedHosts;
use super::secret::Secret;
use super::servers::RedisServers;
use super::sum::Sum;
use super::units::{check_not_zero, duration, optional_duration, optional_size};

/// The longest name of a secret, in bytes.
const LONGEST_SECRET_NAME: usize = 128;

/// `[plugins.NAME]`: where a component comes from.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// `builtin:NAME` for one that ships with Tidegate, else a path to a `.wasm` component,
    /// relative to the configuration file.
    pub file: String,
    /// The sum that the component must have, whenever it is read; any will do when absent.
    pub sha256: Option<Sum>,
    /// How many exchanges one instance serves, one after the other; each has a fresh one when absent.
    pub reuse: Option<NonZeroU32>,
    /// The most instances alive at once, of each use on a route.
    pub instances: Option<NonZeroU32>,
    /// How long an exchange waits for an instance when there are as many as there may be.
    #[serde(default, deserialize_with = "optional_duration")]
    pub wait: Option<Duration>,
}

impl Source {
    /// How many exchanges one instance serves.
    pub fn reuse(&self) -> u32 {
        self.reuse.map_or(1, NonZeroU32::get)
    }

    /// The most instances alive at once.
    pub fn instances(&self) -> usize {
        self.instances.map_or(1_000, |most| most.get() as usize)
    }

    /// How long an exchange waits for an instance.
    pub fn wait(&self) -> Duration {
        self.wait.unwrap_or(Duration::from_millis(100))
    }

    /// The name behind `builtin:`, if that is what the source is.
    pub fn builtin(&self) -> Option<&str> {
        self.file.strip_prefix("builtin:")
    }

    /// Reads a relative path as one beside the configuration file.
    pub(super) fn resolve_beside(&mut self, folder: &Path) {
        if self.builtin().is_none() {
            self.file = folder.join(&self.file).display().to_string();
        }
    }
}

/// A capability that a route grants; all are denied by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    Limits,
    Purge,
    Log,
    Clock,
    Config,
    Kv,
    Http,
    Secrets,
    Metrics,
    Random,
    /// Of Spin guests alone.
    Redis,
}

impl Grant {
    /// The name in configuration and in the WIT package.
    pub fn name(self) -> &'static str {
        match self {
            Grant::Limits => "limits",
            Grant::Purge => "purge",
            Grant::Log => "log",
            Grant::Clock => "clock",
            Grant::Config => "config",
            Grant::Kv => "kv",
            Grant::Http => "http",
            Grant::Secrets => "secrets",
            Grant::Metrics => "metrics",
            Grant::Random => "random",
            Grant::Redis => "redis",
        }
    }
}

/// What happens to a request when a plugin fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// It goes on as if the plugin were not there.
    Open,
    /// It is refused with 503.
    #[default]
    Closed,
}

/// One line of a route's `plugins`, or a route's `handler`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Use {
    pub name: String,
    /// Handed to the guest as JSON.
    #[serde(default)]
    pub config: toml::Table,
    #[serde(default)]
    pub grants: BTreeSet<Grant>,
    /// Where the grant `http` leads, and nowhere else.
    #[serde(default)]
    pub hosts: AllowedHosts,
    /// How long a hook may wait for what it asks of `hosts`, all its requests together.
    #[serde(default = "Use::default_http_timeout", deserialize_with = "duration")]
    pub http_timeout: Duration,
    /// What the grant `secrets` tells, by name.
    #[serde(default)]
    pub secrets: BTreeMap<String, Secret>,
    /// The stores that a guest of Spin may open, by label; where none is named, `default`.
    #[serde(default)]
    pub stores: Option<BTreeSet<String>>,
    /// Where the grant `redis` leads, and nowhere else.
    #[serde(default)]
    pub redis: RedisServers,
    /// How long connecting to one of `redis` may take, and how long a command.
    #[serde(default, deserialize_with = "optional_duration")]
    pub redis_timeout: Option<Duration>,
    #[serde(default)]
    pub on_failure: OnFailure,
    /// How long one hook may run, or a handler over one exchange; its waiting does not count.
    #[serde(default, deserialize_with = "optional_duration")]
    pub deadline: Option<Duration>,
    /// How much memory an instance may have, in bytes.
    #[serde(default, deserialize_with = "optional_size")]
    pub memory: Option<usize>,
    /// How long a handler may be silent: before the head of its response, and between two parts of
    /// the body.
    #[serde(default, deserialize_with = "optional_duration")]
    pub timeout: Option<Duration>,
    /// How long a handler's exchange may take in all, with all waiting.
    #[serde(default, deserialize_with = "optional_duration")]
    pub lifetime: Option<Duration>,
}

impl Use {
    /// How long one hook of a filter may run.
    pub fn hook_deadline(&self) -> Duration {
        self.deadline.unwrap_or(Duration::from_millis(10))
    }

    /// How much memory an instance may have, in bytes.
    pub fn memory(&self) -> usize {
        self.memory.unwrap_or(16 << 20)
    }

    /// How long a handler may run over one exchange.
    pub fn handler_deadline(&self) -> Duration {
        self.deadline.unwrap_or(Duration::from_secs(1))
    }

    /// How long a handler may be silent.
    pub fn handler_timeout(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_secs(30))
    }

    /// How long a handler's exchange may take in all.
    pub fn handler_lifetime(&self) -> Duration {
        self.lifetime.unwrap_or(Duration::from_secs(600))
    }

    /// Whether a guest of Spin may open the store of that label.
    pub fn opens_store(&self, label: &str) -> bool {
        match &self.stores {
            Some(stores) => stores.contains(label),
            None => label == "default",
        }
    }

    /// How long connecting to a Redis may take, and how long a command.
    pub fn redis_timeout(&self) -> Duration {
        self.redis_timeout.unwrap_or(Duration::from_secs(1))
    }

    /// What makes no sense of a filter.
    pub(super) fn check_filter(&self) -> Result<(), String> {
        let of_spin = [
            ("stores", self.stores.is_some()),
            (
                "redis",
                !self.redis.is_empty() || self.grants.contains(&Grant::Redis),
            ),
        ];
        if let Some((key, _)) = of_spin.iter().find(|(_, is_set)| *is_set) {
            return Err(format!(
                "plugin {:?}: {key} is for guests of Spin, not for a filter",
                self.name
            ));
        }
        if self.timeout.is_some() || self.lifetime.is_some() {
            return Err(format!(
                "plugin {:?}: timeout and lifetime are a handler's; a filter has a deadline",
                self.name
            ));
        }
        Ok(())
    }

    /// What makes no sense of a handler.
    pub(super) fn check_handler(&self) -> Result<(), String> {
        if self.on_failure == OnFailure::Open {
            return Err(format!(
                "handler {:?}: on_failure = \"open\" would leave nobody to answer",
                self.name
            ));
        }
        Ok(())
    }

    fn default_http_timeout() -> Duration {
        Duration::from_secs(1)
    }

    /// What is given without the grant that would make use of it is a mistake, not a precaution.
    pub(super) fn check(&self) -> Result<(), String> {
        let in_place = |message: String| Err(format!("plugin {:?}: {message}", self.name));
        if !self.hosts.is_empty() && !self.grants.contains(&Grant::Http) {
            return in_place("hosts are of no use without the grant \"http\"".to_owned());
        }
        if !self.secrets.is_empty() && !self.grants.contains(&Grant::Secrets) {
            return in_place("secrets are of no use without the grant \"secrets\"".to_owned());
        }
        if self.stores.is_some() && !self.grants.contains(&Grant::Kv) {
            return in_place("stores are of no use without the grant \"kv\"".to_owned());
        }
        if !self.redis.is_empty() && !self.grants.contains(&Grant::Redis) {
            return in_place("redis is of no use without the grant \"redis\"".to_owned());
        }
        check_not_zero("redis_timeout", self.redis_timeout()).or_else(in_place)?;
        for (name, time) in [
            ("deadline", self.deadline),
            ("timeout", self.timeout),
            ("lifetime", self.lifetime),
        ] {
            if let Some(time) = time {
                check_not_zero(name, time).or_else(in_place)?;
            }
        }
        for name in self.secrets.keys() {
            let is_plain = name.bytes().all(|byte| byte.is_ascii_graphic());
            if name.is_empty() || name.len() > LONGEST_SECRET_NAME || !is_plain {
                return in_place(format!(
                    "secrets: {name:?} is no name: 1 to {LONGEST_SECRET_NAME} visible ascii characters"
                ));
            }
        }
        check_not_zero("http_timeout", self.http_timeout).or_else(in_place)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn read(settings: &str) -> Result<Config, String> {
        let text = format!(
            "[origins.app]\nurl = \"http://a\"\n[plugins.p]\nfile = \"builtin:p\"\n\
             [[routes]]\norigin = \"app\"\n[[routes.plugins]]\nname = \"p\"\n{settings}"
        );
        Config::from_toml(&text, "test").map_err(|error| error.to_string())
    }

    #[test]
    fn what_a_plugin_is_given_needs_the_grant_for_it() {
        for (settings, expected) in [
            (
                "hosts = [\"a\"]",
                "route \"/\": plugin \"p\": hosts are of no use without the grant \"http\"",
            ),
            (
                "secrets = { token = \"hush\" }",
                "route \"/\": plugin \"p\": secrets are of no use without the grant \"secrets\"",
            ),
            (
                "grants = [\"secrets\"]\nsecrets = { \"a b\" = \"hush\" }",
                "secrets: \"a b\" is no name",
            ),
            (
                "grants = [\"http\"]\nhosts = [\"a\"]\nhttp_timeout = \"0s\"",
                "http_timeout is zero",
            ),
            (
                "grants = [\"http\"]\nhosts = [\"a\", \"https://b\"]",
                "line 10: \"https://b\": https is not supported yet",
            ),
            ("grants = [\"htp\"]", "line 9: unknown variant `htp`"),
            ("grants = [\"secrets\"]\nsecrets = { token = 5 }", "line 10"),
        ] {
            let error = read(settings).expect_err(settings);
            assert!(error.contains(expected), "{settings}: {error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn no_name_of_a_plugin_is_that_of_anothers_store() {
        let text = "routes = [{ origin = \"app\" }]\n[origins.app]\nurl = \"http://a\"\n\
                    [plugins.\"p/default\"]\nfile = \"builtin:p\"";
        let error = Config::from_toml(text, "test").expect_err("it is wrong");
        let error = error.to_string();
        assert!(
            error.contains("\"p/default\": a plugin's name is not empty and has no"),
            "{error}"
        );
    }

    #[test]
    fn a_secret_is_not_shown_with_its_route() {
        let config = read("grants = [\"secrets\"]\nsecrets = { token = \"hush\" }");
        let config = config.expect("it is right");
        assert!(!format!("{config:?}").contains("hush"));
        assert_eq!(
            config.routes[0].plugins[0].secrets["token"].expose(),
            "hush"
        );
    }
}
