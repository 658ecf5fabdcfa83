//! How a decision came about, rule by rule, told by the code that makes it.

use std::time::Duration;

/// One rule that a decision went by, and what it found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// The directive, the field or the matter in one kebab-case word.
    pub rule: &'static str,
    /// Where it is written: a section of an RFC, or `route:` and the setting.
    pub section: &'static str,
    /// `passed`, `refused:` and the refusal's name, or what was found in a few words.
    pub finding: String,
}

/// Watches a decision being made. Nobody watches by default: for `()` every note compiles to nothing.
pub(crate) trait Witness {
    fn note(&mut self, rule: &'static str, section: &'static str, finding: impl FnOnce() -> String);
}

impl Witness for () {
    #[inline(always)]
    fn note(&mut self, _: &'static str, _: &'static str, _: impl FnOnce() -> String) {}
}

impl Witness for Vec<Step> {
    fn note(
        &mut self,
        rule: &'static str,
        section: &'static str,
        finding: impl FnOnce() -> String,
    ) {
        self.push(Step {
            rule,
            section,
            finding: finding(),
        });
    }
}

/// `60 s`, `1.5 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}
