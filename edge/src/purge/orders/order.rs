//! What somebody asks to be purged, as it comes from outside.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::named;
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
            let (authority, path) = named::url(text)?;
            let path = if path.is_empty() { "/" } else { &path };
            scopes.push(Scope::Url(url(&authority, path)));
        }
        for text in &self.prefixes {
            let (authority, path) = named::prefix(text)?;
            scopes.push(Scope::Prefix(url(&authority, &path)));
        }
        for text in &self.hosts {
            match named::url(text)? {
                (authority, path) if path.is_empty() => scopes.push(Scope::Host(authority)),
                _ => return Err(format!("host {text:?} has a path")),
            }
        }
        for tag in self.tags {
            scopes.push(Scope::Tag(named::tag(tag)?));
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

#[cfg(test)]
mod tests {
    use super::Order;

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
