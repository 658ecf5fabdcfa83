//! The names under which responses can be purged together: surrogate keys, cache tags, and cache groups (RFC 9875).

use std::collections::HashSet;

use http::header::{HeaderMap, HeaderName};
use http::{Method, StatusCode};
use sfv::{BareItem, List, ListEntry, Parser};

use crate::fields;
use crate::invalidation::{is_safe, origin};

const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
const XKEY: HeaderName = HeaderName::from_static("xkey");
const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");
const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// The tags of a response, each once, in the order in which they stand.
///
/// From `Surrogate-Key` and `xkey`, parted by spaces or commas, from `Cache-Tag`, parted by commas, and from
/// `Cache-Groups` as `group:` with the origin and the group's name, for a group is one origin's own (RFC 9875 §2.1).
#[must_use]
pub fn tags(scheme: &str, authority: &str, response: &HeaderMap) -> Vec<String> {
    let mut tags = Tags::default();
    // Most responses have none, and a look at each name costs less than a search for each.
    if !response.keys().any(|name| has_tags(name.as_str())) {
        return tags.ordered;
    }
    let spaced = |byte: &u8| *byte == b',' || byte.is_ascii_whitespace();
    let comma = |byte: &u8| *byte == b',';
    for line in response.get_all(&SURROGATE_KEY) {
        tags.extend(line.as_bytes().split(spaced));
    }
    for line in response.get_all(&CACHE_TAG) {
        tags.extend(line.as_bytes().split(comma));
    }
    for line in response.get_all(&XKEY) {
        tags.extend(line.as_bytes().split(spaced));
    }
    for group in groups(scheme, authority, response, &CACHE_GROUPS) {
        tags.add(group);
    }
    tags.ordered
}

fn has_tags(name: &str) -> bool {
    matches!(
        name,
        "surrogate-key" | "cache-tag" | "xkey" | "cache-groups"
    )
}

/// The tags of the groups that an answer invalidates by `Cache-Group-Invalidation` (RFC 9875 §3).
///
/// The field is ignored in answers to safe methods and in interim ones. Unlike a URI (RFC 9111 §4.4), a group falls by
/// an error too: the origin named it, and may have written before it failed.
#[must_use]
pub fn invalidated_groups(
    method: &Method,
    scheme: &str,
    authority: &str,
    status: StatusCode,
    response: &HeaderMap,
) -> Vec<String> {
    if is_safe(method) || status.is_informational() {
        return Vec::new();
    }
    let mut tags = Tags::default();
    for group in groups(scheme, authority, response, &CACHE_GROUP_INVALIDATION) {
        tags.add(group);
    }
    tags.ordered
}

/// Whether a field speaks to surrogates, not to clients: `Surrogate-Key`, `Cache-Tag`, `xkey` and `Surrogate-Control`.
#[must_use]
pub fn is_surrogate_field(name: &str) -> bool {
    matches!(
        name,
        "surrogate-key" | "cache-tag" | "xkey" | "surrogate-control"
    )
}

/// Removes the fields that speak to surrogates.
pub fn strip_surrogate_fields(headers: &mut HeaderMap) {
    fields::remove_fields(headers, is_surrogate_field);
}

/// The strings of a Structured Field list as tags bound to an origin; none if any part of the list is malformed
/// (RFC 9651 §4.2) or a member is no string.
fn groups(scheme: &str, authority: &str, response: &HeaderMap, field: &HeaderName) -> Vec<String> {
    let list = fields::combined(response, field)
        .and_then(|value| Parser::new(&value).parse::<List>().ok())
        .unwrap_or_default();
    if list.is_empty() {
        return Vec::new();
    }
    let origin = origin(scheme, authority);
    let groups: Option<Vec<_>> = list
        .iter()
        .map(|member| match member {
            ListEntry::Item(item) => match &item.bare_item {
                // A space stands in no origin, so that no name can be taken for part of one.
                BareItem::String(name) => Some(format!("group:{origin} {}", name.as_str())),
                _ => None,
            },
            ListEntry::InnerList(_) => None,
        })
        .collect();
    groups.unwrap_or_default()
}

/// Tags in order, each once.
#[derive(Default)]
struct Tags {
    ordered: Vec<String>,
    seen: HashSet<String>,
}

impl Tags {
    fn add(&mut self, tag: String) {
        if self.seen.insert(tag.clone()) {
            self.ordered.push(tag);
        }
    }

    fn extend<'a>(&mut self, tags: impl Iterator<Item = &'a [u8]>) {
        for tag in tags.map(<[u8]>::trim_ascii).filter(|tag| !tag.is_empty()) {
            // Two names that differ in bytes which are no text fall together: that purges too much, never too little.
            self.add(String::from_utf8_lossy(tag).into_owned());
        }
    }
}
