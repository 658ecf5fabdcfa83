//! From the data's own transaction to the purge log: the outbox, and the relay that delivers what stands in it.

pub(crate) mod delivery;
pub mod outbox;
