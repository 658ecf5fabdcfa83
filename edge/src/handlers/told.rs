//! What Spin's own host tells a guest of a request in fields. `Router::suffix` of `spin-sdk` 5 goes by
//! them. Out of a request they are taken first: from a client they would be believed.

use std::borrow::Cow;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::router::behind;

/// The path behind that of the route.
const PATH_INFO: HeaderName = HeaderName::from_static("spin-path-info");
/// The URL, with scheme, authority and query.
const FULL_URL: HeaderName = HeaderName::from_static("spin-full-url");

/// Tells the guest of a route with this path of a request in absolute form.
pub(super) fn tell(request: &mut Parts, route: &str) {
    strip(&mut request.headers);
    let url = request.uri.to_string();
    let path_info = path_info(route, request.uri.path());
    let told = [(PATH_INFO, &*path_info), (FULL_URL, url.as_str())];
    for (name, value) in told {
        if let Ok(value) = HeaderValue::try_from(value) {
            request.headers.insert(name, value);
        }
    }
}

/// Takes everything off that is said in Spin's name.
pub(super) fn strip(headers: &mut HeaderMap) {
    let names = headers.keys();
    let spins = names.filter(|name| name.as_str().starts_with("spin-"));
    for name in spins.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

/// What is behind the route's path, from a slash on: of "/a", where that is a route of Spin's
/// `/a/...`. As it is spelt; in its normal form where it is the route's in that alone. All of a path that is not below
/// it, as a filter may make one.
fn path_info<'a>(route: &str, path: &'a str) -> Cow<'a, str> {
    let prefix = route.strip_suffix('/').unwrap_or(route);
    match path.strip_prefix(prefix) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => Cow::Borrowed(rest),
        _ => Cow::Owned(behind(route, path)),
    }
}

#[cfg(test)]
mod tests {
    use super::path_info;

    #[test]
    fn the_path_info_is_what_is_behind_the_routes_path() {
        for (route, path, expected) in [
            ("/", "/", "/"),
            ("/", "/a/b", "/a/b"),
            ("/a", "/a", ""),
            ("/a", "/a/", "/"),
            ("/a", "/a/b/c", "/b/c"),
            ("/a/", "/a/b/", "/b/"),
            ("/a", "/%61/b", "/b"),
            ("/a", "//a/b", "/b"),
            ("/%61", "/a/%62", "/b"),
            ("/a", "/a/%62", "/%62"),
            ("/a", "/ab", "/ab"),
            ("/a", "/b", "/b"),
        ] {
            assert_eq!(path_info(route, path), expected, "{route} {path}");
        }
    }
}
