//! What a route decides about caching, apart from what the messages say.

use std::time::Duration;

/// What a route decides about caching; `Default` is what a plain edge does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether `Cache-Control` in requests is heeded (RFC 9111 §5.2.1). Off by default, as CDNs do: else any client could
    /// send the origin load.
    pub honour_request_directives: bool,
    /// Replaces the freshness lifetime of a response, whatever it says; not what forbids storing or reuse.
    pub ttl: Option<Duration>,
    /// The freshness lifetime of a response that states none, in place of the heuristic and under its conditions
    /// (RFC 9111 §4.2.2).
    pub default_ttl: Option<Duration>,
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
    pub targets: Vec<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            honour_request_directives: false,
            ttl: None,
            default_ttl: None,
            stale_while_revalidate: None,
            stale_if_error: None,
            store_set_cookie: true,
            deception_armour: true,
            max_tags: 256,
            targets: vec![
                "tidegate-cache-control".to_owned(),
                "cdn-cache-control".to_owned(),
            ],
        }
    }
}
