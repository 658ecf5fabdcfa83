//! Which route a request takes: the first whose host and path fit.

/// Routes in the order of the configuration, each with what belongs to it.
pub struct Router<T> {
    routes: Vec<(HostPattern, String, T)>,
}

enum HostPattern {
    Any,
    Exactly(String),
    /// With its leading dot.
    Below(String),
}

impl<T> Router<T> {
    /// A router over `(host, path prefix, route)`.
    pub fn new(routes: impl IntoIterator<Item = (String, String, T)>) -> Router<T> {
        let routes = routes.into_iter().map(|(host, path, route)| {
            let host = host.to_ascii_lowercase();
            let pattern = match host.strip_prefix('*') {
                Some("") => HostPattern::Any,
                // Without its dot, `*example.org` would fit a name that is somebody else's.
                Some(suffix) if suffix.starts_with('.') => HostPattern::Below(suffix.to_owned()),
                _ => HostPattern::Exactly(host),
            };
            (pattern, path, route)
        });
        Router {
            routes: routes.collect(),
        }
    }

    /// The route for a lower-case authority and a path.
    pub fn find(&self, authority: &str, path: &str) -> Option<&T> {
        let host = without_port(authority);
        let (_, _, route) = self
            .routes
            .iter()
            .find(|(pattern, prefix, _)| pattern.fits(host) && path_fits(prefix, path))?;
        Some(route)
    }

    /// All routes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.routes.iter().map(|(_, _, route)| route)
    }
}

impl HostPattern {
    fn fits(&self, host: &str) -> bool {
        match self {
            HostPattern::Any => true,
            HostPattern::Exactly(exact) => exact == host,
            HostPattern::Below(suffix) => {
                host.len() > suffix.len() && host.ends_with(suffix.as_str())
            }
        }
    }
}

fn path_fits(prefix: &str, path: &str) -> bool {
    // Of everything on a host, `OPTIONS *` is a part too (RFC 9110 §9.3.7).
    if prefix == "/" {
        return true;
    }
    match path.strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'),
        None => false,
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rfind(':') {
        // The colons inside [::1] are part of the address.
        Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::Router;

    #[test]
    fn the_first_fitting_route_is_taken() {
        let routes = [
            ("example.org", "/api", "api"),
            ("*.example.org", "/", "below"),
            ("[::1]", "/", "six"),
            ("*example.net", "/", "nobody"),
            ("*", "/static/", "static"),
            ("*", "/", "rest"),
        ];
        let router =
            Router::new(routes.map(|(host, path, name)| (host.to_owned(), path.to_owned(), name)));
        for (authority, path, expected) in [
            ("example.org", "/api", "api"),
            ("example.org:8080", "/api/x", "api"),
            ("example.org", "/apix", "rest"),
            ("a.example.org", "/api", "below"),
            ("evilexample.org", "/api", "rest"),
            ("evilexample.net", "/", "rest"),
            ("[::1]:80", "/", "six"),
            ("other", "/static/a", "static"),
            ("other", "/static", "rest"),
            ("other", "*", "rest"),
        ] {
            assert_eq!(
                router.find(authority, path),
                Some(&expected),
                "{authority}{path}"
            );
        }
    }
}
