//! What all guests have in common, whichever world they are of: how they fail, and that it is counted.

mod failure;

pub(crate) use failure::{Exceeded, count};
pub use failure::{Failure, FailureKind, failures};
