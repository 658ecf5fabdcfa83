//! Asking for what is missing of a representation, in place of all of it.

use std::sync::Arc;

use http::header::{CONTENT_RANGE, HeaderName, IF_RANGE, RANGE};
use http::response::Parts as ResponseHead;
use http::{HeaderMap, HeaderValue, StatusCode};
use tidegate_semantics::{
    are_of_one_representation, merge_part, parse_content_range, range_validator,
};

use crate::cache::{Content, Entry, Gap};
use crate::proxy::keeping::announced_length;

/// The rest of a representation of which parts are stored (RFC 9111 §3.4).
pub(super) struct Rest {
    pub(super) entry: Arc<Entry>,
    pub(super) gap: Gap,
    validator: HeaderName,
}

impl Rest {
    /// What is missing, where it is one piece and can be asked for.
    pub(super) fn of(entry: &Arc<Entry>) -> Option<Rest> {
        let Content::Parts(parts) = &entry.content else {
            return None;
        };
        Some(Rest {
            entry: Arc::clone(entry),
            gap: parts.gap()?,
            validator: range_validator(&entry.headers())?,
        })
    }

    /// Asks for it alone, unless another representation has taken its place.
    pub(super) fn ask_for(&self, request: &mut HeaderMap) {
        let (first, last) = (self.gap.missing.start(), self.gap.missing.end());
        let range = HeaderValue::try_from(format!("bytes={first}-{last}"))
            .expect("made of visible characters");
        request.insert(RANGE, range);
        if let Some(validator) = self.entry.headers().get(&self.validator) {
            request.insert(IF_RANGE, validator.clone());
        }
    }

    /// Whether a 206 has just what is missing, of the same representation.
    pub(super) fn is_completed_by(&self, response: &HeaderMap) -> bool {
        let range = response.get(CONTENT_RANGE).and_then(parse_content_range);
        let is_rest = range.is_some_and(|range| {
            (range.first..=range.last) == self.gap.missing
                && range.complete.is_none_or(|all| all == self.gap.complete())
        });
        is_rest
            && announced_length(response).is_none_or(|length| length == self.gap.missing_bytes())
            && are_of_one_representation(&self.entry.headers(), response)
    }

    /// Makes of the 206 the 200 that it completes.
    pub(super) fn complete(&self, response: &mut ResponseHead) {
        response.status = StatusCode::OK;
        response.headers = merge_part(&self.entry.headers(), &response.headers);
        let mut hidden = self.entry.fields.hidden();
        for name in response.headers.keys() {
            hidden.remove(name);
        }
        response.headers.extend(hidden);
    }
}
