//! Which route a request takes: the first whose host and path fit.
//!
//! A path is compared in its normal form, so that no spelling of it goes around what its route has
//! in its way. Where an origin may read it in another way that fits another route, there is no route
//! to take: the origin gets the path as it is spelt, and would answer behind the wrong one's gates.

mod path;
mod places;

use std::borrow::Cow;

use path::EncodedSlash;
use places::{MANY, Places};

/// Routes in the order of the configuration, each with what belongs to it.
pub struct Router<T> {
    routes: Vec<Routed<T>>,
    /// Where they are many: by prefix, with an encoded slash as data, and as a slash.
    places: Option<[Places; 2]>,
}

/// Why a request takes no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrouted {
    /// None fits.
    NoRoute,
    /// One fits, and another one if the path is read in another way.
    Ambiguous,
}

struct Routed<T> {
    host: HostPattern,
    /// The prefix in its normal form.
    path: String,
    /// The same where an encoded slash is read as a slash.
    open_path: String,
    route: T,
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
            let host = host.strip_suffix('.').unwrap_or(&host);
            let host = match host.strip_prefix('*') {
                Some("") => HostPattern::Any,
                // Without its dot, `*example.org` would fit a name that is somebody else's.
                Some(suffix) if suffix.starts_with('.') => HostPattern::Below(suffix.to_owned()),
                _ => HostPattern::Exactly(host.to_owned()),
            };
            Routed {
                host,
                path: path::normal(&path, EncodedSlash::Data),
                open_path: path::normal(&path, EncodedSlash::Slash),
                route,
            }
        });
        let routes: Vec<_> = routes.collect();
        let places = (routes.len() >= MANY).then(|| {
            [EncodedSlash::Data, EncodedSlash::Slash]
                .map(|slash| Places::new(&routes, |routed| routed.prefix(slash)))
        });
        Router { routes, places }
    }

    /// The route for a lower-case authority and a path, however that is spelt.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self, authority: &str, path: &str) -> Result<&T, Unrouted> {
        let host = without_port(authority);
        // A name that ends at the root of all names is the same name (RFC 1034 §3.1).
        let host = host.strip_suffix('.').unwrap_or(host);
        let is_plain = path::is_plain(path);
        let normal = match is_plain {
            true => Cow::Borrowed(path),
            false => Cow::Owned(path::normal(path, EncodedSlash::Data)),
        };
        let place = self.place(host, &normal, EncodedSlash::Data);
        let fits_too =
            |(path, slash): &(String, EncodedSlash)| self.place(host, path, *slash) != place;
        if !is_plain && path::other_readings(path).iter().any(fits_too) {
            return Err(Unrouted::Ambiguous);
        }
        let place = place.ok_or(Unrouted::NoRoute)?;
        Ok(&self.routes[place].route)
    }

    /// All routes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.routes.iter().map(|routed| &routed.route)
    }

    /// The place of the first route that fits.
    fn place(&self, host: &str, path: &str, slash: EncodedSlash) -> Option<usize> {
        let Some([as_data, as_slash]) = &self.places else {
            return self.look_at_each(host, path, slash);
        };
        let places = match slash {
            EncodedSlash::Data => as_data,
            EncodedSlash::Slash => as_slash,
        };
        places.first(&self.routes, host, path)
    }

    fn look_at_each(&self, host: &str, path: &str, slash: EncodedSlash) -> Option<usize> {
        let mut routes = self.routes.iter();
        routes.position(|routed| routed.host.fits(host) && path_fits(routed.prefix(slash), path))
    }
}

