//! The primary, behind a breaker and a number of slots; its replica, chosen by position; and the transactions of writes.

pub(crate) mod breaker;
pub(crate) mod connect;
pub(crate) mod held;
pub(crate) mod lsn;
pub(crate) mod pools;
pub(crate) mod primary;
pub(crate) mod readiness;
pub(crate) mod refusal;
pub(crate) mod replica;
pub(crate) mod replicas;
pub(crate) mod writer;
