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
///
/// Some origins take `_` in a name for `-`, as CGI does: what they would read as ours goes too.
pub fn strip(headers: &mut HeaderMap) {
    headers.remove(LSN);
    let is_like_ours = |name: &&HeaderName| {
        let letters = name.as_str().bytes();
        name.as_str().len() == LSN.as_str().len()
            && letters
                .map(|letter| if letter == b'_' { b'-' } else { letter })
                .eq(LSN.as_str().bytes())
    };
    while let Some(name) = headers.keys().find(is_like_ours).cloned() {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_an_origin_may_read_as_the_field_is_removed_and_nothing_else() {
        let mut headers = HeaderMap::new();
        for name in [
            "tidegate-lsn",
            "tidegate_lsn",
            "tidegate-lsm",
            "tidegate-ls_",
        ] {
            headers.append(name, HeaderValue::from_static("1:0/1"));
        }
        strip(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["tidegate-ls_", "tidegate-lsm"]);
    }
}
