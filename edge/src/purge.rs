//! The purge log: one rule for every invalidation.
//!
//! A record (a URL, a tag, a prefix, a host, everything; hard or soft) stands at a position of one
//! log. A stored response keeps the position that this edge had applied when its fetch began, its
//! fence. It may be used only if no record after the fence matches.
//!
//! This room holds the log, what it says of an entry, and how it is followed. It knows nothing of
//! entries, keys or requests.

mod canonical;
mod follow;
mod index;
mod log;
mod order;
mod receipt;
mod record;
#[cfg(test)]
mod simulation;
mod stream;
mod table;

pub use canonical::Canonical;
pub use index::{Index, Marks, Verdict};
pub use log::{Log, NotRecorded};
pub use order::Order;
pub use receipt::Receipt;
pub use record::{Mode, Position, Record, Scope, host_of, url};
pub use stream::Stream;

pub(crate) use follow::{Followed, follow};
