//! The rules of HTTP caching as tables: a row per rule, with its section.

mod cache_status;
mod dates;
mod encoding;
mod explaining;
mod fields;
mod freshness;
mod invalidation;
mod invariants;
mod properties;
mod ranges;
mod reuse;
mod search;
mod second_opinion;
mod status;
mod storing;
mod support;
mod targeted;
mod validation;
mod vary;
