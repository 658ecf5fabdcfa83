//! Patterns of statuses, by which a route gives lifetimes to responses that state none.

use std::fmt;
use std::str::FromStr;

use http::StatusCode;

/// One status, or a class of them: `404`, `5xx`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum StatusPattern {
    One(StatusCode),
    /// The first digit of the class, from 2 to 5.
    Class(u8),
}

/// A text that is no pattern of final statuses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InvalidStatusPattern(String);

impl StatusPattern {
    /// Whether `status` is the one, or of the class.
    #[must_use]
    pub fn matches(self, status: StatusCode) -> bool {
        match self {
            Self::One(one) => one == status,
            Self::Class(class) => status.as_u16() / 100 == u16::from(class),
        }
    }
}

impl FromStr for StatusPattern {
    type Err = InvalidStatusPattern;

    /// Reads three digits from 200 to 599, or a digit from 2 to 5 before `xx` in any letter case. Interim responses are
    /// never stored, so that there is no pattern for them.
    fn from_str(text: &str) -> Result<Self, InvalidStatusPattern> {
        let invalid = || InvalidStatusPattern(text.to_owned());
        if let [class @ b'2'..=b'5', b'x' | b'X', b'x' | b'X'] = text.as_bytes() {
            return Ok(Self::Class(class - b'0'));
        }
        match StatusCode::from_bytes(text.as_bytes()) {
            Ok(status) if (200..600).contains(&status.as_u16()) => Ok(Self::One(status)),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for StatusPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(status) => write!(formatter, "{}", status.as_u16()),
            Self::Class(class) => write!(formatter, "{class}xx"),
        }
    }
}

impl fmt::Display for InvalidStatusPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        write!(
            formatter,
            "{text:?} is neither a status from 200 to 599 nor a class like \"5xx\""
        )
    }
}

impl std::error::Error for InvalidStatusPattern {}
