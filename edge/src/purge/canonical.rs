//! By which URL an edge knows what a URL names. Routes decide that, and this room knows none: it is
//! told.

use std::borrow::Cow;

/// What the routes' key policies leave of URLs (`authority/path?query`). Done twice, it is the same.
pub trait Canonical: Send + Sync {
    /// The one URL for all those that share their stored responses with this one.
    fn url<'a>(&self, url: &'a str) -> Cow<'a, str>;

    /// The beginning of every canonical URL whose own URL begins with `prefix`.
    fn prefix<'a>(&self, prefix: &'a str) -> Cow<'a, str>;
}

/// Every URL is its own.
pub struct AsWritten;

impl Canonical for AsWritten {
    fn url<'a>(&self, url: &'a str) -> Cow<'a, str> {
        Cow::Borrowed(url)
    }

    fn prefix<'a>(&self, prefix: &'a str) -> Cow<'a, str> {
        Cow::Borrowed(prefix)
    }
}
