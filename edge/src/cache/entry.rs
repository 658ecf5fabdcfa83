//! A stored response, and the variants that share a key.

use std::num::NonZeroU32;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tidegate_semantics::search::NO_VARY_SEARCH;
use tidegate_semantics::{Coding, Timestamp, Variance};
use tidegate_stored::Stored;

use super::encodings::{Encoded, Encodings};
use crate::purge::{Index, Marks, Verdict};

/// A stored response in the tiers. It never changes; a validated or newer one takes its place.
#[derive(Debug)]
pub struct Entry {
    stored: Stored,
    pub marks: Marks,
    /// What few entries have.
    aside: Option<Box<Aside>>,
    /// Where [`Index::judge`] remembers the last head at which nothing matched.
    checked: AtomicU64,
    /// How many milliseconds before it was fetched the exchange began that brought it, or that confirmed
    /// it last, and one more; `None` for a copy from another process, which knows.
    asked_before: Option<NonZeroU32>,
    superseded: AtomicBool,
}

#[derive(Clone, Debug, Default)]
struct Aside {
    variance: Option<Arc<Variance>>,
    /// What was made of the body so far, in this process.
    encodings: Encodings,
}

impl Deref for Entry {
    type Target = Stored;

    fn deref(&self) -> &Stored {
        &self.stored
    }
}

/// Bytes that count who has an [`Arc`] of something, and who a piece of a body.
const COUNTERS: usize = 16;
const SHARED_BODY: usize = 32;

/// What an allocation of so many bytes takes. Allocators have four sizes for each doubling, about.
fn allocated(bytes: usize) -> usize {
    let step = bytes.checked_ilog2().map_or(1, |power| 1 << power) / 4;
    bytes.next_multiple_of(step.max(16))
}

impl Entry {
    /// An entry for `url` (`authority/path?query`).
    pub fn new(stored: Stored, url: &str, index: &Index) -> Entry {
        let says = stored.fields.get(&NO_VARY_SEARCH).is_some();
        let variance = says.then(|| Variance::of(&stored.headers()));
        let variance = variance.filter(|variance| !variance.is_default());
        let aside = variance.map(|variance| Aside {
            variance: Some(Arc::new(variance)),
            encodings: Encodings::default(),
        });
        Entry {
            marks: index.marks(url, stored.fields.tags()),
            stored,
            aside: aside.map(Box::new),
            asked_before: None,
            checked: AtomicU64::new(0),
            superseded: AtomicBool::new(false),
        }
    }

    /// The same, brought by an exchange that began at `asked_at`.
    #[must_use]
    pub fn since(self, asked_at: Timestamp) -> Entry {
        let before = self.fetched_at.since(asked_at).as_millis();
        let before = u32::try_from(before).unwrap_or(u32::MAX);
        Entry {
            asked_before: Some(NonZeroU32::MIN.saturating_add(before)),
            ..self
        }
    }

    /// When the exchange began that brought it, as far as it is known here.
    pub fn asked_at(&self) -> Timestamp {
        let before = self.asked_before.map_or(0, |before| before.get() - 1);
        self.fetched_at.minus(Duration::from_millis(before.into()))
    }

    /// Which other queries it is for; `None` where it is for its own alone.
    pub fn variance(&self) -> Option<&Arc<Variance>> {
        self.aside.as_ref()?.variance.as_ref()
    }

    /// The same response with these encoded forms of its body.
    fn with_encodings(&self, encodings: Encodings) -> Entry {
        Entry {
            stored: self.stored.clone(),
            marks: self.marks.clone(),
            aside: Some(Box::new(Aside {
                variance: self.variance().cloned(),
                encodings,
            })),
            asked_before: self.asked_before,
            checked: AtomicU64::new(self.checked.load(Ordering::Relaxed)),
            superseded: AtomicBool::new(false),
        }
    }

    /// The encoded form of its body, if it was made.
    pub fn encoded(&self, coding: Coding) -> Option<&Encoded> {
        self.aside.as_ref()?.encodings.get(coding)
    }

    fn encodings(&self) -> Encodings {
        let aside = self.aside.as_ref();
        aside
            .map(|aside| aside.encodings.clone())
            .unwrap_or_default()
    }

    /// Whether `body` is its own, and not only equal to it.
    fn has_body(&self, body: &Bytes) -> bool {
        let is_same = |own: &Bytes| own.as_ptr() == body.as_ptr() && own.len() == body.len();
        self.content.whole().is_some_and(is_same)
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
        let of_vary = self.vary.fields.iter().map(|field| {
            let (_, value) = field;
            size_of_val(field) + value.as_ref().map_or(0, Vec::len)
        });
        allocated(size_of::<Entry>() + COUNTERS)
            + allocated(self.fields.weight())
            + allocated(self.marks.weight())
            + allocated(self.content.len())
            + SHARED_BODY
            + allocated(of_vary.sum())
            + self.aside.as_ref().map_or(0, |aside| {
                allocated(size_of::<Aside>()) + aside.encodings.weight()
            })
    }

