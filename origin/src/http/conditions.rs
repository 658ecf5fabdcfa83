//! What a write demands of the state that it is about to change (RFC 9110 section 13.1): `If-Match` and `If-None-Match`.
//!
//! Decided under the lock of the row that changes, from the very representation that a GET would show: of two writers
//! who have seen the same state one finds it as it was, and the other one does not. A write that demands nothing reads
//! nothing for it.
//!
//! What is not there is 404 and what makes no sense is 422, conditions or not (section 13.2.1).

use axum::http::{HeaderMap, HeaderName, header};
use serde::Serialize;

use crate::http::{answer::etag, error::Problem};

/// The conditions of one write.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    /// One of these must be the current state's, by strong comparison.
    matches: Option<Vec<String>>,
    /// None of these may be the current state's, by weak comparison.
    differs: Option<Vec<String>>,
}

impl Conditions {
    pub(crate) fn of(request: &HeaderMap) -> Self {
        Self {
            matches: listed(request, &header::IF_MATCH),
            differs: listed(request, &header::IF_NONE_MATCH),
        }
    }

    /// Whether there are none, so that the current state need not be known.
    pub(crate) fn is_empty(&self) -> bool {
        self.matches.is_none() && self.differs.is_none()
    }

    /// Refuses a write whose conditions the current state does not meet; `None` is a state in which there is nothing.
    pub(crate) fn require(&self, current: Option<&impl Serialize>) -> Result<(), Problem> {
        if self.is_empty() {
            return Ok(());
        }
        self.require_tag(current.map(etag).transpose()?.as_deref())
    }

    /// The same by the current state's validator.
    pub(crate) fn require_tag(&self, current: Option<&str>) -> Result<(), Problem> {
        if self.are_met_by(current) {
            Ok(())
        } else {
            Err(Problem::precondition_failed())
        }
    }

    fn are_met_by(&self, current: Option<&str>) -> bool {
        let matches = self.matches.as_ref().is_none_or(|tags| {
            current.is_some_and(|current| tags.iter().any(|tag| tag == "*" || tag == current))
        });
        let differs = self.differs.as_ref().is_none_or(|tags| {
            let is_read = tags.iter().all(|tag| is_tag(tag));
            is_read && current.is_none_or(|current| !tags.iter().any(|tag| names(tag, current)))
        });
        matches && differs
    }
}

/// Whether a tag of a list is that of a representation, by weak comparison (section 8.8.3.2), or stands for any.
pub(crate) fn names(tag: &str, current: &str) -> bool {
    tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == current
}

/// Whether a text is a tag, or stands for any (section 8.8.3).
fn is_tag(text: &str) -> bool {
    let quoted = text.strip_prefix("W/").unwrap_or(text);
    let opaque = quoted
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    text == "*" || opaque.is_some_and(|opaque| !opaque.contains('"'))
}

/// The tags that a field lists, and what else stands among them; nothing when the field is not there. What is no tag is
/// that of no state, so that a read shows what there is; in a write's condition nothing meets it.
pub(crate) fn listed(request: &HeaderMap, field: &HeaderName) -> Option<Vec<String>> {
    let mut values = request.get_all(field).iter().peekable();
    values.peek()?;
    // Our own have no comma inside, so what a comma tears apart was not ours.
    let tags = values.map(|value| value.to_str().unwrap_or_default());
    let tags = tags.flat_map(|value| value.split(',')).map(str::trim);
    Some(tags.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn conditions_are_met_as_the_rfc_says() {
        let here = Some("\"a\"");
        for (field, value, current, met) in [
            // Section 13.1.1: strong comparison.
            (header::IF_MATCH, "\"a\"", here, true),
            (header::IF_MATCH, "\"b\", \"a\"", here, true),
            (header::IF_MATCH, "\"b\"", here, false),
            (header::IF_MATCH, "W/\"a\"", here, false),
            (header::IF_MATCH, "a", here, false),
            (header::IF_MATCH, "", here, false),
            (header::IF_MATCH, "*", here, true),
            (header::IF_MATCH, "*", None, false),
            (header::IF_MATCH, "\"a\"", None, false),
            // Section 13.1.2: weak comparison.
            (header::IF_NONE_MATCH, "*", None, true),
            (header::IF_NONE_MATCH, "*", here, false),
            (header::IF_NONE_MATCH, "\"a\"", here, false),
            (header::IF_NONE_MATCH, "W/\"a\"", here, false),
            (header::IF_NONE_MATCH, "\"b\"", here, true),
            (header::IF_NONE_MATCH, "\"a\"", None, true),
            (header::IF_NONE_MATCH, "a", here, false),
            (header::IF_NONE_MATCH, "", None, false),
            (header::IF_NONE_MATCH, "\"b\", \"c", here, false),
        ] {
            let mut request = HeaderMap::new();
            request.insert(&field, HeaderValue::from_static(value));
            let conditions = Conditions::of(&request);
            assert!(!conditions.is_empty());
            assert_eq!(
                conditions.are_met_by(current),
                met,
                "{field}: {value} of {current:?}"
            );
        }
        let none = Conditions::of(&HeaderMap::new());
        assert!(none.is_empty() && none.are_met_by(None) && none.are_met_by(here));
    }
}
