//! What the binary promises to whoever types its commands, a file per promise.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod check;
mod command;
mod database;
mod degrading;
mod demo;
mod deployment;
mod explain;
mod http;
mod plugin;
mod plugins;
mod process;
mod purge;
mod relaying;
mod running;
mod setup;
mod starting;
mod suspended;
