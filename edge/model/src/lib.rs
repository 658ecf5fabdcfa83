//! The rule of the purge log as three small state machines, each checked in every interleaving.
//!
//! The rule: after an edge has acknowledged a record, no read that begins later on that edge uses
//! a matching response that was not fetched or validated at the record's position or later; a soft
//! record permits stale use alone.
//!
//! - `publishing.rs`: how one edge's index takes a record up while others judge by it, one load and
//!   one store at a time (`edge/src/purge/index.rs`).
//! - `flights.rs`: what becomes of a fetch that a record overtakes, in both tiers, for those who
//!   wait for it, and for a 304 (`edge/src/proxy`, `edge/src/cache`).
//! - `replaced.rs`: what a follower makes of a log that was trimmed, lost its tail, was emptied or
//!   came back (`edge/src/purge/log/follow.rs`).
//!
//! Each has a table of rules to break, and each broken rule has to be found: that is how we know
//! that the models can fail. What they leave out is in `docs/decisions/0012`.

#![cfg(test)]

mod checking;
mod flights;
mod publishing;
mod replaced;
