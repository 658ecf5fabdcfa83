//! The edge that is measured, and the ways of asking it.

use std::net::SocketAddr;

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

/// The edge's configuration before this origin.
pub(crate) fn config(origin: SocketAddr) -> String {
    CONFIG.replace("ORIGIN", &origin.to_string())
}
