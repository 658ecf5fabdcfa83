//! What Tidegate's edge promises, scenario by scenario: a file per promise, one binary.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

mod collapsing;
mod consistency;
mod encoding;
mod groups;
mod heads;
mod keys;
mod large;
mod log;
mod purging;
mod ranges;
mod redis;
mod search;
mod serving;
mod stale;
mod storing;
mod validation;
mod writes;

mod admin;
mod drain;
mod framing;
mod messages;
mod partial;
mod passing;
mod smuggling;
mod startup;
mod trailers;
mod upgrades;

mod floors;

mod explaining;
mod filters;
mod filters_bundled;
mod filters_support;
