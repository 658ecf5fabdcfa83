//! One rule: which writes, and what falls after them.

use serde::Deserialize;
use tidegate_sdk::{Captures, Pattern};

use crate::is_safe;
use crate::template::{captures_of, fill};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// The methods it is for; all that may change something when empty.
    #[serde(default)]
    methods: Vec<String>,
    /// A path with `{name}` for a segment, and `{name...}` at its end for all that follow.
    path: Pattern,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    urls: Vec<String>,
}

impl Rule {
    /// The tags and URLs that fall after a write, when the rule fits it.
    pub(crate) fn names(&self, method: &str, path: &str) -> Option<(Vec<String>, Vec<String>)> {
        if !self.methods.is_empty() && !self.methods.iter().any(|named| named == method) {
            return None;
        }
        let captures = self.path.fit(path)?;
        let filled = |templates: &[String], captures: &Captures<'_>, encoded| {
            templates
                .iter()
                .map(|template| fill(template, captures, encoded))
                .collect()
        };
        // Tags are names that the origin gave, so they hold what the path means; URLs hold what
        // it says.
        Some((
            filled(&self.tags, &captures, false),
            filled(&self.urls, &captures, true),
        ))
    }

    /// Whether the rule makes sense.
    ///
    /// # Errors
    /// What does not.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.path.check()?;
        if self.tags.is_empty() && self.urls.is_empty() {
            return Err("it names nothing: tags or urls are needed".to_owned());
        }
        if let Some(safe) = self.methods.iter().find(|method| is_safe(method)) {
            return Err(format!("{safe} changes nothing, so nothing falls after it"));
        }
        for template in self.tags.iter().chain(&self.urls) {
            for name in captures_of(template) {
                if !self.path.captures().any(|captured| captured == name) {
                    return Err(format!("{template:?}: no {{{name}}} in the path"));
                }
            }
        }
        Ok(())
    }
}
