//! Tidegate's edge: a programmable caching reverse proxy.
//!
//! Read `proxy` first: it is the life of a request. `startup` puts everything together; the rooms
//! below are listed from the ground up, and import downwards only.

pub mod clock;
pub mod config;
pub mod explanation;
mod gcra;
mod random;
pub mod router;
pub mod telemetry;
pub mod trailers;

pub mod body;
pub mod encoding;
pub mod error;
pub mod interim;
pub mod keyvalue;
pub mod redis;
mod wasm;

pub mod egress;
pub mod exchange;
pub mod forward;
pub mod server;
pub mod upstream;

pub mod purge;

pub mod cache;
pub mod filters;

pub mod handlers;

pub mod admin;
pub mod proxy;

pub mod startup;