impl<T> Routed<T> {
    fn prefix(&self, slash: EncodedSlash) -> &str {
        match slash {
            EncodedSlash::Data => &self.path,
            EncodedSlash::Slash => &self.open_path,
        }
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

/// What is behind a route's prefix in the normal form of a path that takes the route; all of it where the
/// path does not fit the prefix.
pub fn behind(prefix: &str, path: &str) -> String {
    let prefix = path::normal(prefix, EncodedSlash::Data);
    let prefix = prefix.strip_suffix('/').unwrap_or(&prefix);
    let path = path::normal(path, EncodedSlash::Data);
    match path.strip_prefix(prefix) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest.to_owned(),
        _ => path,
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
    use super::{Router, Unrouted};

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
                Ok(&expected),
                "{authority}{path}"
            );
        }
    }

    fn members() -> Router<&'static str> {
        let routes = [("/members", "members"), ("/files/", "files"), ("/", "rest")];
        Router::new(routes.map(|(path, name)| ("*".to_owned(), path.to_owned(), name)))
    }

    #[test]
    fn no_spelling_goes_around_a_route() {
        let router = members();
        for path in [
            "/members",
            "/members/",
            "/members/1",
            "/%6dembers",
            "/%6D%65mbers/1",
            "/members//1",
            "/.//members",
            "///members//1",
            "/./members",
            "/%2e/members/./1",
            "/members/a/../b",
            "/members/a%2Fb",
        ] {
            assert_eq!(router.find("a", path), Ok(&"members"), "{path}");
        }
        for path in [
            "/Members",
            "/memb%65rsx",
            "/%256dembers",
            "/a%2Fb",
            "/a/../b",
        ] {
            assert_eq!(router.find("a", path), Ok(&"rest"), "{path}");
        }
    }

    #[test]
    fn a_path_that_may_be_that_of_another_route_has_none() {
        let router = members();
        for path in [
            "/x/../members",
            "/x/%2e%2e/members",
            "/members/../x",
            "/members/..",
            "/members%2f1",
            "/members%2F..%2Fx",
            "/x%2F..%2fmembers",
            "/x/..%2fmembers",
            "/%2Fmembers",
            // RFC 3986 to the letter goes up from the empty segment, others from the one before it.
            "/members//../x",
            "/x/../members//../y",
            "/members/../x/%2e%2e/%2e%2e/members",
            // As a reference, the path of a host: "/" of "members", "/members" of "x".
            "//members",
            "//members/x",
            "//x/members",
        ] {
            let found = router.find("a", path);
            assert_eq!(found, Err(Unrouted::Ambiguous), "{path}");
        }
        // Of several routes alone: where all readings lead to one, it is taken.
        let one = Router::new([("*".to_owned(), "/".to_owned(), "one")]);
        assert_eq!(one.find("a", "/x/../members//..%2F"), Ok(&"one"));
    }

    #[test]
    fn a_name_is_the_same_with_the_dot_of_the_root() {
        let routes = [("a.test", 1), ("b.test.", 2), ("*.c.test", 3), ("*", 4)];
        let router = Router::new(routes.map(|(host, at)| (host.to_owned(), "/".to_owned(), at)));
        for (host, expected) in [
            ("a.test.", 1),
            ("a.test.:8080", 1),
            ("b.test", 2),
            ("x.c.test.", 3),
            ("a.test..", 4),
            (".", 4),
        ] {
            assert_eq!(router.find(host, "/x"), Ok(&expected), "{host}");
        }
    }

    #[test]
    fn routes_are_found_however_their_own_paths_are_spelt() {
        let routes = ["/%7euser", "/a//b/", "/g%2fp", "/g"];
        let router = Router::new(routes.map(|path| ("*".to_owned(), path.to_owned(), path)));
        for (path, expected) in [
            ("/~user/x", Ok(&"/%7euser")),
            ("/%7Euser", Ok(&"/%7euser")),
            ("/a/b/c", Ok(&"/a//b/")),
            ("/g%2Fp/x", Ok(&"/g%2fp")),
            ("/g%2fp", Ok(&"/g%2fp")),
            // What an origin that reads both alike takes for the one before it.
            ("/g/p", Ok(&"/g")),
            ("/", Err(Unrouted::NoRoute)),
        ] {
            assert_eq!(router.find("a", path), expected, "{path}");
        }
    }
}
