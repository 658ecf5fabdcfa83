//! Limits how often a client may ask, in several windows at once.
//!
//! ```toml
//! [[routes.plugins]]
//! name = "rate-limit"
//! grants = ["limits"]
//! config = { key = "client", windows = [{ limit = 10, seconds = 60 }, { limit = 500, seconds = 86400 }] }
//! ```
//!
//! The edge counts (GCRA); this guest says whom and what, and tells the client where it stands
//! with `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11).

mod config;
mod fields;
mod key;

use std::rc::Rc;

use tidegate_sdk::limits::{self, Verdict};
use tidegate_sdk::{Filter, Flow, Hooks, Reply, Request, Response, filter};

use config::{By, Config};

/// The filter: a configuration, and the fields that the response will carry.
#[derive(Clone)]
pub struct RateLimit {
    config: Rc<Config>,
    standing: Option<[(&'static str, String); 2]>,
}

impl Filter for RateLimit {
    fn hooks() -> Hooks {
        Hooks::ON_REQUEST | Hooks::ON_RESPONSE
    }

    fn new(config: &str) -> Result<RateLimit, String> {
        Ok(RateLimit {
            config: Rc::new(Config::from_json(config)?),
            standing: None,
        })
    }

    fn on_request(&mut self, request: &Request) -> Flow {
        let header = match &self.config.key {
            By::Client => None,
            By::Header(name) => request.header(name),
        };
        let key = key::of(header.as_deref(), &request.client());
        let windows: Vec<limits::Window> = self.config.windows.iter().map(Into::into).collect();
        let verdict = limits::take(&self.config.name, &key, &windows, 1)
            .expect("the windows were checked with the configuration");
        self.standing = Some([
            ("ratelimit-policy", fields::policy(&self.config)),
            ("ratelimit", fields::standing(&self.config, &verdict)),
        ]);
        if verdict.allowed {
            Flow::Continue
        } else {
            Flow::Respond(refuse(&self.config, &verdict))
        }
    }

    fn on_response(&mut self, _request: &Request, response: &Response) {
        for (name, value) in self.standing.iter().flatten() {
            // A response whose fields are already at their limit goes without.
            let _ = response.set_header(name, value.as_bytes());
        }
    }
}

/// The answer to a client over its limit: the problem type of the draft, section 6.1.
fn refuse(config: &Config, verdict: &Verdict) -> Reply {
    let violated: Vec<String> = verdict
        .standings
        .iter()
        .zip(&config.windows)
        .filter(|(standing, _)| standing.retry_after > 0)
        .map(|(_, window)| config.policy_name(window))
        .collect();
    let body = serde_json::json!({
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Request cannot be satisfied as assigned quota has been exceeded",
        "status": config.status,
        "violated-policies": violated,
    });
    let field = |name: &str, value: String| (name.to_owned(), value.into_bytes());
    Reply {
        status: config.status,
        headers: vec![
            field("content-type", "application/problem+json".to_owned()),
            field("cache-control", "no-store".to_owned()),
            field("retry-after", fields::retry_after(verdict).to_string()),
        ],
        body: body.to_string().into_bytes(),
    }
}

filter!(RateLimit);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use tidegate_sdk::limits::Standing;

    #[test]
    fn a_refusal_names_what_was_violated_and_when_to_come_back() {
        let config = Config::from_json(
            r#"{"windows": [{"limit": 2, "seconds": 10}, {"limit": 9, "seconds": 60}]}"#,
        )
        .unwrap();
        let standing = |retry_after| Standing {
            remaining: 0,
            reset_after: 9_000,
            retry_after,
        };
        let verdict = Verdict {
            allowed: false,
            standings: vec![standing(4_001), standing(0)],
        };
        let reply = refuse(&config, &verdict);
        assert_eq!(reply.status, 429);
        assert!(
            reply
                .headers
                .contains(&("retry-after".to_owned(), b"5".to_vec()))
        );
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body["violated-policies"], serde_json::json!(["default-10"]));
    }
}
