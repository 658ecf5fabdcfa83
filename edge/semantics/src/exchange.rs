//! One exchange with the origin: what was asked, what was answered, and when.

use http::header::HeaderMap;
use http::{Method, StatusCode};

use crate::time::Timestamp;

/// One exchange with the origin, as the rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    pub method: &'a Method,
    /// The target's path, with its query if it has one.
    pub path: &'a str,
    /// The request as it was sent to the origin; its `Host` tells which absolute `Content-Location` is the target.
    pub request: &'a HeaderMap,
    pub status: StatusCode,
    /// The fields as received from the origin.
    pub response: &'a HeaderMap,
    /// When the request was sent.
    pub requested_at: Timestamp,
    /// When the response's head was received.
    pub received_at: Timestamp,
}
