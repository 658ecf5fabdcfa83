//! Private PostgreSQL and Redis servers from the system's own binaries, for the demo and the tests.
//!
//! A server started here listens on a free port of 127.0.0.1, keeps its files in a folder of its own, runs in its own
//! process group (Ctrl-C in a terminal reaches the program first, which stops its servers when it has drained) and ends
//! with the value that stands for it, or with the program if that is killed. Nothing is downloaded and no system service
//! is touched. Everything here blocks; nothing needs a runtime.

mod binaries;
mod error;
mod folder;
mod postgres;
mod process;
mod redis;

pub use binaries::{missing_packages, promtool};
pub use error::ServiceError;
pub use postgres::{Paused, Postgres, psql};
pub use redis::Redis;
