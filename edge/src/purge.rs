//! The purge log: one rule for every invalidation.
//!
//! A record (a URL, a tag, a prefix, a host, everything; hard or soft) stands at a position of one
//! log. A stored response keeps the position that this edge had applied when its fetch began, its
//! fence. It may be used only if no record after the fence matches.
//!
//! This room holds the log, what it says of an entry, how it is followed, who else follows it and
//! how far, and how purges are ordered. It knows nothing of entries, keys or requests.

mod attend;
mod canonical;
mod follow;
mod index;
mod log;
mod lsn;
mod newest;
mod order;
mod orders;
mod receipt;
mod recent;
mod record;
mod roll;
mod seen;
mod stream;
mod table;

pub use canonical::Canonical;
pub use index::{Index, Marks, Verdict};
pub use log::{Log, NotRecorded};
pub use lsn::{Lsn, NoLsn};
pub use newest::{Needed, Newest};
pub use order::{Order, Patience, Wait, to_timeout};
pub use orders::{NotTaken, Orders, Own};
pub use receipt::{Attendant, Receipt, State};
pub use recent::{Recent, Unlisted};
pub use record::{Mode, Position, Record, Scope, host_of, url};
pub use seen::{Invalid, LIFETIME, Seal, Seen};
pub use stream::Stream;

pub(crate) use attend::attend;
pub(crate) use follow::{Followed, follow};
