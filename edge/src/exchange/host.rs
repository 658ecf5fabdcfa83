//! The authority of a request (RFC 9110 §7.2), in the one spelling by which everything here knows it.

use std::cell::RefCell;

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Uri, Version};

use crate::error::Failure;

const NO_HOST: &str = "Host is not a host with an optional port";

/// Hosts that a worker remembers.
const REMEMBERED: usize = 16;

thread_local! {
    /// What was asked for lately, as it was spelt, and as it is known.
    static LATELY: RefCell<[Option<(HeaderValue, Authority)>; REMEMBERED]> =
        const { RefCell::new([const { None }; REMEMBERED]) };
}

/// Host, or what takes its place: the authority of an absolute-form target, or `:authority`.
pub(super) fn target_authority(parts: &Parts) -> Result<Authority, Failure> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Failure::BadRequest("more than one Host"));
    }
    let host = host.map(known);
    match (parts.uri.authority(), host.transpose()?) {
        // Also beside an absolute target (RFC 9112 §3.2).
        (Some(_), None) if parts.version == Version::HTTP_11 => Err(Failure::BadRequest("no Host")),
        (Some(authority), host) => {
            check_scheme(&parts.uri)?;
            let authority = canonical(authority.clone())?;
            if host.is_some_and(|host| host != authority) {
                return Err(Failure::BadRequest(
                    "Host is not that of the request target",
                ));
            }
            Ok(authority)
        }
        (None, Some(host)) => Ok(host),
        (None, None) => Err(Failure::BadRequest("no Host")),
    }
}

fn check_scheme(uri: &Uri) -> Result<(), Failure> {
    match uri.scheme_str() {
        Some("http" | "https") => Ok(()),
        _ => Err(Failure::BadRequest(
            "the scheme of the request target is not http",
        )),
    }
}

/// An authority in the spelling by which everything here knows it.
///
/// # Errors
/// When it is none that a request may name.
pub fn canonical(authority: Authority) -> Result<Authority, Failure> {
    let text = authority.as_str();
    if text.contains('@') || authority.host().is_empty() {
        return Err(Failure::BadRequest(NO_HOST));
    }
    let port = &text[authority.host().len()..];
    // "+80" is a number to the parser, and no port (RFC 3986 §3.2.3).
    let is_port =
        port.is_empty() || port == ":" || (authority.port_u16().is_some() && !port.contains('+'));
    if !is_port {
        return Err(Failure::BadRequest("the port of Host is no port"));
    }
    // Nearly every request comes with a name that is canonical already.
    let is_plain = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    if is_plain && !text.ends_with(":80") && !text.ends_with(':') {
        return Ok(authority);
    }
    let lower = text.to_ascii_lowercase();
    let short = lower
        .strip_suffix(":80")
        .or(lower.strip_suffix(':'))
        .unwrap_or(&lower);
    Authority::try_from(short).map_err(|_| Failure::BadRequest(NO_HOST))
}

/// The canonical authority of a `Host`. Reading one takes longer than all the rest of a request's
/// check, and clients ask for few.
fn known(host: &HeaderValue) -> Result<Authority, Failure> {
    let bytes = host.as_bytes();
    let at = |place: usize| usize::from(bytes.get(place).copied().unwrap_or_default());
    let place = (bytes.len() + 5 * at(0) + 3 * at(bytes.len() / 2)) % REMEMBERED;
    LATELY.with_borrow_mut(|lately| {
        if let Some((spelt, authority)) = &lately[place]
            && spelt == host
        {
            return Ok(authority.clone());
        }
        let authority = Authority::try_from(bytes).map_err(|_| Failure::BadRequest(NO_HOST))?;
        let authority = canonical(authority)?;
        // A copy, for the value is part of the buffer it was read into.
        if let Ok(spelt) = HeaderValue::from_bytes(bytes) {
            lately[place] = Some((spelt, authority.clone()));
        }
        Ok(authority)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn name(host: &str) -> Option<String> {
        let host = HeaderValue::from_str(host).unwrap();
        known(&host).ok().map(|authority| authority.to_string())
    }

    #[test]
    fn a_host_is_known_by_one_spelling_however_often_and_among_whichever_it_is_asked_for() {
        let more =
            (0..64).map(|number| (format!("H{number}.example"), format!("h{number}.example")));
        let hosts = [
            ("Example.org", "example.org"),
            ("example.org:80", "example.org"),
            ("example.org:8080", "example.org:8080"),
            ("[::1]:8080", "[::1]:8080"),
        ];
        let hosts = hosts.map(|(asked, known)| (asked.to_owned(), known.to_owned()));
        let hosts: Vec<_> = hosts.into_iter().chain(more).collect();
        for _ in 0..2 {
            for (asked, known) in &hosts {
                assert_eq!(name(asked).as_ref(), Some(known));
                assert_eq!(name(asked).as_ref(), Some(known), "at once again");
            }
            for wrong in ["", "a@b", "a:x", "a:+80", "a b"] {
                assert_eq!(name(wrong), None, "{wrong:?}");
            }
        }
    }
}
