//! The origin's promises, kept before a real PostgreSQL: a file per promise, a database per test.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod activity;
mod answers;
mod behind;
mod crashes;
mod documents;
mod enrolling;
mod events;
mod input;
mod metrics;
mod outage;
mod outbox;
mod relaying;
mod replicas;
mod resources;
mod support;
mod watching;
