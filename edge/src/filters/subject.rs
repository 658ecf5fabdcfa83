//! What the filters of one exchange look at and change.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode};
use tidegate_semantics::Policy;

use super::Delivery;
use crate::purge::Lsn;

/// What the filters of one exchange look at; the proxy moves its parts in and takes them out.
///
/// While a hook runs, the parts are in the guest's store and what is left here is vacant: a hook
/// that is dropped before it ends takes them along.
#[derive(Clone, Debug)]
pub struct Subject {
    pub method: Method,
    /// `http` or `https`, as the client used it.
    pub scheme: &'static str,
    pub authority: String,
    pub path_and_query: PathAndQuery,
    pub headers: HeaderMap,
    pub client: IpAddr,
    /// The head of the response, once there is one; the hooks for responses are skipped without.
    pub response: Option<(StatusCode, HeaderMap)>,
    /// What filters have said of the response to come.
    pub delivery: Delivery,
    /// What filters add to the cache key; each part ends with a line feed.
    pub key_extra: String,
    /// A filter has read whose request it is: a cookie or an authorization that was there.
    pub has_shown_user: bool,
    /// Neither look into the cache nor store.
    pub bypass_cache: bool,
    /// The origins that a filter may choose, the route's own first.
    pub origins: Option<Arc<[String]>>,
    /// The place of the chosen one among them.
    pub origin: usize,
    /// What filters say in place of the route's policy.
    pub policy: Option<Box<PolicyChanges>>,
    /// The response's freshness lifetime, whatever its fields say.
    pub ttl: Option<Duration>,
    /// For how long it is served stale while it is refreshed, whatever its fields say.
    pub stale_while_revalidate: Option<Duration>,
    /// For how long it is served stale when the origin fails, whatever its fields say.
    pub stale_if_error: Option<Duration>,
    /// Tags beside those of the response's own fields.
    pub tags: Vec<String>,
    /// Keep the response out of the cache.
    pub refuse_storing: bool,
    /// A filter that might have said so has failed.
    pub has_missed: bool,
    /// How far the database had got when the origin answered, where that is known.
    pub lsn: Option<Lsn>,
}

impl Default for Subject {
    /// A vacant one: what stands in for a subject that is elsewhere. Allocates nothing.
    fn default() -> Subject {
        Subject {
            method: Method::GET,
            scheme: "http",
            authority: String::new(),
            path_and_query: PathAndQuery::from_static("/"),
            headers: HeaderMap::new(),
            client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            response: None,
            delivery: Delivery::default(),
            key_extra: String::new(),
            has_shown_user: false,
            bypass_cache: false,
            origins: None,
            origin: 0,
            policy: None,
            ttl: None,
            stale_while_revalidate: None,
            stale_if_error: None,
            tags: Vec::new(),
            refuse_storing: false,
            has_missed: false,
            lsn: None,
        }
    }
}

/// What filters say of one exchange's lifetimes in place of its route; what they do not say is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyChanges {
    pub ttl: Option<Duration>,
    pub default_ttl: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
    pub honour_request_directives: Option<bool>,
}

impl PolicyChanges {
    /// Both, of which the later decides where they differ.
    #[must_use]
    pub fn and(self, later: PolicyChanges) -> PolicyChanges {
        PolicyChanges {
            ttl: later.ttl.or(self.ttl),
            default_ttl: later.default_ttl.or(self.default_ttl),
            stale_while_revalidate: later.stale_while_revalidate.or(self.stale_while_revalidate),
            stale_if_error: later.stale_if_error.or(self.stale_if_error),
            honour_request_directives: later
                .honour_request_directives
                .or(self.honour_request_directives),
        }
    }

    /// A route's policy with these changes.
    #[must_use]
    pub fn over(self, policy: &Policy) -> Policy {
        Policy {
            ttl: self.ttl.or(policy.ttl),
            default_ttl: self.default_ttl.or(policy.default_ttl),
            stale_while_revalidate: self
                .stale_while_revalidate
                .or(policy.stale_while_revalidate),
            stale_if_error: self.stale_if_error.or(policy.stale_if_error),
            honour_request_directives: self
                .honour_request_directives
                .unwrap_or(policy.honour_request_directives),
            ..policy.clone()
        }
    }
}
