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
mod lease;
mod log;
mod log_failover;
mod log_lost;
mod log_refused;
mod log_silent;
mod purge_flights;
mod purge_parts;
mod purge_soft;
mod purge_urls;
mod purge_writes;
mod purging;
mod ranges;
mod receipts;
mod redis;
mod regional;
mod replicas;
mod search;
mod serving;
mod stale;
mod storing;
mod sweeping;
mod validation;
mod writes;
mod yours;
mod yours_tokens;

mod admin;
mod distrust;
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
mod filters_delivery;
mod filters_grants;
mod filters_http;
mod filters_kv;
mod filters_origins;
mod filters_policy;
mod filters_support;
mod filters_values;
mod handlers;
mod handlers_limits;
mod handlers_streams;
mod isolation;
mod middleware;
mod outbound;
mod plugins_cache;
mod plugins_pin;
mod plugins_reload;
mod plugins_reload_often;
mod plugins_sources;
mod rate_limit;
mod rate_limit_region;
mod reuse;
mod routes;
mod spin;
