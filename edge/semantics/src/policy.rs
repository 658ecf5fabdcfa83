//! What a route decides about caching, apart from what the messages say.

use std::time::Duration;

use http::{HeaderName, StatusCode};

use crate::status::StatusPattern;

/// What a route decides about caching; `Default` is what a plain edge does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether `Cache-Control` in requests is heeded (RFC 9111 §5.2.1). Off by default, as CDNs do: else any client could
    /// send the origin load.
    pub honour_request_directives: bool,
    /// Replaces the freshness lifetime of a response, whatever it says; not what forbids storing or reuse. A response
    /// that only `status_ttl` lets be stored keeps the lifetime given there: an hour for pages is not meant for a 502.
    pub ttl: Option<Duration>,
    /// The freshness lifetime of a response of that status that states none; the first pattern that fits counts. It
    /// makes any final status storable, as long as nothing forbids it. Zero: such a response is not stored.
    pub status_ttl: Vec<(StatusPattern, Duration)>,
    /// The freshness lifetime of a response that states none and has none by its status, in place of the heuristic and
    /// under its conditions (RFC 9111 §4.2.2).
    pub default_ttl: Option<Duration>,
    /// The longest lifetime that is guessed from `Last-Modified`; `None` for no limit. A day by default, as other proxies
    /// have it: a tenth of ten years is no guess that anybody would make (RFC 9111 §4.2.2 sets no limit).
    pub heuristic_limit: Option<Duration>,
    /// For how long past freshness a response is served while it is refreshed, when it does not say (RFC 5861 §3).
    pub stale_while_revalidate: Option<Duration>,
    /// For how long past freshness a response is served when the origin fails, when it does not say (RFC 5861 §4).
    pub stale_if_error: Option<Duration>,
    /// Whether a response with `Set-Cookie` that states its own freshness may be stored; without that it never is. On by
    /// default: RFC 9111 §7.3 leaves it to the directives.
    pub store_set_cookie: bool,
    /// Whether a response is refused whose Content-Type disagrees with its path's extension. On by default.
    pub deception_armour: bool,
    /// The most tags a response may carry; with more it is not stored, for it could not be purged by all of them.
    pub max_tags: usize,
    /// The targeted fields to look at, in order (RFC 9213 §2.2).
    pub targets: Vec<HeaderName>,
}

impl Policy {
    /// The lifetime that the route gives to responses of this status, where they state none.
    #[must_use]
    pub fn ttl_of(&self, status: StatusCode) -> Option<Duration> {
        let mut fitting = self
            .status_ttl
            .iter()
            .filter(|(pattern, _)| pattern.matches(status));
        fitting.next().map(|(_, ttl)| *ttl)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            honour_request_directives: false,
            ttl: None,
            status_ttl: Vec::new(),
            default_ttl: None,
            heuristic_limit: Some(Duration::from_secs(86_400)),
            stale_while_revalidate: None,
            stale_if_error: None,
            store_set_cookie: true,
            deception_armour: true,
            max_tags: 256,
            targets: vec![
                HeaderName::from_static("tidegate-cache-control"),
                HeaderName::from_static("cdn-cache-control"),
            ],
        }
    }
}
