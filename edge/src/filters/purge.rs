//! What the capability `purge` orders, and from whom.

use std::pin::Pin;

use crate::purge::Lsn;

/// What a guest wants gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PurgeOrder {
    pub tags: Vec<String>,
    /// Absolute URLs: a guest's paths have been completed with the exchange's scheme and authority.
    pub urls: Vec<String>,
    /// Stale instead of gone.
    pub soft: bool,
    /// How far the database had got behind the write that the guest looks at, where that is known.
    pub lsn: Option<Lsn>,
}

/// Where purges of guests go: the purge log, behind a trait since the log lies above this room.
pub trait Purge: Send + Sync {
    /// Carries out an order, and waits until it is recorded or its deadline has passed. The answer is
    /// the position of its last record.
    ///
    /// # Errors
    /// What went wrong, when it was applied here at most.
    fn purge<'a>(
        &'a self,
        order: PurgeOrder,
    ) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + 'a>>;
}
