//! An origin that reads from replicas is told how far they must have replayed, and tells how far
//! its database had got. The field that says so is between us and the origin alone.

use http::{HeaderMap, HeaderName, HeaderValue, Response};

/// To the origin: answer from a replica only if it has replayed this far on this timeline. From
/// it: how far the primary had got when it answered, after the commit where there was one.
pub const LSN: HeaderName = HeaderName::from_static("tidegate-lsn");

/// What the origin told of its database, as an extension of its response.
#[derive(Clone, Debug)]
pub struct ToldLsn(pub HeaderValue);

/// Keeps what the origin told out of what clients get and tiers store.
pub(super) fn take<T>(response: &mut Response<T>) {
    if let Some(told) = response.headers_mut().remove(LSN) {
        response.extensions_mut().insert(ToldLsn(told));
    }
}

/// Removes what clients say of the origin's database, in what they send, and what the origin says
/// in interim responses.
pub fn strip(headers: &mut HeaderMap) {
    headers.remove(LSN);
}
