//! Where guests may send requests to.

use std::fmt;

use http::Uri;
use serde::{Deserialize, Deserializer};

/// The hosts that a guest may ask; none by default.
///
/// An entry is `HOST`, `HOST:PORT` or `SCHEME://` before either. Without a port it means the one
/// that the scheme has by itself (80), with `:*` all. `*.example.org` means every host below
/// `example.org`, not that one itself; nothing means every host. Names are compared as they are
/// written, without regard to case: an address is never taken for a name, nor a name for its
/// address.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AllowedHosts(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    host: Host,
    port: Port,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// In lower case; of an address of IPv6 with its brackets.
    Named(String),
    /// What follows `*`: a dot and a name.
    Below(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    OfScheme,
    One(u16),
    Any,
}

/// What plain HTTP is served on (RFC 9110 §4.2.1).
const HTTP: u16 = 80;

impl AllowedHosts {
    /// Reads the entries of a list.
    ///
    /// # Errors
    /// The first that is none, and what one looks like.
    pub fn parse(entries: &[String]) -> Result<AllowedHosts, String> {
        let patterns = entries.iter().map(|entry| Pattern::parse(entry));
        patterns.collect::<Result<_, _>>().map(AllowedHosts)
    }

    /// Whether nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a request for this absolute URL may be sent.
    pub fn allows(&self, url: &Uri) -> bool {
        let (Some("http"), Some(authority)) = (url.scheme_str(), url.authority()) else {
            return false;
        };
        let host = authority.host().to_ascii_lowercase();
        let port = authority.port_u16().unwrap_or(HTTP);
        self.0.iter().any(|pattern| pattern.fits(&host, port))
    }
}

impl Pattern {
    fn parse(entry: &str) -> Result<Pattern, String> {
        let wrong = || {
            format!(
                "{entry:?} is no host: write \"api.internal\", \"api.internal:8080\", \"http://api.internal:8080\" or \"*.example.org\""
            )
        };
        let rest = match entry.split_once("://") {
            None => entry,
            Some(("http", rest)) => rest,
            Some(("https", _)) => {
                return Err(format!(
                    "{entry:?}: https is not supported yet for the requests of plugins"
                ));
            }
            Some(_) => return Err(wrong()),
        };
        // A colon inside brackets is of the address, and none is of the port.
        let port_at = rest.rfind(':').filter(|at| !rest[*at..].contains(']'));
        let (host, port) = match port_at {
            None => (rest, Port::OfScheme),
            Some(at) if &rest[at + 1..] == "*" => (&rest[..at], Port::Any),
            Some(at) => {
                let digits = &rest[at + 1..];
                let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
                let port = digits.parse().ok().filter(|port| *port != 0 && is_plain);
                (&rest[..at], Port::One(port.ok_or_else(wrong)?))
            }
        };
        let host = host.to_ascii_lowercase();
        let host = match host.strip_prefix('*') {
            Some(below) if below.strip_prefix('.').is_some_and(is_name) => {
                Host::Below(below.to_owned())
            }
            None if is_name(&host) || is_bracketed(&host) => Host::Named(host),
            _ => return Err(wrong()),
        };
        Ok(Pattern { host, port })
    }

    fn fits(&self, host: &str, port: u16) -> bool {
        let fits_port = match self.port {
            Port::OfScheme => port == HTTP,
            Port::One(one) => port == one,
            Port::Any => true,
        };
        fits_port
            && match &self.host {
                Host::Named(name) => name == host,
                Host::Below(below) => host.strip_suffix(below.as_str()).is_some_and(is_name),
            }
    }
}

/// Whether this is a name of labels, as DNS has them, or an address of IPv4.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !label.is_empty() && label.bytes().all(is_plain)
    };
    name.len() < 254 && name.split('.').all(is_label)
}

fn is_bracketed(host: &str) -> bool {
    let inside = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inside.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
}

impl<'de> Deserialize<'de> for AllowedHosts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AllowedHosts, D::Error> {
        let entries = Vec::<String>::deserialize(deserializer)?;
        AllowedHosts::parse(&entries).map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for AllowedHosts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::AllowedHosts;

    fn parsed(entry: &str) -> Result<AllowedHosts, String> {
        AllowedHosts::parse(&[entry.to_owned()])
    }

    #[test]
    fn an_entry_allows_what_it_says_and_no_more() {
        for (entry, url, expected) in [
            ("api.internal", "http://api.internal/", true),
            ("api.internal", "http://API.internal:80/x?y", true),
            ("api.internal", "http://api.internal:8080/", false),
            ("api.internal", "https://api.internal/", false),
            ("api.internal", "http://xapi.internal/", false),
            ("api.internal", "http://api.internal.example.org/", false),
            ("api.internal", "http://api.internal./", false),
            ("api.internal", "http://api.internal@example.org/", false),
            ("api.internal:8080", "http://api.internal:8080/", true),
            ("api.internal:8080", "http://api.internal/", false),
            (
                "http://api.internal:8080",
                "http://api.internal:8080/",
                true,
            ),
            ("api.internal:*", "http://api.internal:1/", true),
            ("*.example.org", "http://a.example.org/", true),
            ("*.example.org", "http://a.b.example.org/", true),
            ("*.example.org", "http://example.org/", false),
            ("*.example.org", "http://.example.org/", false),
            ("*.example.org", "http://badexample.org/", false),
            ("*.example.org", "http://a.example.org:81/", false),
            ("http://*.example.org:81", "http://a.example.org:81/", true),
            ("127.0.0.1", "http://127.0.0.1/", true),
            ("127.0.0.1", "http://127.1/", false),
            ("127.0.0.1", "http://localhost/", false),
            ("[::1]:80", "http://[::1]/", true),
            ("[::1]", "http://[::1]:8080/", false),
            ("[::1]:8080", "http://[::1]:8080/", true),
            ("[::1]", "http://[0::1]/", false),
            ("api.internal", "/path", false),
        ] {
            let allowed = parsed(entry).expect(entry);
            let url = url.parse().expect(url);
            assert_eq!(allowed.allows(&url), expected, "{entry}: {url}");
        }
        assert!(!AllowedHosts::default().allows(&"http://a/".parse().expect("a URL")));
    }

    #[test]
    fn what_is_no_host_is_refused_with_an_example() {
        for entry in [
            "",
            "*",
            "*:80",
            "*.",
            "a.*",
            "a*.example.org",
            "a/b",
            "http://a/",
            "ftp://a",
            "a:b",
            "a:0",
            "a:+1",
            "a:65536",
            "a:",
            "user@a",
            "a b",
            "::1",
            "[::1",
            "[a]",
            ".a",
            "a..b",
        ] {
            let error = parsed(entry).expect_err(entry);
            assert!(error.contains("is no host"), "{error}");
        }
        let error = parsed("https://a").expect_err("not yet");
        assert!(error.contains("https is not supported yet"), "{error}");
    }
}
