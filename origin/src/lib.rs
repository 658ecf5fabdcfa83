//! The origin: users, courses, enrollments, documents and transactions on PostgreSQL, and what users do on the way there
//! through a stream in Redis, behind the edge.
//!
//! It keeps no cache of its own, because the edge is the cache. What it does for it: every answer says how long it may
//! be used and by whom, carries a validator and the tags by which it falls; and every write puts the tags that fall into
//! the [`outbox`], in the data's own transaction, from where a relay takes them to the purge log. Reads may be answered
//! by a replica that has come as far as the edge has heard.
//!
//! # How long answers may be used
//!
//! Public data is for everyone. The edge may keep it for as long as its kind seldom changes, since a change purges it;
//! browsers, which nobody can purge, for a minute. Personal data is `private`: an edge that cannot tell users apart does
//! not store it, and a browser keeps it briefly.
//!
//! | kind | `Cache-Control` | `CDN-Cache-Control` | `Surrogate-Key` |
//! |---|---|---|---|
//! | course | `max-age=60` | `max-age=1800, stale-while-revalidate=60, stale-if-error=600` | `course:ID table:courses` |
//! | list of courses, popular ones, results of a search | `max-age=60` | `max-age=900, …` | `courses table:courses` |
//! | document | `max-age=60` | `max-age=300, …` | `document:KEY table:documents` |
//! | a document that a draft became | `private, max-age=30` | | `document:KEY table:documents` |
//! | a course or document that is not there | `max-age=10` | `max-age=10` | that of the missing one |
//! | user | `private, max-age=60` | | `user:ID` |
//! | a user's enrollments, or one of them | `private, max-age=30` | | `user-enrollments:ID` |
//! | a course's students | `private, max-age=30` | | `course-students:ID` |
//! | a user's transactions | `private, max-age=10` | | `user-transactions:ID` |
//! | a course's views, what is trending | `max-age=60` | `max-age=60` | |
//! | reactions | `max-age=5` | `max-age=5` | |
//! | events, drafts, sessions, who is present or typing | `no-store` | | |
//! | statistics, health, errors, answers to writes | `no-store` | | |
//!
//! # What writes may rely on
//!
//! A request that makes something is done once, however often it is repeated under its `Idempotency-Key`; a write may
//! demand by `If-Match` or `If-None-Match` that nobody else wrote in between. Both are decided in the write's own
//! transaction. A PostgreSQL that fails again and again is left alone for a moment, and requests that need it are refused
//! at once with `Retry-After`; so are those for which no connection comes free within two seconds. Nothing waits for a
//! PostgreSQL that has fallen silent (`postgres::held`), nor does a start for one that is away: until it is there, events
//! are accepted and the rest is refused.
//!
//! Every GET has a strong `ETag` made from its body. Keys in tags are percent-encoded, so that a tag is one word.
//!
//! # Events
//!
//! `POST /events` answers 202 when Redis has the events; workers take them into a table of days, each once. Requests are
//! refused with 503 and `Retry-After` while Redis is away or too many events wait, and never dropped in silence. See
//! `events` for what a repeat is, `stream` for what Redis promises, `worker` for what becomes of events that fail.

// In the order in which they are best read: a request's way first, then what stands under it.
mod startup;
mod state;

mod activity;
mod learning;
mod observe;
mod polyglot;

mod http;

mod postgres;
mod redis;
mod relay;

mod clock;
mod config;
mod description;
mod sample;

pub use clock::Clock;
pub use config::{Activity, Config, ConfigError, REPLICA_DEADLINE};
pub use postgres::connect::ConnectError;
pub use postgres::lsn::{Lsn, NoLsn};
pub use relay::outbox::{self, PurgeSink, SinkError};
pub use startup::{Origin, Relay, SeedError, StartError};
