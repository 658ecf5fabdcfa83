//! Which of many routes is the first that fits, without a look at each.
//!
//! A prefix that fits a path is that path up to one of its slashes, with the slash or without, or all of it. So those
//! that are that long are looked up, and of each the first route whose host fits.

use std::collections::HashMap;

use super::{HostPattern, Routed};

/// From so many routes on they are looked up; fewer are looked at one by one, which needs no table.
pub(super) const MANY: usize = 16;

/// The places of routes by their prefixes.
pub(super) struct Places {
    by_prefix: HashMap<String, Hosts>,
    /// The length of the longest prefix, in bytes.
    longest: usize,
}

/// The places of the routes of one prefix.
#[derive(Default)]
struct Hosts {
    /// Of those for one host, the first.
    exact: HashMap<String, usize>,
    /// Those for more hosts, in order.
    others: Vec<usize>,
}

impl Places {
    /// The places of `routes`, whose prefixes are what `prefix` says.
    pub(super) fn new<T>(routes: &[Routed<T>], prefix: impl Fn(&Routed<T>) -> &str) -> Places {
        let mut by_prefix: HashMap<String, Hosts> = HashMap::new();
        for (place, routed) in routes.iter().enumerate() {
            let hosts = by_prefix.entry(prefix(routed).to_owned()).or_default();
            match &routed.host {
                HostPattern::Exactly(host) => {
                    hosts.exact.entry(host.clone()).or_insert(place);
                }
                HostPattern::Any | HostPattern::Below(_) => hosts.others.push(place),
            }
        }
        let longest = by_prefix.keys().map(String::len).max();
        Places {
            by_prefix,
            longest: longest.unwrap_or(0),
        }
    }

    /// The place of the first of `routes` that fits.
    pub(super) fn first<T>(&self, routes: &[Routed<T>], host: &str, path: &str) -> Option<usize> {
        let fitting = prefixes(path, self.longest);
        let hosts = fitting.filter_map(|prefix| self.by_prefix.get(prefix));
        let places = hosts.filter_map(|hosts| {
            let exact = hosts.exact.get(host).copied();
            let mut others = hosts.others.iter().copied();
            let other = others.find(|place| routes[*place].host.fits(host));
            exact.into_iter().chain(other).min()
        });
        places.min()
    }
}

/// All prefixes that fit a path, as far as they are no longer than `longest`; some of them twice.
fn prefixes(path: &str, longest: usize) -> impl Iterator<Item = &str> {
    let slashes = path.bytes().take(longest + 1).enumerate();
    let slashes = slashes.filter(|(_, byte)| *byte == b'/');
    let ends = slashes.flat_map(|(at, _)| [at, at + 1]);
    let whole = (path.len() <= longest).then_some(path);
    // Of everything on a host, `OPTIONS *` is a part too (RFC 9110 §9.3.7).
    ends.map(|end| &path[..end]).chain(whole).chain(["/"])
}

#[cfg(test)]
mod tests {
    use super::super::{Router, path::EncodedSlash};

    #[test]
    fn what_is_looked_up_is_what_a_look_at_each_finds() {
        let hosts = ["*", "a.test", "*.test", "b.test", "*.a.test", "[::1]"];
        let paths = [
            "/", "/a", "/a/", "/a/b", "/a/b/", "/ab", "/a%2Fb", "/a%2fb/c", "/b/c/d/e", "//a",
            "/a/./b",
        ];
        let asked_hosts = ["a.test", "b.test", "x.a.test", "test", "[::1]", ""];
        let asked_paths = [
            "/",
            "",
            "*",
            "/a",
            "/a/",
            "/a/b",
            "/a/b/c",
            "/ab",
            "/abc",
            "/a%2Fb",
            "/a%2Fb/c/d",
            "/b/c/d/e/f",
            "/b/c/d",
            "a",
            "a/b",
            "/c/a/b",
        ];
        // Orders in which each of the routes is now before, now behind each other one.
        for step in [1, 5, 7, 35, 61] {
            let count = hosts.len() * paths.len();
            let routes = (0..count).map(|number| {
                let at = number * step % count;
                let (host, path) = (hosts[at % hosts.len()], paths[at / hosts.len()]);
                (host.to_owned(), path.to_owned(), at)
            });
            // With the first ones left out, others come to be the first.
            for left_out in [0, 1, 20, 45] {
                let router = Router::new(routes.clone().skip(left_out));
                assert!(router.places.is_some());
                for host in asked_hosts {
                    for path in asked_paths {
                        for slash in [EncodedSlash::Data, EncodedSlash::Slash] {
                            assert_eq!(
                                router.place(host, path, slash),
                                router.look_at_each(host, path, slash),
                                "{host}{path}, {slash:?}, by {step} without {left_out}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn no_more_of_a_path_is_looked_up_than_a_prefix_can_be_long() {
        let path = "/".repeat(10_000);
        assert!(super::prefixes(&path, 3).all(|prefix| prefix.len() <= 4));
        assert!(super::prefixes(&path, 3).count() < 10);
    }
}
