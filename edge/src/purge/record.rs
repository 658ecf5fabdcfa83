//! A record of the purge log.

use serde::{Deserialize, Serialize};
pub use tidegate_stored::{COUNTER_BITS, Position};

/// What a record invalidates.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "scope", content = "value", rename_all = "kebab-case")]
pub enum Scope {
    /// `authority/path?query`, without the scheme.
    Url(String),
    Tag(String),
    /// Everything whose URL (as above) begins with this.
    Prefix(String),
    Host(String),
    All,
}

/// Whether what a record matches may still be served stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Unusable: no stale use, no validation.
    #[default]
    Hard,
    /// Stale from when it was appended.
    Soft,
}

/// One invalidation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    #[serde(flatten)]
    pub scope: Scope,
    #[serde(default)]
    pub mode: Mode,
}

impl Record {
    /// A hard record.
    pub fn hard(scope: Scope) -> Record {
        Record {
            scope,
            mode: Mode::Hard,
        }
    }

    /// One hard record a tag.
    pub fn tags(tags: impl IntoIterator<Item = String>) -> Vec<Record> {
        tags.into_iter()
            .map(|tag| Record::hard(Scope::Tag(tag)))
            .collect()
    }
}

/// The URL that records and entries name: lower-case authority, path and query, no scheme.
pub fn url(authority: &str, path_and_query: &str) -> String {
    let mut url = authority.to_ascii_lowercase();
    url.push_str(path_and_query);
    url
}

/// The host of such a URL, with its port if it has one.
pub fn host_of(url: &str) -> &str {
    &url[..url.find('/').unwrap_or(url.len())]
}
