//! What is counted, in a process of its own: the edge, or what does no more than must be done.

use std::io::Read;
use std::net::SocketAddr;

use tidegate_edge::config::Config;
use tidegate_edge::startup::{Edge, Options};

use crate::bare;

/// The variables that make this program a server: which, and where its origin is.
pub(crate) const SERVER: &str = "TIDEGATE_BENCH_SERVER";
pub(crate) const ORIGIN: &str = "TIDEGATE_BENCH_ORIGIN";

#[derive(Clone, Copy, Debug)]
pub(crate) enum Server {
    /// As it is configured by default, without Redis and without plugins.
    Edge,
    /// The same with a hot tier in which nothing stays for long.
    EdgeWithSmallHot,
    /// hyper and moka, as if all had been stored.
    BareHit,
    /// hyper, and connections to the origin that are kept.
    BarePass,
}

impl Server {
    /// All, by the name that the variable has.
    const ALL: [(&str, Server); 4] = [
        ("edge", Server::Edge),
        ("edge-small-hot", Server::EdgeWithSmallHot),
        ("bare-hit", Server::BareHit),
        ("bare-pass", Server::BarePass),
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Server::Edge => "edge",
            Server::EdgeWithSmallHot => "edge-small-hot",
            Server::BareHit => "bare-hit",
            Server::BarePass => "bare-pass",
        }
    }

    fn named(name: &str) -> Server {
        let found = Server::ALL.iter().find(|(known, _)| *known == name);
        found.expect("this program names a server that it has").1
    }
}

/// Runs a server until standard input is closed.
pub(crate) fn run(server: &str, origin: &str) {
    let origin: SocketAddr = origin.parse().expect("this program names its origin");
    let _edge;
    let address = match Server::named(server) {
        Server::Edge => {
            _edge = edge(origin, "8MiB");
            _edge.addr()
        }
        Server::EdgeWithSmallHot => {
            _edge = edge(origin, "64KiB");
            _edge.addr()
        }
        Server::BareHit => bare::start_hit(),
        Server::BarePass => bare::start_pass(origin),
    };
    println!("{address}");
    // Ends with the program that started it, however that ends.
    let _ = std::io::stdin().read(&mut [0]);
}

fn edge(origin: SocketAddr, hot: &str) -> Edge {
    let config = format!(
        r#"
        [server]
        listen = "127.0.0.1:0"
        workers = 1
        [cache]
        hot = "{hot}"
        [origins.default]
        url = "http://{origin}"
        [[routes]]
        origin = "default"
        "#
    );
    let config = Config::from_toml(&config, "benchmark").expect("the configuration is right");
    Edge::start(config, Options::default()).expect("an edge starts on a free port")
}
