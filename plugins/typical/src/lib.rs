//! What many filters do, and nothing else: for benchmarks to call.
//!
//! It lets those in who bring a bearer's token, counts them by address, and tells the origin who
//! came instead of passing the token on. The response gets a field.

use tidegate_sdk::{Filter, Flow, Hooks, Request, Response, filter, limits, problem};

/// The filter: what its configuration says.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Typical {
    /// How many requests a client may send in an hour.
    limit: u32,
    /// Whether responses are marked.
    #[serde(default)]
    marks: bool,
    /// Whether nothing is done at all.
    #[serde(default)]
    idle: bool,
}

impl Filter for Typical {
    fn hooks(&self) -> Hooks {
        Hooks::ON_REQUEST | Hooks::ON_RESPONSE
    }

    fn new(config: &str) -> Result<Typical, String> {
        tidegate_sdk::from_json(config)
    }

    fn on_request(&mut self, request: &Request) -> Flow {
        if self.idle {
            return Flow::Continue;
        }
        let token = request.header("authorization").unwrap_or_default();
        if !token.starts_with(b"Bearer ") {
            return Flow::Respond(problem(401, "a token is required"));
        }
        let window = limits::Window {
            limit: self.limit,
            seconds: 3_600,
        };
        let options = limits::Options::empty();
        let verdict = limits::take("typical", &request.client(), &[window], 1, options);
        if !verdict.is_ok_and(|verdict| verdict.allowed) {
            return Flow::Respond(problem(429, "too many requests"));
        }
        let _ = request.set_header("x-user", b"42");
        let _ = request.remove_header("authorization");
        Flow::Continue
    }

    fn on_response(&mut self, _request: &Request, response: &Response) {
        if self.marks {
            let _ = response.set_header("x-filtered", b"1");
        }
    }
}

filter!(Typical);