    /// Whether it is newer than one that is to take its place: its fetch began at a later position of
    /// the same log, or at the same and ended while the other's was under way, which so may tell of
    /// what was before (RFC 9111 §4: the most recent response is used). A copy comes whenever it is
    /// looked for, so it is older than what was fetched later.
    pub(super) fn is_newer_than(&self, other: &Entry) -> bool {
        let is_later = self.fence.seq > other.fence.seq;
        let was_overtaken = self.fence.seq == other.fence.seq
            && match other.asked_before {
                // A clock that was set back makes nothing newer.
                Some(_) => {
                    self.fetched_at > other.asked_at() && self.fetched_at <= other.fetched_at
                }
                None => self.fetched_at > other.fetched_at,
            };
        self.fence.epoch == other.fence.epoch && (is_later || was_overtaken)
    }

    fn supersede(&self) {
        self.superseded.store(true, Ordering::Relaxed);
    }
}

/// The variants stored under one key (RFC 9111 §4.1), newest first. Never empty. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Object {
    One(Arc<Entry>),
    Several(Arc<Vec<Arc<Entry>>>),
}

/// Variants kept under one key; the oldest falls.
const MAX_VARIANTS: usize = 32;

impl Object {
    /// An object with one variant.
    pub fn of(entry: Arc<Entry>) -> Object {
        Object::One(entry)
    }

    fn from_variants(mut variants: Vec<Arc<Entry>>) -> Option<Object> {
        match variants.len() {
            0 | 1 => variants.pop().map(Object::One),
            _ => Some(Object::Several(Arc::new(variants))),
        }
    }

    fn variants(&self) -> &[Arc<Entry>] {
        match self {
            Object::One(entry) => std::slice::from_ref(entry),
            Object::Several(variants) => variants,
        }
    }

    /// The variant that this request selects, if there is one.
    pub fn select(&self, request: &HeaderMap) -> Option<&Arc<Entry>> {
        self.variants()
            .iter()
            .find(|entry| entry.vary.matches(request))
    }

    /// This object with `entry` in the place of the variant that it replaces; `None` when that
    /// one is newer. Variants selected by other fields fall: the newest response says which count.
    pub fn with(&self, entry: Arc<Entry>) -> Option<Object> {
        let same = self
            .variants()
            .iter()
            .find(|other| other.vary == entry.vary);
        if same.is_some_and(|stored| stored.is_newer_than(&entry)) {
            return None;
        }
        // Renewed, it has the body it had.
        let entry = match (same, entry.content.whole()) {
            (Some(stored), Some(body)) if stored.has_body(body) => {
                Arc::new(entry.with_encodings(stored.encodings()))
            }
            _ => entry,
        };
        let mut variants = vec![entry];
        for variant in self.variants() {
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
        Object::from_variants(variants)
    }

    /// The encoded form of a variant's body, if it was made.
    pub fn encoded(&self, body: &Bytes, coding: Coding) -> Option<&Encoded> {
        let variant = self.variants().iter().find(|entry| entry.has_body(body))?;
        variant.encoded(coding)
    }

    /// This object with an encoded form beside the variant that has this very body; `None` when
    /// there is none any more.
    pub fn with_encoded(&self, body: &Bytes, coding: Coding, encoded: Encoded) -> Option<Object> {
        let mut variants = self.variants().to_vec();
        let variant = variants.iter_mut().find(|entry| entry.has_body(body))?;
        let encodings = variant.encodings().with(coding, encoded);
        *variant = Arc::new(variant.with_encodings(encodings));
        Object::from_variants(variants)
    }

    /// Whether the purge log has purged some of it.
    pub fn is_purged_in_part(&self, index: &Index) -> bool {
        let mut variants = self.variants().iter();
        variants.any(|entry| entry.judge(index) == Verdict::Purged)
    }

    /// This object with what of it was not purged; `None` when that is nothing.
    pub fn without_purged(&self, index: &Index) -> Option<Object> {
        let mut variants = self.variants().to_vec();
        variants.retain(|entry| entry.judge(index) != Verdict::Purged);
        Object::from_variants(variants)
    }

    /// Marks the variants that are not part of `next`, which takes this one's place.
    pub fn give_way(&self, next: &Object) {
        for variant in self.variants() {
            if !next
                .variants()
                .iter()
                .any(|kept| Arc::ptr_eq(kept, variant))
            {
                variant.supersede();
            }
        }
    }

    /// Bytes in memory, about.
    pub fn weight(&self) -> usize {
        self.variants().iter().map(|entry| entry.weight()).sum()
    }

    /// Marks every variant as replaced, so that no worker keeps it among its hot ones.
    pub fn supersede(&self) {
        for variant in self.variants() {
            variant.supersede();
        }
    }
}
