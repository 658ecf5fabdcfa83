//! The edge that is measured, in a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use tidegate_edge::config::Config;
use tidegate_edge::startup::{Edge, Options};

use crate::processor;

/// The variable that makes this program the edge, with the origin's address.
pub(crate) const ORIGIN: &str = "TIDEGATE_BENCH_ORIGIN";

/// A way of asking for the same page.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
    /// What the answer's head says.
    pub(crate) shows: &'static str,
}

/// All ways, the one without guests first.
pub(crate) const WAYS: &[Way] = &[
    Way {
        name: "a hit",
        path: "/page",
        shows: "; hit",
    },
    Way {
        name: "a hit behind the rate limit, fresh instances",
        path: "/fresh/page",
        shows: "ratelimit: ",
    },
    Way {
        name: "a hit behind the rate limit, reused instances",
        path: "/reused/page",
        shows: "ratelimit: ",
    },
    Way {
        name: "a Spin handler, fresh instances",
        path: "/handler-fresh/page",
        shows: "",
    },
    Way {
        name: "a Spin handler, reused instances",
        path: "/handler-reused/page",
        shows: "",
    },
];

const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"
workers = 1
[origins.default]
url = "http://ORIGIN"
[plugins.fresh]
file = "builtin:rate-limit"
[plugins.reused]
file = "builtin:rate-limit"
reuse = 1_000_000
[plugins.handler-fresh]
file = "builtin:greeting"
[plugins.handler-reused]
file = "builtin:greeting"
reuse = 1_000_000
[[routes]]
path = "/fresh"
origin = "default"
[[routes.plugins]]
name = "fresh"
grants = ["limits"]
deadline = "1s"
config = { name = "fresh", windows = [{ limit = 100_000_000, seconds = 3_600 }] }
[[routes]]
path = "/reused"
origin = "default"
[[routes.plugins]]
name = "reused"
grants = ["limits"]
deadline = "1s"
config = { name = "reused", windows = [{ limit = 100_000_000, seconds = 3_600 }] }
[[routes]]
path = "/handler-fresh"
cache = false
handler = { name = "handler-fresh", grants = ["kv"], config = { greeting = "ahoy" } }
[[routes]]
path = "/handler-reused"
cache = false
handler = { name = "handler-reused", grants = ["kv"], config = { greeting = "ahoy" } }
[[routes]]
origin = "default"
"#;

/// Runs the edge until the other end of standard input is closed.
pub(crate) fn run(origin: &str) {
    let config = CONFIG.replace("ORIGIN", origin);
    let config = Config::from_toml(&config, "benchmark").expect("the configuration is right");
    let options = Options {
        builtin_plugins: tidegate_plugins::WITH_FIXTURES,
        ..Options::default()
    };
    let edge = Edge::start(config, options).expect("an edge starts on a free port");
    println!("{}", edge.addr());
    // Ends with the program that started it, however that ends.
    let _ = std::io::stdin().read(&mut [0]);
}

/// The edge's process; dropped, it ends.
pub(crate) struct Child {
    process: std::process::Child,
    pub(crate) address: SocketAddr,
}

impl Child {
    pub(crate) fn start(origin: SocketAddr) -> Child {
        let program = std::env::current_exe().expect("this program has a file");
        let mut process = Command::new(program)
            .env(ORIGIN, origin.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts again");
        let output = process.stdout.take().expect("it is piped");
        let mut line = String::new();
        BufReader::new(output)
            .read_line(&mut line)
            .expect("the edge says where it listens");
        let address = line.trim().parse().expect("the edge says its address");
        Child { process, address }
    }

    pub(crate) fn processor_time(&self) -> Duration {
        processor::time(self.process.id())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
