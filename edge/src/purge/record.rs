//! A record of the purge log.

use serde::{Deserialize, Serialize};
pub use tidegate_stored::{COUNTER_BITS, Position};

use super::lsn::{self, Lsn};

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
    /// How far a replica must have replayed to show what this record is about;
    /// [`Lsn::PRIMARY`] when that is not known, none where no database tells.
    #[serde(
        default,
        deserialize_with = "lsn::known_or_not",
        skip_serializing_if = "Option::is_none"
    )]
    pub lsn: Option<Lsn>,
}

impl Record {
    /// A record without a position of the database's.
    pub fn new(scope: Scope, mode: Mode) -> Record {
        Record {
            scope,
            mode,
            lsn: None,
        }
    }

    /// A hard record.
    pub fn hard(scope: Scope) -> Record {
        Record::new(scope, Mode::Hard)
    }

    /// The same record, for what the database shows from `lsn` on.
    pub fn with_lsn(self, lsn: Lsn) -> Record {
        Record {
            lsn: Some(lsn),
            ..self
        }
    }

    /// The same record, to be appended some other time: its position of the database's may then be
    /// older than those of records before it, and is better not known.
    pub(super) fn postponed(&self) -> Record {
        Record {
            lsn: self.lsn.map(|_| Lsn::PRIMARY),
            ..self.clone()
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

#[cfg(test)]
mod tests {
    use super::{Lsn, Record, Scope};

    #[test]
    fn a_record_purges_whatever_its_position_of_the_database_is() {
        let tag = Record::hard(Scope::Tag("t".to_owned()));
        let lsn: Lsn = "1:0/16B3748".parse().expect("a position");
        for (field, expected) in [
            ("", None),
            (r#","lsn":null"#, None),
            (r#","lsn":"1:0/16B3748""#, Some(lsn)),
            (r#","lsn":"primary""#, Some(Lsn::PRIMARY)),
            (r#","lsn":"nonsense""#, Some(Lsn::PRIMARY)),
            (r#","lsn":7"#, Some(Lsn::PRIMARY)),
            (r#","lsn":{"a":[1]}"#, Some(Lsn::PRIMARY)),
        ] {
            let json = format!(r#"{{"scope":"tag","value":"t"{field}}}"#);
            let record: Record = serde_json::from_str(&json).expect(&json);
            let expected = Record {
                lsn: expected,
                ..tag.clone()
            };
            assert_eq!(record, expected, "{json}");
        }
        let written = |record: &Record| serde_json::to_string(record).expect("plain JSON");
        assert!(!written(&tag).contains("lsn"));
        let stamped = written(&tag.with_lsn(lsn));
        assert!(stamped.contains(r#""lsn":"1:0/16B3748""#), "{stamped}");
    }
}
