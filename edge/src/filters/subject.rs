//! What the filters of one exchange look at and change.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode};

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
    /// What filters add to the cache key; each part ends with a line feed.
    pub key_extra: String,
    /// Neither look into the cache nor store.
    pub bypass_cache: bool,
    /// The response's freshness lifetime, whatever its fields say.
    pub ttl: Option<Duration>,
    /// Tags beside those of the response's own fields.
    pub tags: Vec<String>,
    /// Keep the response out of the cache.
    pub refuse_storing: bool,
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
            key_extra: String::new(),
            bypass_cache: false,
            ttl: None,
            tags: Vec::new(),
            refuse_storing: false,
            lsn: None,
        }
    }
}
