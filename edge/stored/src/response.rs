//! What is kept of a response.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tidegate_semantics::{Terms, Timestamp, Vary};

use crate::content::Content;
use crate::position::Position;

/// A response as it is stored (RFC 9111 §3).
#[derive(Clone, Debug)]
pub struct Stored {
    /// 206 where only parts of the representation are here.
    pub status: StatusCode,
    /// The end-to-end fields as the origin sent them, without the surrogate ones and without
    /// Content-Length and Content-Range.
    pub headers: HeaderMap,
    /// The surrogate fields: not for clients, but wanted when the response is renewed.
    pub hidden: HeaderMap,
    /// The lifetimes that filters gave.
    pub given: Given,
    pub content: Content,
    pub terms: Terms,
    /// The request fields this variant was selected by.
    pub vary: Vary,
    pub tags: Vec<String>,
    /// The log position applied when the fetch (or the last validation) began.
    pub fence: Position,
    /// When the origin answered for it last.
    pub fetched_at: Timestamp,
}

/// Lifetimes that filters gave a response, over what its fields say; each only if they did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    pub ttl: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
}

impl Given {
    /// Replaces what they gave.
    pub fn apply(&self, terms: &mut Terms) {
        if let Some(window) = self.stale_while_revalidate {
            terms.stale_while_revalidate = window;
        }
        if let Some(window) = self.stale_if_error {
            terms.stale_if_error = window;
        }
    }
}
