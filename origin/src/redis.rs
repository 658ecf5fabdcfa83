//! One connection to Redis, and what lives on it.

pub(crate) mod client;
pub(crate) mod on_redis;
