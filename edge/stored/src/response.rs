//! What is kept of a response.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tidegate_semantics::{Terms, Timestamp, Vary};

use crate::content::Content;
use crate::fields::Fields;
use crate::position::Position;

/// A response as it is stored (RFC 9111 §3).
#[derive(Clone, Debug)]
pub struct Stored {
    /// 206 where only parts of the representation are here.
    pub status: StatusCode,
    /// The end-to-end fields as the origin sent them, without Content-Length and Content-Range; the
    /// surrogate ones are hidden: not for clients, but wanted when the response is renewed. And the
    /// tags.
    pub fields: Fields,
    /// The lifetimes that filters gave; boxed, for few are given any.
    pub given: Option<Box<Given>>,
    pub content: Content,
    pub terms: Terms,
    /// The request fields this variant was selected by.
    pub vary: Vary,
    /// The log position applied when the fetch (or the last validation) began.
    pub fence: Position,
    /// When the origin answered for it last.
    pub fetched_at: Timestamp,
}

impl Stored {
    /// The fields that clients get.
    pub fn headers(&self) -> HeaderMap {
        self.fields.headers(0)
    }

    /// The lifetimes that filters gave.
    pub fn given(&self) -> Given {
        self.given.as_deref().copied().unwrap_or_default()
    }
}

/// Lifetimes that filters gave a response, over what its fields say; each only if they did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    pub ttl: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
}

impl Given {
    /// As it is stored.
    pub fn stored(self) -> Option<Box<Given>> {
        (self != Given::default()).then(|| Box::new(self))
    }

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
