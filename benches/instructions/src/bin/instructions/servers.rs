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
    /// The same over HTTP/2.
    BareHitHttp2,
    /// hyper, and connections to the origin that are kept.
    BarePass,
}

impl Server {
    const ALL: [Server; 5] = [
        Server::Edge,
        Server::EdgeWithSmallHot,
        Server::BareHit,
        Server::BareHitHttp2,
        Server::BarePass,
    ];

    /// What the variable says.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Server::Edge => "edge",
            Server::EdgeWithSmallHot => "edge-with-small-hot",
            Server::BareHit => "bare-hit",
            Server::BareHitHttp2 => "bare-hit-http2",
            Server::BarePass => "bare-pass",
        }
    }
}

/// Runs a server until standard input is closed.
pub(crate) fn run(server: &str) {
    let origin = std::env::var(ORIGIN)
        .ok()
        .and_then(|origin| origin.parse().ok());
    let origin: SocketAddr = origin.expect("this program names the origin too");
    let server = Server::ALL.into_iter().find(|known| known.name() == server);
    let _edge;
    let address = match server.expect("this program names a server that it has") {
        Server::Edge => {
            _edge = edge(origin, "8MiB");
            _edge.addr()
        }
        Server::EdgeWithSmallHot => {
            _edge = edge(origin, "64KiB");
            _edge.addr()
        }
        Server::BareHit => bare::start_hit(),
        Server::BareHitHttp2 => bare::start_hit_http2(),
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
