//! The origin's promises, kept before a real PostgreSQL: a file per promise, a database per test.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod activity;
mod alerts;
mod answers;
mod backup;
mod behind;
mod breaker;
mod community;
mod conditions;
mod crashes;
mod description;
mod documents;
mod drafts;
mod enrolling;
mod events;
mod idempotency;
mod input;
mod metrics;
mod monitoring;
mod outage;
mod outbox;
mod paging;
mod relaying;
mod replicas;
mod resources;
mod roles;
mod searching;
mod semantic;
mod sessions;
mod silence;
mod starting;
mod support;
mod watching;
mod wire;
