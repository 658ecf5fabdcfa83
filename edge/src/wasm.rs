//! What all guests have in common, whichever world they are of: where their components come from,
//! how much room they have, how many instances there may be and who waits for one, how their compiled
//! code is kept, how they are replaced while requests pass, how they fail, and that it is counted.

mod code;
mod compiled;
mod engine;
mod failure;
mod library;
mod lines;
pub(crate) mod pool;
mod quota;
mod roster;
mod source;
mod words;

pub use code::{CacheError, CodeCache};
pub(crate) use compiled::{InUse, with_each};
pub(crate) use engine::{Layout, MOST_RANDOM, TICK, tick, ticks};
pub(crate) use failure::{Exceeded, count};
pub use failure::{Failure, FailureKind, failures};
pub use library::Library;
pub use lines::lines_left_out;
pub(crate) use lines::{Line, Lines};
pub(crate) use quota::{Alive, Quota, Room, is_exhausted};
pub(crate) use roster::{Facts, Kind, Publish};
pub use roster::{Kept, Listed, ReloadError, Reloaded, Roster};
pub use source::{Binary, Builtin, SourceError, read_component};
pub(crate) use words::words;
