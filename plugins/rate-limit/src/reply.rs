//! Answers to those who may not go on.

use tidegate_sdk::Reply;
use tidegate_sdk::limits::Verdict;

use crate::config::{By, Config};
use crate::fields;
use crate::key::Nobody;

/// The answer to a client over its limit: the problem type of the draft, section 5.1.
pub(crate) fn refuse(config: &Config, verdict: &Verdict) -> Reply {
    let violated: Vec<String> = verdict
        .standings
        .iter()
        .zip(&config.windows)
        .filter(|(standing, _)| standing.retry_after > 0)
        .map(|(_, window)| config.policy_name(window))
        .collect();
    let problem = serde_json::json!({
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Request cannot be satisfied as assigned quota has been exceeded",
        "status": config.status,
        "violated-policies": violated,
    });
    let mut reply = tidegate_sdk::problem(config.status, "");
    reply.body = problem.to_string().into_bytes();
    let seconds = fields::retry_after(verdict).to_string();
    reply
        .headers
        .push(("retry-after".to_owned(), seconds.into_bytes()));
    reply
}

/// The answer to a request that lacks what it is counted by, where nothing stands in for it.
pub(crate) fn nobody(nobody: &Nobody<'_>) -> Reply {
    let Nobody(by) = nobody;
    match by {
        By::Claim(name) => {
            let title = format!("A valid token with the claim {name:?} is required");
            let mut reply = tidegate_sdk::problem(401, &title);
            let challenge = ("www-authenticate".to_owned(), b"Bearer".to_vec());
            reply.headers.push(challenge);
            reply
        }
        By::Header(name) => one_is_required("field", name),
        By::Cookie(name) => one_is_required("cookie", name),
        // These every request has.
        By::Client | By::Path => tidegate_sdk::problem(400, "The request cannot be counted"),
    }
}

fn one_is_required(kind: &str, name: &str) -> Reply {
    tidegate_sdk::problem(400, &format!("Exactly one {kind} {name:?} is required"))
}

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
        for (name, value) in [
            ("retry-after", "5"),
            ("content-type", "application/problem+json"),
            ("cache-control", "no-store"),
        ] {
            let field = (name.to_owned(), value.as_bytes().to_vec());
            assert!(reply.headers.contains(&field), "{name}");
        }
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body["violated-policies"], serde_json::json!(["default-10"]));
        assert_eq!(body["status"], 429);
    }

    #[test]
    fn who_cannot_be_counted_is_told_what_is_missing() {
        for (by, status, said) in [
            (By::Claim("sub".to_owned()), 401, "sub"),
            (By::Header("x-key".to_owned()), 400, "x-key"),
            (By::Cookie("s".to_owned()), 400, "cookie"),
        ] {
            let reply = nobody(&Nobody(&by));
            assert_eq!(reply.status, status);
            assert!(String::from_utf8(reply.body).unwrap().contains(said));
        }
    }
}
