//! What entries and records are called in the index: URLs, hosts and tags, hashed.

use std::borrow::Cow;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::purge::canonical::Canonical;
use crate::purge::record::{Scope, host_of};

/// What an entry is called in the log: its URL, its host and its tags, hashed.
#[derive(Clone, Debug)]
pub struct Marks {
    url: Box<str>,
    hashes: Box<[u64]>,
}

impl Marks {
    /// Bytes on the heap.
    pub fn weight(&self) -> usize {
        self.url.len() + self.hashes.len() * size_of::<u64>()
    }

    /// `authority/path?query`, canonical.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What stands for its URL, its host, its tags and everything.
    pub(super) fn hashes(&self) -> &[u64] {
        &self.hashes
    }
}

/// How names become marks.
pub(super) struct Marking {
    pub keys: (u64, u64),
    pub urls: Box<dyn Canonical>,
}

/// What a record names.
pub(super) enum Named<'a> {
    /// All that has this among its hashes.
    Hash(u64),
    /// All whose canonical URL begins with this.
    Prefix(Cow<'a, str>),
}

impl Named<'_> {
    pub fn matches(&self, marks: &Marks) -> bool {
        match self {
            Named::Hash(hash) => marks.hashes.contains(hash),
            Named::Prefix(prefix) => marks.url.starts_with(&**prefix),
        }
    }
}

impl Marking {
    /// The marks of an entry with this URL and these tags.
    pub fn marks<'a>(&self, url: &str, tags: impl IntoIterator<Item = &'a str>) -> Marks {
        let url = self.urls.url(url);
        let own = [
            self.hash(Kind::Url, &url),
            self.hash(Kind::Host, host_of(&url)),
            self.everything(),
        ];
        let tags = tags.into_iter().map(|tag| self.hash(Kind::Tag, tag));
        Marks {
            url: url.into(),
            hashes: own.into_iter().chain(tags).collect(),
        }
    }

    /// What a record of this scope names.
    pub fn named<'a>(&self, scope: &'a Scope) -> Named<'a> {
        Named::Hash(match scope {
            Scope::Url(url) => self.hash(Kind::Url, &self.urls.url(url)),
            Scope::Tag(tag) => self.hash(Kind::Tag, tag),
            Scope::Host(host) => self.hash(Kind::Host, host),
            Scope::All => self.everything(),
            Scope::Prefix(prefix) => return Named::Prefix(self.urls.prefix(prefix)),
        })
    }

    /// What stands for all that begins with a prefix, and for more.
    pub fn beyond(&self, prefix: &str) -> u64 {
        // One that ends within the host may begin the names of many.
        if prefix.contains('/') {
            self.hash(Kind::Host, host_of(prefix))
        } else {
            self.everything()
        }
    }

    fn everything(&self) -> u64 {
        self.hash(Kind::All, "")
    }

    fn hash(&self, kind: Kind, value: &str) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.keys.0, self.keys.1);
        hasher.write_u8(kind as u8);
        hasher.write(value.as_bytes());
        hasher.finish()
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Url,
    Tag,
    Host,
    All,
}
