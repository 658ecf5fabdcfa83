//! Requests that are counted, where not all are.

use serde::Deserialize;
use tidegate_sdk::{Pattern, normalized_path};

use crate::seen::Seen;

/// What a request must be to count. A part that is empty asks for nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Only {
    /// Methods, as sent: they are case-sensitive (RFC 9110 section 9.1).
    #[serde(default)]
    methods: Vec<String>,
    /// Paths with `{name}` for a segment, and `{name...}` at their end for all that follow. All spellings of a path are
    /// one, so that nobody gets around a limit by another.
    #[serde(default)]
    paths: Vec<Pattern>,
}

impl Only {
    pub(crate) fn has(&self, seen: &impl Seen) -> bool {
        if !self.methods.is_empty() && !self.methods.contains(&seen.method()) {
            return false;
        }
        if self.paths.is_empty() {
            return true;
        }
        let path = normalized_path(&seen.path());
        self.paths
            .iter()
            .any(|pattern| pattern.fit(&path).is_some())
    }

    /// # Errors
    /// What can be no method, or no path.
    pub(crate) fn check(&self) -> Result<(), String> {
        let is_method = |method: &String| {
            !method.is_empty()
                && method
                    .bytes()
                    .all(|byte| byte.is_ascii_uppercase() || byte == b'-')
        };
        if let Some(wrong) = self.methods.iter().find(|method| !is_method(method)) {
            return Err(format!("only: {wrong:?} is no method in capitals"));
        }
        let wrong = self.paths.iter().find_map(|pattern| pattern.check().err());
        wrong.map_or(Ok(()), |wrong| Err(format!("only: {wrong}")))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::Only;
    use crate::seen::Scripted;

    #[test]
    fn counted_are_methods_and_paths_that_fit() {
        let both = r#"{"methods": ["POST"], "paths": ["/circles", "/circles/{id}/messages"]}"#;
        for (only, method, path, expected) in [
            ("{}", "GET", "/a", true),
            (r#"{"methods": ["PUT", "POST"]}"#, "POST", "/a", true),
            (r#"{"methods": ["PUT", "POST"]}"#, "GET", "/a", false),
            (both, "POST", "/circles", true),
            (both, "POST", "/circles/7/messages", true),
            (both, "POST", "//circles/%37/./messages", true),
            (both, "GET", "/circles/7/messages", false),
            (both, "POST", "/circles/7/members", false),
            (both, "POST", "/circles/7/messages/8", false),
        ] {
            let only: Only = serde_json::from_str(only).unwrap();
            let seen = Scripted {
                method,
                path,
                ..Scripted::default()
            };
            assert_eq!(only.has(&seen), expected, "{only:?} {method} {path}");
        }
    }
}
