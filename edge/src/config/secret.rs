//! Values that only those may see who use them.

use std::fmt;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Secret {
        Secret(value.into())
    }

    /// The value itself, for the one place that uses it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Refuses what no request could carry as a token, or what everybody could guess.
    ///
    /// # Errors
    /// What is wrong with the value of `setting`, which is not shown.
    pub(super) fn check_token(&self, setting: &str) -> Result<(), String> {
        if self.0.is_empty() || !self.0.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "{setting} is no token: it must be of visible ASCII characters, and not empty"
            ));
        }
        Ok(())
    }

    /// Whether a request carries it as `Authorization: Bearer`. How long comparing takes does not
    /// tell how much was right.
    pub fn is_carried_by(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes) else {
            return false;
        };
        value.split_at_checked(7).is_some_and(|(scheme, given)| {
            let is_right = blake3::hash(self.0.as_bytes()) == blake3::hash(given);
            scheme.eq_ignore_ascii_case(b"bearer ") && is_right
        })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(secret)")
    }
}
