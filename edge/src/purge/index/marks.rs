//! What entries and records are called in the index: URLs, hosts and tags, hashed.

use std::borrow::Cow;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::purge::canonical::Canonical;
use crate::purge::record::{Scope, host_of};

/// What an entry is called in the log: its URL, its host and its tags, hashed. What stands for
/// everything is the same for all.
#[derive(Clone, Debug)]
pub struct Marks {
    /// In one allocation, for there are as many as entries: how many hashes, the hashes, the URL.
    names: Box<[u8]>,
}

/// Bytes of a hash, and of how many there are.
const HASH: usize = size_of::<u64>();
const COUNT: usize = size_of::<u32>();

impl Marks {
    /// Bytes on the heap.
    pub fn weight(&self) -> usize {
        self.names.len()
    }

    /// `authority/path?query`, canonical.
    pub fn url(&self) -> &str {
        let (_, url) = self.parts();
        std::str::from_utf8(url).expect("it was text when it was written")
    }

    /// The same as bytes.
    pub(super) fn url_bytes(&self) -> &[u8] {
        self.parts().1
    }

    /// What stands for its URL, its host and its tags.
    pub(super) fn hashes(&self) -> impl Iterator<Item = u64> {
        let (hashes, _) = self.parts();
        hashes.iter().copied().map(u64::from_le_bytes)
    }

    fn of(hashes: impl Iterator<Item = u64>, url: &str) -> Marks {
        let (least, _) = hashes.size_hint();
        let mut names = Vec::with_capacity(COUNT + least * HASH + url.len());
        names.extend([0; COUNT]);
        let mut count = 0_u32;
        for hash in hashes {
            names.extend(hash.to_le_bytes());
            count += 1;
        }
        names[..COUNT].copy_from_slice(&count.to_le_bytes());
        names.extend(url.as_bytes());
        Marks {
            names: names.into_boxed_slice(),
        }
    }

    fn parts(&self) -> (&[[u8; HASH]], &[u8]) {
        let parts = self.names.split_first_chunk();
        let (count, rest) = parts.expect("a count is written first");
        let hashes = u32::from_le_bytes(*count) as usize * HASH;
        let (hashes, url) = rest.split_at(hashes);
        let (hashes, _) = hashes.as_chunks();
        (hashes, url)
    }
}

/// How names become marks.
pub(super) struct Marking {
    keys: (u64, u64),
    urls: Box<dyn Canonical>,
    /// What stands for everything.
    everything: u64,
}

/// What a record names.
pub(super) enum Named<'a> {
    /// Everything, for which this stands.
    All(u64),
    /// All that has this among its hashes.
    Hash(u64),
    /// All whose canonical URL begins with this.
    Prefix(Cow<'a, str>),
}

impl Named<'_> {
    pub fn matches(&self, marks: &Marks) -> bool {
        match self {
            Named::All(_) => true,
            Named::Hash(hash) => marks.hashes().any(|other| other == *hash),
            Named::Prefix(prefix) => marks.url_bytes().starts_with(prefix.as_bytes()),
        }
    }
}

impl Marking {
    /// Marks by these keys, of URLs that are canonical by these rules.
    pub fn new(keys: (u64, u64), urls: Box<dyn Canonical>) -> Marking {
        Marking {
            keys,
            urls,
            everything: hash(keys, Kind::All, ""),
        }
    }

    /// The same by other rules.
    pub fn with_urls(self, urls: Box<dyn Canonical>) -> Marking {
        Marking { urls, ..self }
    }

    /// The URL by which `url` is known here.
    pub fn canonical<'a>(&self, url: &'a str) -> Cow<'a, str> {
        self.urls.url(url)
    }

    /// The marks of an entry with this URL and these tags.
    pub fn marks<'a>(&self, url: &str, tags: impl IntoIterator<Item = &'a str>) -> Marks {
        let url = self.urls.url(url);
        let own = [
            self.hash(Kind::Url, &url),
            self.hash(Kind::Host, host_of(&url)),
        ];
        let tags = tags.into_iter().map(|tag| self.hash(Kind::Tag, tag));
        Marks::of(own.into_iter().chain(tags), &url)
    }

    /// What a record of this scope names.
    pub fn named<'a>(&self, scope: &'a Scope) -> Named<'a> {
        Named::Hash(match scope {
            Scope::Url(url) => self.hash(Kind::Url, &self.urls.url(url)),
            Scope::Tag(tag) => self.hash(Kind::Tag, tag),
            Scope::Host(host) => self.hash(Kind::Host, host),
            Scope::All => return Named::All(self.everything),
            Scope::Prefix(prefix) => return Named::Prefix(self.urls.prefix(prefix)),
        })
    }

    /// What stands for all that begins with a prefix, and for more.
    pub fn beyond(&self, prefix: &str) -> u64 {
        // One that ends within the host may begin the names of many.
        if prefix.contains('/') {
            self.hash(Kind::Host, host_of(prefix))
        } else {
            self.everything
        }
    }

    /// All that an entry is called: what its marks hold, and what stands for everything.
    pub fn hashes(&self, marks: &Marks) -> impl Iterator<Item = u64> {
        marks.hashes().chain([self.everything])
    }

    fn hash(&self, kind: Kind, value: &str) -> u64 {
        hash(self.keys, kind, value)
    }
}

fn hash(keys: (u64, u64), kind: Kind, value: &str) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(keys.0, keys.1);
    hasher.write_u8(kind as u8);
    hasher.write(value.as_bytes());
    hasher.finish()
}

#[derive(Clone, Copy)]
enum Kind {
    Url,
    Tag,
    Host,
    All,
}
