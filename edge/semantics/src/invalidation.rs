//! What a write makes fall (RFC 9111 §4.4).

use http::header::{self, HeaderMap};
use http::uri::PathAndQuery;
use http::{Method, StatusCode};

/// Whether a method is safe (RFC 9110 §9.2.1). Methods we do not know are not.
#[must_use]
pub fn is_safe(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    )
}

/// The URIs (path and query) that an answer to an unsafe method invalidates: the target, and what `Location` and
/// `Content-Location` name on the same origin. None if the method is safe or the answer is an error (RFC 9111 §4.4).
#[must_use]
pub fn invalidated(
    method: &Method,
    scheme: &str,
    authority: &str,
    target: &PathAndQuery,
    status: StatusCode,
    response: &HeaderMap,
) -> Vec<PathAndQuery> {
    if is_safe(method) || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let mut uris = vec![target.clone()];
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        for reference in response.get_all(name) {
            let uri = std::str::from_utf8(reference.as_bytes())
                .ok()
                .and_then(|reference| resolve(reference, scheme, authority, target));
            if let Some(uri) = uri
                && !uris.contains(&uri)
            {
                uris.push(uri);
            }
        }
    }
    uris
}

/// An origin in one spelling: lower case, without the scheme's default port (RFC 9110 §4.3.1).
pub(crate) fn origin(scheme: &str, authority: &str) -> String {
    let scheme = scheme.to_ascii_lowercase();
    let authority = authority.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => ":",
    };
    let authority = authority.strip_suffix(default_port).unwrap_or(&authority);
    let authority = authority.strip_suffix(':').unwrap_or(authority);
    format!("{scheme}://{authority}")
}

/// Resolves a URI reference against the target (RFC 3986 §5.2); `None` when it leads to another origin, or nowhere.
fn resolve(
    reference: &str,
    scheme: &str,
    authority: &str,
    target: &PathAndQuery,
) -> Option<PathAndQuery> {
    let reference = reference.trim().split('#').next()?;
    if let Some((other, rest)) = split_scheme(reference) {
        return on_same_origin(other, rest.strip_prefix("//")?, scheme, authority);
    }
    if let Some(rest) = reference.strip_prefix("//") {
        return on_same_origin(scheme, rest, scheme, authority);
    }
    if reference.is_empty() {
        return Some(target.clone());
    }
    if reference.starts_with('/') {
        return normal(reference);
    }
    let base = target.path();
    if reference.starts_with('?') {
        return normal(&format!("{base}{reference}"));
    }
    let folder = &base[..base.rfind('/').map_or(0, |slash| slash + 1)];
    normal(&format!("{folder}{reference}"))
}

fn split_scheme(reference: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = reference.split_once(':')?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme.then_some((scheme, rest))
}

/// The path and query of `rest`, which begins with an authority, if that is ours.
fn on_same_origin(
    other_scheme: &str,
    rest: &str,
    scheme: &str,
    authority: &str,
) -> Option<PathAndQuery> {
    let (other_authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if origin(other_scheme, other_authority) != origin(scheme, authority) {
        return None;
    }
    if path.starts_with('/') {
        normal(path)
    } else {
        normal(&format!("/{path}"))
    }
}

/// A path without `.` and `..` segments (RFC 3986 §5.2.4), with its query.
fn normal(path_and_query: &str) -> Option<PathAndQuery> {
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                // What a dot segment ends with is a folder, and folders end with a slash.
                if is_last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    let path = format!("/{}", kept.join("/"));
    let uri = match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    PathAndQuery::try_from(uri).ok()
}
