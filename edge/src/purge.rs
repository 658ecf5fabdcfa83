//! The purge log: one rule for every invalidation.
//!
//! A record (a URL, a tag, a prefix, a host, everything; hard or soft) stands at a position of one
//! log. A stored response keeps the position that this edge had applied when its fetch began, its
//! fence. It may be used only if no record after the fence matches.
//!
//! - `record`, `lsn`, `canonical`: what a record says, and by which URL.
//! - `index`: what the records applied here say of an entry.
//! - `log`: where records are kept and read from, in this process or in Redis.
//! - `roll`: which edges follow the log, and how far each has come.
//! - `orders`: how purges are ordered, and the receipts for them.
//! - `seen`: how far somebody who wrote has seen the log.
//!
//! It knows nothing of entries, keys or requests.

mod canonical;
mod index;
mod log;
mod lsn;
mod orders;
mod record;
mod roll;
mod seen;

pub use canonical::Canonical;
pub use index::{Index, Marks, Needed, Newest, Verdict};
pub use log::{Log, NotRecorded, Stream};
pub use lsn::{Lsn, NoLsn};
pub use orders::{
    Attendant, NotTaken, Order, Orders, Patience, Receipt, Recent, State, Unlisted, Wait,
    to_timeout,
};
pub use record::{Mode, Position, Record, Scope, host_of, url};
pub use roll::Own;
pub use seen::{Invalid, LIFETIME, Seal, Seen, Token};

pub(crate) use log::{Followed, follow};
pub(crate) use roll::attend;
