//! What all guests have in common, whichever world they are of: how they fail, and that it is counted.

mod failure;
mod lines;

pub(crate) use failure::{Exceeded, count};
pub use failure::{Failure, FailureKind, failures};
pub use lines::lines_left_out;
pub(crate) use lines::{Line, Lines};
