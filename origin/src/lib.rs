//! The origin: users, courses, enrollments, documents and transactions, circles and what is said in them on PostgreSQL, and
//! what users do on the way there through a stream in Redis, behind the edge.
//!
//! It keeps no cache of its own, because the edge is the cache. What it does for it: every answer says how long it may
//! be used and by whom, carries a validator and the tags by which it falls; and every write puts the tags that fall into
//! the [`outbox`], in the data's own transaction, from where a relay takes them to the purge log. Reads may be answered
//! by a replica that has come as far as the edge has heard.
//!
//! # How long answers may be used
//!
//! Public data is for everyone. The edge may keep it for as long as its kind seldom changes, since a change purges it;
//! browsers, which nobody can purge, for a minute. Personal data is `private`: shared
//! caches do not store it, and a browser keeps it briefly. What only its owner may see, and falls when it changes, a
//! Tidegate keeps for whoever shows the same token (`Tidegate-Cache-Control`, `Vary: Authorization`), and no longer than
//! that is good; a session may end at any moment, and nothing is kept for its token.
//!
//! | kind | `Cache-Control` | `CDN-Cache-Control` | `Surrogate-Key` |
//! |---|---|---|---|
//! | course | `public, max-age=60` | `public, max-age=1800, stale-while-revalidate=60, stale-if-error=600` | `course:ID table:courses` |
//! | a course that is not published, for those who may see it | `private, max-age=10` | | `course:ID table:courses` |
//! | list of courses, popular ones, results of a search | `public, max-age=60` | `public, max-age=900, …` | `courses table:courses` |
//! | document | `public, max-age=60` | `public, max-age=300, …` | `document:KEY table:documents` |
//! | results of a search by meaning | `public, max-age=60` | `public, max-age=900, …` | `course-vectors courses table:courses` |
//! | the same by words, while meaning cannot be had | `public, max-age=10` | `public, max-age=10` | the same |
//! | documents that contain a filter | `public, max-age=60` | `public, max-age=300, …` | `documents table:documents` |
//! | a course (by who asks: `Vary`) or document that is not there | `public, max-age=10` | `public, max-age=10` | that of the missing one |
//! | user | `private, max-age=60` | by token: 1 h | `user:ID` |
//! | a user's enrollments | `private, max-age=30` | by token: 5 min | `user-enrollments:ID` |
//! | one of them | `private, max-age=30` | | `user-enrollments:ID` |
//! | a course's students | `private, max-age=30` | | `course-students:ID` |
//! | a user's transactions | `private, max-age=10` | by token: 60 s | `user-transactions:ID` |
//! | circle | `public, max-age=60` | `public, max-age=1800, …` | `circle:ID table:circles` |
//! | list of circles | `public, max-age=60` | `public, max-age=900, …` | `circles table:circles` |
//! | a private circle, for its members | `private, max-age=30` | | `circle:ID table:circles` |
//! | a circle's members, or one of them | `private, max-age=30` | | `circle-members:ID` |
//! | a user's circles | `private, max-age=30` | | `user-circles:ID` |
//! | a circle's messages, or one of them, for its members | `private, max-age=0` | | `circle-messages:ID` |
//! | a user's notifications, and how many are unread | `private, max-age=0` | | `user-notifications:ID` |
//! | a course's views, what is trending | `public, max-age=60` | `public, max-age=60` | |
//! | reactions | `public, max-age=5` | `public, max-age=5` | |
//! | events, drafts, journals, sessions, who is present or typing | `no-store` | | |
//! | statistics, health, errors, answers to writes | `no-store` | | |
//!
//! What is `public` is the same for everyone, so that caches may share answers to requests that showed a token; they need
//! the word for it (RFC 9111 section 3.5).
//!
//! # Who may do what
//!
//! The edge shows a token of its own, and passes on that of a user: see [`access`]. Handlers take an `Asker` and refuse what
//! the user may not do, where it depends on a row under its lock. A test asks every route in everybody's name.
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
//! In circles, locks are taken in one order: see `community`.
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
mod community;
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
pub use config::{
    Activity, Config, ConfigError, EmbeddingService, EmbeddingSource, Embeddings, REPLICA_DEADLINE,
};
pub use http::access;
pub use postgres::connect::ConnectError;
pub use postgres::lsn::{Lsn, NoLsn};
pub use relay::outbox::{self, PurgeSink, SinkError};
pub use startup::{Origin, Relay, SeedError, StartError};
