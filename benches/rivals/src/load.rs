//! What is asked of a proxy, and what came of it: one line of JSON to the load generator, one line back.

use serde::{Deserialize, Serialize};

pub mod histogram;
pub mod zipf;

/// Keep-alive connections of HTTP/1.1, each with one request at a time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Load {
    pub port: u16,
    pub connections: usize,
    /// For so long, or until all `requests` are answered.
    pub seconds: f64,
    pub requests: Option<u64>,
    /// Before the key, such as `/c/1024/`.
    pub path: String,
    pub keys: Keys,
    /// Requests a second, sent at their times however late answers are; the latency counts from the time at which a
    /// request should have been sent. Without it each connection sends its next when it has the answer.
    pub rate: Option<f64>,
}

/// What is put behind the path.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keys {
    /// The same each time.
    One(u64),
    /// Each once, from this one on.
    From(u64),
    /// So many, of which the popular ones are asked for more often: the k-th in proportion to `1 / k^0.99`.
    Zipf(u32),
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Answered whole with 200.
    pub requests: u64,
    /// Answered otherwise, or not at all.
    pub errors: u64,
    pub seconds: f64,
    pub latency: Option<Latency>,
}

/// In microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub longest: f64,
}
