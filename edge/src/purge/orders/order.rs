//! What somebody asks to be purged, as it comes from outside.

use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::config::parse_duration;
use crate::purge::lsn::Lsn;
use crate::purge::record::{Mode, Record, Scope, url};

/// The body of `POST /purge`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Order {
    /// With or without `http://`: the scheme does not count.
    pub urls: Vec<String>,
    pub tags: Vec<String>,
    /// URLs up to somewhere behind the host.
    pub prefixes: Vec<String>,
    pub hosts: Vec<String>,
    pub all: bool,
    /// Stale instead of gone.
    pub soft: bool,
    /// How far a replica must have replayed to show what changed, where that is known.
    pub lsn: Option<Lsn>,
    /// For whom the answer waits.
    pub wait: Wait,
    /// How long, at most; `"2s"`.
    #[serde(deserialize_with = "timeout")]
    pub timeout: Option<Duration>,
}

/// Records that one order may ask for.
pub(super) const MAX_RECORDS: usize = 10_000;

/// The edges that an order waits for: those on the roll when it is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    #[default]
    None,
    /// Those of the region of the edge that takes the order.
    Region,
    All,
}

impl FromStr for Wait {
    type Err = String;

    fn from_str(text: &str) -> Result<Wait, String> {
        match text {
            "none" => Ok(Wait::None),
            "region" => Ok(Wait::Region),
            "all" => Ok(Wait::All),
            _ => Err(format!(
                "wait: {text:?} is none of \"none\", \"region\" and \"all\""
            )),
        }
    }
}

impl<'de> Deserialize<'de> for Wait {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Wait, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// For whom an order waits, and how long at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patience {
    pub wait: Wait,
    pub timeout: Duration,
}

/// How long an order would wait.
///
/// # Errors
/// What is no duration.
pub fn to_timeout(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| format!("timeout: {error}"))
}

fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    to_timeout(&text)
        .map(Some)
        .map_err(serde::de::Error::custom)
}

impl Order {
    /// The records to append.
    ///
    /// # Errors
    /// What in the order cannot be meant.
    pub fn into_records(self) -> Result<Vec<Record>, String> {
        let mode = if self.soft { Mode::Soft } else { Mode::Hard };
        let lsn = self.lsn;
        let mut scopes = Vec::new();
        for text in &self.urls {
            let (authority, path) = split(text)?;
            let path = if path.is_empty() { "/" } else { &path };
            scopes.push(Scope::Url(url(&authority, path)));
        }
        for text in &self.prefixes {
            let (authority, path) = split(text)?;
            if path.is_empty() {
                return Err(format!(
                    "prefix {text:?} has no path: purge the host instead"
                ));
            }
            scopes.push(Scope::Prefix(url(&authority, &path)));
        }
        for text in &self.hosts {
            match split(text)? {
                (authority, path) if path.is_empty() => scopes.push(Scope::Host(authority)),
                _ => return Err(format!("host {text:?} has a path")),
            }
        }
        for tag in self.tags {
            if tag.is_empty() || tag.contains(|c: char| c.is_whitespace() || c.is_control()) {
                return Err(format!("tag {tag:?} is empty or contains white space"));
            }
            scopes.push(Scope::Tag(tag));
        }
        if self.all {
            scopes.push(Scope::All);
        }
        match scopes.len() {
            0 => Err("nothing to purge: name urls, tags, prefixes, hosts or all".to_owned()),
            1..=MAX_RECORDS => Ok(scopes
                .into_iter()
                .map(|scope| Record {
                    lsn,
                    ..Record::new(scope, mode)
                })
                .collect()),
            more => Err(format!("{more} records at once: at most {MAX_RECORDS}")),
        }
    }
}

/// The canonical authority and the rest of a URL with or without scheme. The rest begins with "/"
/// unless there is none: an empty path before a query is "/" (RFC 9110 §4.2.3).
fn split(text: &str) -> Result<(String, Cow<'_, str>), String> {
    let (default_port, rest) = match text.split_once("://") {
        Some(("http", rest)) => (":80", rest),
        Some(("https", rest)) => (":443", rest),
        Some((scheme, _)) => return Err(format!("{text:?}: scheme {scheme:?} is not http")),
        None => (":80", text),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.is_empty() || authority.contains(|c: char| c.is_whitespace() || c == '@') {
        return Err(format!("{text:?} does not begin with a host"));
    }
    if path.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("{text:?} contains white space"));
    }
    let path = match &path[..path.find('#').unwrap_or(path.len())] {
        query if query.starts_with('?') => Cow::Owned(format!("/{query}")),
        path => Cow::Borrowed(path),
    };
    let authority = authority.to_ascii_lowercase();
    let authority = authority
        .strip_suffix(default_port)
        .map(str::to_owned)
        .unwrap_or(authority);
    Ok((authority, path))
}

#[cfg(test)]
mod tests {
    use super::{Order, Scope};

    #[test]
    fn urls_lose_scheme_default_port_and_case_of_the_host() {
        for (text, expected) in [
            ("http://Example.org:80/A?b", "example.org/A?b"),
            ("https://example.org:443", "example.org/"),
            ("example.org:8080/a#b", "example.org:8080/a"),
            ("http://example.org?b", "example.org/?b"),
            ("example.org#b", "example.org/"),
        ] {
            let order = Order {
                urls: vec![text.to_owned()],
                ..Order::default()
            };
            let records = order.into_records().expect(text);
            assert_eq!(records[0].scope, Scope::Url(expected.to_owned()));
        }
    }

    #[test]
    fn a_prefix_may_be_a_query_at_the_root() {
        let order = Order {
            prefixes: vec!["http://example.org?b".to_owned()],
            ..Order::default()
        };
        let records = order.into_records().expect("it has a path");
        assert_eq!(records[0].scope, Scope::Prefix("example.org/?b".to_owned()));
    }

    #[test]
    fn an_order_that_means_nothing_says_why() {
        for (order, reason) in [
            ("{}", "nothing to purge"),
            (r#"{"prefixes": ["example.org"]}"#, "no path"),
            (r#"{"hosts": ["example.org/"]}"#, "has a path"),
            (r#"{"tags": ["a b"]}"#, "white space"),
            (r#"{"urls": ["/only/a/path"]}"#, "host"),
        ] {
            let read: Order = serde_json::from_str(order).expect(order);
            let refused = read.into_records().expect_err(order);
            assert!(refused.contains(reason), "{order}: {refused}");
        }
    }
}
