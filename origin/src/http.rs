//! What every resource's requests and answers have in common, whatever they are about: who may ask, what is read of a
//! request, what is written in an answer, and what a client may rely on when it repeats itself.

/// The longest body that is read, in bytes.
pub(crate) const BODY_LIMIT: usize = 1024 * 1024;

pub mod access;
pub(crate) mod amount;
pub(crate) mod answer;
pub(crate) mod conditions;
pub(crate) mod error;
pub(crate) mod idempotency;
pub(crate) mod input;
pub(crate) mod jwt;
pub(crate) mod paging;
pub(crate) mod server;
