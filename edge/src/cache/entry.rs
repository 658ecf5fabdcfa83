//! A stored response, and the variants that share a key.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::HeaderMap;
use tidegate_semantics::Variance;
use tidegate_stored::Stored;

use crate::purge::{Index, Marks, Verdict};

/// A stored response in the tiers. It never changes; a validated or newer one takes its place.
#[derive(Debug)]
pub struct Entry {
    stored: Stored,
    pub marks: Marks,
    /// Which other queries it is for; `None` where it is for its own alone.
    pub variance: Option<Arc<Variance>>,
    /// Where [`Index::judge`] remembers the last head at which nothing matched.
    checked: AtomicU64,
    superseded: AtomicBool,
}

impl Deref for Entry {
    type Target = Stored;

    fn deref(&self) -> &Stored {
        &self.stored
    }
}

/// Bytes that a field, a variant or an entry costs beyond what it holds.
const FIELD_OVERHEAD: usize = 64;
const ENTRY_OVERHEAD: usize = 512;

impl Entry {
    /// An entry for `url` (`authority/path?query`).
    pub fn new(stored: Stored, url: &str, index: &Index) -> Entry {
        let variance = Variance::of(&stored.headers);
        Entry {
            variance: (!variance.is_default()).then(|| Arc::new(variance)),
            marks: index.marks(url, stored.tags.iter().map(String::as_str)),
            stored,
            checked: AtomicU64::new(0),
            superseded: AtomicBool::new(false),
        }
    }

    /// What the purge log says of it.
    pub fn judge(&self, index: &Index) -> Verdict {
        index.judge(&self.marks, self.fence, &self.checked)
    }

    /// Whether another entry has taken its place in the memory tier.
    pub fn is_superseded(&self) -> bool {
        self.superseded.load(Ordering::Relaxed)
    }

    /// Its bytes in memory, about.
    pub fn weight(&self) -> usize {
        let fields: usize = self
            .headers
            .iter()
            .chain(&self.hidden)
            .map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD)
            .sum();
        let tags: usize = self
            .tags
            .iter()
            .map(|tag| tag.len() + size_of::<String>())
            .sum();
        self.content.len() + fields + tags + self.marks.weight() + ENTRY_OVERHEAD
    }

    /// Whether its fetch began at a later position of the same log.
    fn is_newer_than(&self, other: &Entry) -> bool {
        self.fence.epoch == other.fence.epoch && self.fence.seq > other.fence.seq
    }

    fn supersede(&self) {
        self.superseded.store(true, Ordering::Relaxed);
    }
}

/// The variants stored under one key (RFC 9111 §4.1), newest first. Never empty.
#[derive(Clone, Debug)]
pub struct Object {
    variants: Vec<Arc<Entry>>,
}

/// Variants kept under one key; the oldest falls.
const MAX_VARIANTS: usize = 32;

impl Object {
    /// An object with one variant.
    pub fn of(entry: Arc<Entry>) -> Object {
        Object {
            variants: vec![entry],
        }
    }

    /// The variant that this request selects, if there is one.
    pub fn select(&self, request: &HeaderMap) -> Option<&Arc<Entry>> {
        self.variants
            .iter()
            .find(|entry| entry.vary.matches(request))
    }

    /// This object with `entry` in the place of the variant that it replaces; `None` when that
    /// one is newer. Variants selected by other fields fall: the newest response says which count.
    pub fn with(&self, entry: Arc<Entry>) -> Option<Object> {
        let same = self.variants.iter().find(|other| other.vary == entry.vary);
        if same.is_some_and(|stored| stored.is_newer_than(&entry)) {
            return None;
        }
        let mut variants = vec![entry];
        for variant in &self.variants {
            let has_same_fields = variant.vary.names().eq(variants[0].vary.names());
            let is_kept = has_same_fields
                && variant.vary != variants[0].vary
                && variants.len() < MAX_VARIANTS;
            if is_kept {
                variants.push(Arc::clone(variant));
            } else {
                variant.supersede();
            }
        }
        Some(Object { variants })
    }

    /// Bytes in memory, about.
    pub fn weight(&self) -> usize {
        self.variants.iter().map(|entry| entry.weight()).sum()
    }

    /// Marks every variant as replaced, so that no worker keeps it among its hot ones.
    pub fn supersede(&self) {
        for variant in &self.variants {
            variant.supersede();
        }
    }
}
