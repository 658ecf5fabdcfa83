//! Says what falls out of the cache after a write.
//!
//! ```toml
//! [[routes.plugins]]
//! name = "invalidate"
//! grants = ["purge"]
//! [[routes.plugins.config.rules]]
//! methods = ["PUT", "PATCH", "DELETE"]
//! path = "/courses/{id}"
//! tags = ["course:{id}", "courses"]
//! urls = ["/courses/{id}", "/courses"]
//! ```
//!
//! When the origin has answered a write without an error, every rule whose method and path fit
//! purges what it names; the client gets its answer once that is recorded. The URL that was
//! written to falls anyway (RFC 9111 section 4.4): rules are for what else shows the same data.

mod rule;
mod template;

use serde::Deserialize;
use tidegate_sdk::purge::{Order, purge};
use tidegate_sdk::{Filter, Hooks, Request, Response, Storing, filter, normalized_path};

use rule::Rule;

/// The filter: its configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invalidate {
    rules: Vec<Rule>,
    /// Stale instead of gone.
    #[serde(default)]
    soft: bool,
}

impl Filter for Invalidate {
    fn hooks(&self) -> Hooks {
        Hooks::ON_ORIGIN_RESPONSE
    }

    fn new(config: &str) -> Result<Invalidate, String> {
        let invalidate: Invalidate = tidegate_sdk::from_json(config)?;
        for (number, rule) in invalidate.rules.iter().enumerate() {
            rule.check()
                .map_err(|wrong| format!("rule {}: {wrong}", number + 1))?;
        }
        Ok(invalidate)
    }

    fn on_origin_response(&mut self, request: &Request, response: &Response, _: &Storing) {
        let method = request.method();
        if is_safe(&method) || !(200..400).contains(&response.status()) {
            return;
        }
        let order = self.order(&method, &request.path());
        if !order.tags.is_empty() || !order.urls.is_empty() {
            // The edge itself logs a purge that it refuses or could not record.
            let _ = purge(&order);
        }
    }
}

impl Invalidate {
    /// Everything that the rules name for a write, each once.
    fn order(&self, method: &str, path: &str) -> Order {
        let path = normalized_path(path);
        let mut order = Order {
            tags: Vec::new(),
            urls: Vec::new(),
            soft: self.soft,
        };
        for rule in &self.rules {
            if let Some((tags, urls)) = rule.names(method, &path) {
                order.tags.extend(tags);
                order.urls.extend(urls);
            }
        }
        for names in [&mut order.tags, &mut order.urls] {
            names.sort_unstable();
            names.dedup();
        }
        order
    }
}

/// Methods that change nothing (RFC 9110 section 9.2.1).
fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

filter!(Invalidate);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::Invalidate;
    use tidegate_sdk::Filter;

    #[test]
    fn every_rule_that_fits_names_what_falls_once() {
        let invalidate = Invalidate::new(
            r#"{"rules": [
                {"path": "/courses/{id}", "tags": ["course:{id}", "courses"], "urls": ["/courses"]},
                {"methods": ["DELETE"], "path": "/courses/{id}", "tags": ["courses", "stats"]},
                {"path": "/users/{id}", "tags": ["user:{id}"]}
            ]}"#,
        )
        .unwrap();
        let order = invalidate.order("PUT", "/courses/7");
        assert_eq!(order.tags, ["course:7", "courses"]);
        assert_eq!(order.urls, ["/courses"]);
        assert_eq!(
            invalidate.order("DELETE", "/courses/7").tags,
            ["course:7", "courses", "stats"]
        );
        assert_eq!(
            invalidate.order("PUT", "/x/..//%63ourses/%37").tags,
            ["course:7", "courses"]
        );
        assert!(invalidate.order("PUT", "/elsewhere").tags.is_empty());
    }

    #[test]
    fn a_wrong_configuration_is_told_apart() {
        for (text, part) in [
            ("{}", "missing field `rules`"),
            (
                r#"{"rules": [{"path": "courses", "tags": ["a"]}]}"#,
                "rule 1: path \"courses\"",
            ),
            (
                r#"{"rules": [{"path": "/a/{id", "tags": ["a"]}]}"#,
                "\"{id\"",
            ),
            (
                r#"{"rules": [{"path": "/a", "tags": ["a:{id}"]}]}"#,
                "no {id}",
            ),
            (r#"{"rules": [{"path": "/a"}]}"#, "names nothing"),
            (
                r#"{"rules": [{"path": "/a", "tags": ["a"], "methods": ["GET"]}]}"#,
                "GET",
            ),
        ] {
            let error = Invalidate::new(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
