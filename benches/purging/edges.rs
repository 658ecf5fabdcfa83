//! From a `PURGE` at one edge until it is in force at another one of the region.

use std::net::SocketAddr;
use std::time::Instant;

use tidegate_edge::config::Config;
use tidegate_edge::startup::{Edge, Options};
use tidegate_services::Redis;

use super::client::Client;
use super::watching::Watcher;
use super::{origin, print};

pub(crate) fn run(rounds: usize) {
    let redis = Redis::ephemeral().expect("redis-server is installed");
    let origin = origin::start();
    let asked = edge(origin, &redis, "");
    let other = edge(origin, &redis, "");
    let watcher = Watcher::of(other.addr(), "/page");
    let mut client = Client::connect(asked.addr());
    let mut purge = || {
        let sent = Instant::now();
        client.ask("PURGE", "/page", "authorization: Bearer purge\r\n");
        sent
    };
    let times = (0..rounds).map(|_| watcher.time(&mut purge)).collect();
    print("from PURGE at one edge to its effect at another", times);
    let mut receipts = Vec::new();
    for _ in 0..rounds {
        let sent = purge();
        receipts.push(sent.elapsed());
    }
    print("from PURGE to its receipt", receipts);
    watcher.end();
}

/// An edge with one worker that shares `redis`; its one origin gets these fields.
pub(crate) fn edge(origin: SocketAddr, redis: &Redis, fields: &str) -> Edge {
    let redis = redis.url();
    let config = format!(
        r#"
        [server]
        listen = "127.0.0.1:0"
        workers = 1
        [redis]
        url = "{redis}"
        [purge]
        token = "purge"
        limit = "1000000/s"
        record_limit = "1000000/s"
        [origins.app]
        url = "http://{origin}"
        headers = {{ {fields} }}
        [[routes]]
        origin = "app"
        "#
    );
    let config = Config::from_toml(&config, "benchmark").expect("the configuration is right");
    Edge::start(config, Options::default()).expect("an edge starts on a free port")
}
