//! Errors of a configuration's text, told without what the environment put into it: values there
//! are secrets more often than not.

use std::fmt;
use std::ops::RangeInclusive;

use serde::de::DeserializeOwned;

use super::environment;

/// What is wrong, where, and the line as it was written.
#[derive(Debug, PartialEq, Eq)]
pub struct SyntaxError {
    message: String,
    place: Option<Place>,
}

#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// From 1.
    line: usize,
    text: String,
}

impl SyntaxError {
    /// `error` came of parsing `expanded` as a `T`; `text` is the same before variables took their
    /// values from `lookup`.
    pub(super) fn new<T: DeserializeOwned>(
        text: &str,
        expanded: &str,
        error: &toml::de::Error,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> SyntaxError {
        let lines = lines_of(expanded, error);
        let message = if has_variable(text, &lines) {
            masked_message::<T>(text, &lines, lookup)
        } else {
            error.message().trim_end().to_owned()
        };
        let line = *lines.start();
        let place = error.span().and_then(|_| {
            let text = text.lines().nth(line - 1)?.trim().to_owned();
            Some(Place { line, text })
        });
        SyntaxError { message, place }
    }
}

impl fmt::Display for SyntaxError {
    /// Follows the name of what was read.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(Place { line, text }) => {
                write!(formatter, ", line {line}: {}\n  {text}", self.message)
            }
            None => write!(formatter, ": {}", self.message),
        }
    }
}

impl std::error::Error for SyntaxError {}

/// The lines (from 1) that an error is about: all where it does not say.
fn lines_of(expanded: &str, error: &toml::de::Error) -> RangeInclusive<usize> {
    let line = |at: usize| {
        let before = expanded.as_bytes().iter().take(at);
        before.filter(|byte| **byte == b'\n').count() + 1
    };
    match error.span() {
        Some(span) => line(span.start)..=line(span.end.max(span.start + 1) - 1),
        None => 1..=line(expanded.len()),
    }
}

fn has_variable(text: &str, lines: &RangeInclusive<usize>) -> bool {
    let mut numbered = (1..).zip(text.lines());
    numbered.any(|(number, line)| lines.contains(&number) && line.contains("${"))
}

/// What the error would have said had the variables of its lines kept their names for values.
fn masked_message<T: DeserializeOwned>(
    text: &str,
    lines: &RangeInclusive<usize>,
    lookup: impl Fn(&str) -> Option<String>,
) -> String {
    let masked = environment::expand(text, |line, name| {
        if lines.contains(&line) {
            Some(format!("${{{name}}}"))
        } else {
            lookup(name)
        }
    });
    let message = masked.ok().and_then(|masked| {
        let error = toml::from_str::<T>(&masked).err()?;
        (lines_of(&masked, &error) == *lines).then(|| error.message().trim_end().to_owned())
    });
    message.unwrap_or_else(|| "what the environment says does not fit here".to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{SyntaxError, environment};

    #[test]
    fn an_error_shows_the_line_as_it_was_written_and_no_value_from_the_environment() {
        for (text, expected) in [
            ("a = 1\nb = x", ", line 2: "),
            ("a = 1\nb = x", "\n  b = x"),
            (
                "a = 1\nb = \"${SECRET}\"",
                ", line 2: invalid type: string \"${SECRET}\"",
            ),
            ("a = 1\nb = \"${SECRET}\"", "\n  b = \"${SECRET}\""),
            ("a = \"\"\"\n${SECRET}\"\"\"", ", line 1: invalid type"),
            ("b = 1\nb = \"${SECRET}\"", ", line 2: duplicate key"),
            ("b = \"${SECRET}\" x", ", line 1: "),
        ] {
            let secret = |name: &str| (name == "SECRET").then(|| "s3\"cr\\et".to_owned());
            let expanded = environment::expand(text, |_, name| secret(name)).expect(text);
            let error = toml::from_str::<BTreeMap<String, u8>>(&expanded).expect_err(text);
            let error = SyntaxError::new::<BTreeMap<String, u8>>(text, &expanded, &error, secret);
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(expected), "{text}: {shown}");
            assert!(!shown.contains("s3"), "{text}: {shown}");
        }
    }
}
