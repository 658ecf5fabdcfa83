//! Components that answer a route's requests in an origin's place: `wasi:http/handler@0.3.0`, and
//! `wasi:http/incoming-handler@0.2` of before. The component's exports say which.
//!
//! [`Handlers`] are compiled once from the configuration; a route has one of them
//! [`Prepared`]; each worker makes its own [`Handler`] of that, which is a [`Destination`] like an
//! origin: what it answers is cached, collapsed, validated and purged by the same rules.
//!
//! An exchange has an instance of its own, run by a task of its own (`drive`), so that bodies
//! stream both ways and a guest that waits holds nobody up. How far it has come is in its `course`.
//! A guest that traps, loops, hoards or dawdles ends its own instance: before the head of its
//! response the request fails as it does with a broken origin, after it the body is cut off.
//!
//! [`Destination`]: crate::upstream::Destination

mod component;
mod course;
mod drive;
mod engine;
mod error;
mod imports;
mod lent;
mod log;
mod next;
mod outbound;
mod prepared;
mod reach;
mod replace;
mod spin;
mod state;
mod told;

pub use component::Handlers;
pub use drive::{Handler, Middleware};
pub use error::HandlerError;
pub use imports::{can_use, is_draft, needs};
pub use lent::{Lent, Read};
pub use next::{Next, NotPassed, Onward};
pub use prepared::Prepared;
