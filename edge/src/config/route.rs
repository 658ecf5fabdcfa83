//! Which requests go where, and what the cache and the filters do about them.

use std::fmt;
use std::time::Duration;

use http::uri::Authority;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use tidegate_semantics::{Policy, StatusPattern};

use super::compression::Compression;
use super::key::Key;
use super::plugins::Use;
use super::units::{duration, durations_by_status, optional_duration};

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

/// What is asked of the origin where a client wants a part that is not stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ranges {
    /// That part. What comes is stored, and parts of one representation are combined.
    #[default]
    Forward,
    /// All of the representation, so that the next part is stored already.
    FetchWhole,
}

/// How the token travels by which a client reads its own writes at every edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadYourWrites {
    /// As the cookie `tidegate-seen`.
    Cookie,
    /// As the field `Tidegate-Seen`, which the client sends back.
    Header,
}

impl<'de> Deserialize<'de> for ReadYourWrites {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ReadYourWrites, D::Error> {
        deserializer.deserialize_any(Way)
    }
}

/// Reads a way of the token's. Whoever writes `true` is told which ways there are.
struct Way;

impl Visitor<'_> for Way {
    type Value = ReadYourWrites;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("\"cookie\" or \"header\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ReadYourWrites, E> {
        match text {
            "cookie" => Ok(ReadYourWrites::Cookie),
            "header" => Ok(ReadYourWrites::Header),
            _ => Err(E::unknown_variant(text, &["cookie", "header"])),
        }
    }
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
    /// May be left out where there is a handler.
    pub origin: Option<String>,
    /// Other origins that a filter may choose for an exchange.
    #[serde(default)]
    pub origins: Vec<String>,
    /// A `wasi:http` component that answers in an origin's place.
    pub handler: Option<Use>,
    /// `false` forwards everything without looking into the cache.
    #[serde(default = "Route::caches")]
    pub cache: bool,
    #[serde(default, deserialize_with = "optional_duration")]
    pub ttl: Option<Duration>,
    #[serde(default, deserialize_with = "optional_duration")]
    pub default_ttl: Option<Duration>,
    /// Lifetimes of responses that state none, by status: negative caching.
    #[serde(default, deserialize_with = "durations_by_status")]
    pub status_ttl: Vec<(StatusPattern, Duration)>,
    /// The longest lifetime guessed from `Last-Modified`.
    #[serde(
        default = "Route::default_heuristic_limit",
        deserialize_with = "duration"
    )]
    pub heuristic_limit: Duration,
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
    /// Whether whoever wrote is answered by the origin where an edge has not heard of it yet.
    pub read_your_writes: Option<ReadYourWrites>,
    /// Content codings made at the edge; none where the section is absent.
    pub compression: Option<Compression>,
    #[serde(default)]
    pub key: Key,
    #[serde(default)]
    pub ranges: Ranges,
    /// `wasi:http` components around all that is done with a request, the first outermost.
    #[serde(default)]
    pub middleware: Vec<Use>,
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

    fn default_heuristic_limit() -> Duration {
        Duration::from_secs(86_400)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if !self.path.starts_with('/') {
            return Err(format!("path {:?} does not start with \"/\"", self.path));
        }
        if self.path.contains(['?', '#']) {
            return Err(format!("path {:?} must not have a query", self.path));
        }
        self.key.check()?;
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
            status_ttl: self.status_ttl.clone(),
            heuristic_limit: Some(self.heuristic_limit),
            stale_while_revalidate: self.stale_while_revalidate,
            stale_if_error: self.stale_if_error,
            store_set_cookie: self.store_set_cookie,
            deception_armour: self.deception_armour,
            ..Policy::default()
        }
    }
}
