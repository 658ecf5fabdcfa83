//! Whose requests count together.

use std::fmt::Write;

use tidegate_sdk::normalized_path;

use crate::config::{By, Without};
use crate::seen::Seen;
use crate::{cookie, network};

/// What a request lacks that it is to be counted by, on a route that then refuses it.
#[derive(Debug, PartialEq)]
pub(crate) struct Nobody<'a>(pub(crate) &'a By);

/// The key of a request: a part for each thing it is counted by.
///
/// Parts say how long they are, so that no two different keys are ever the same text, whatever a
/// client puts into them.
///
/// # Errors
/// [`Nobody`], where something is missing and nothing may stand in for it.
pub(crate) fn of<'a>(
    parts: &'a [By],
    without: Without,
    seen: &impl Seen,
) -> Result<String, Nobody<'a>> {
    let mut key = String::new();
    for by in parts {
        let (name, value) = match (value(by, seen), without) {
            (Some(value), _) => (name(by), value),
            (None, Without::Refuse) => return Err(Nobody(by)),
            // Who leaves it out gains nothing by it.
            (None, Without::Client) => (name(&By::Client), client(seen)),
        };
        append(&mut key, name.as_bytes());
        append(&mut key, &value);
    }
    Ok(key)
}

fn name(by: &By) -> String {
    match by {
        By::Client => "client".to_owned(),
        By::Path => "path".to_owned(),
        By::Header(name) => format!("header {}", name.to_ascii_lowercase()),
        By::Cookie(name) => format!("cookie {name}"),
        By::Claim(name) => format!("claim {name}"),
    }
}

/// None where the request does not have it, or more than once: which of them the origin believes
/// is not known here.
fn value(by: &By, seen: &impl Seen) -> Option<Vec<u8>> {
    match by {
        By::Client => Some(client(seen)),
        By::Path => Some(normalized_path(&seen.path()).into_bytes()),
        By::Header(name) => only(seen.header(name)),
        By::Cookie(name) => only(cookie::values(name, &seen.header("cookie"))),
        By::Claim(name) => seen.claim(name).map(String::into_bytes),
    }
}

/// The one value; an empty one is none.
pub(crate) fn only(mut values: Vec<Vec<u8>>) -> Option<Vec<u8>> {
    let value = values.pop()?;
    (values.is_empty() && !value.is_empty()).then_some(value)
}

fn client(seen: &impl Seen) -> Vec<u8> {
    network::of(&seen.client()).into_bytes()
}

/// Text as it is, anything else in hexadecimal; each under a sign of its own.
fn append(key: &mut String, value: &[u8]) {
    match str::from_utf8(value) {
        Ok(text) => {
            let _ = write!(key, "{}:{text}", text.len());
        }
        Err(_) => {
            let _ = write!(key, "{}x", value.len());
            for byte in value {
                let _ = write!(key, "{byte:02x}");
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::seen::Scripted;
    use std::collections::HashSet;

    fn header() -> By {
        By::Header("X-Key".to_owned())
    }

    fn session() -> By {
        By::Cookie("s".to_owned())
    }

    fn request() -> Scripted {
        Scripted {
            client: "192.0.2.7",
            path: "/a",
            ..Scripted::default()
        }
    }

    fn with(field: &'static str, value: &'static [u8]) -> Scripted {
        Scripted {
            headers: vec![(field, value)],
            ..request()
        }
    }

    fn key(parts: &[By], seen: &Scripted) -> String {
        of(parts, Without::Client, seen).unwrap()
    }

    #[test]
    fn a_key_has_a_part_for_each_thing_it_is_counted_by() {
        let seen = with("cookie", b"a=b; s=42");
        assert_eq!(key(&[By::Client], &seen), "6:client9:192.0.2.7");
        assert_eq!(
            key(&[By::Path, session()], &seen),
            "4:path2:/a8:cookie s2:42"
        );
    }

    #[test]
    fn who_leaves_it_out_counts_by_network_or_is_refused() {
        let claim = By::Claim("sub".to_owned());
        for seen in [
            request(),
            with("X-Key", b""),
            Scripted {
                headers: vec![("X-Key", b"a"), ("X-Key", b"b"), ("cookie", b"s=1; s=2")],
                ..request()
            },
        ] {
            for by in [header(), session(), claim.clone()] {
                let parts = [by];
                assert_eq!(key(&parts, &seen), key(&[By::Client], &seen), "{parts:?}");
                assert_eq!(
                    of(&parts, Without::Refuse, &seen),
                    Err(Nobody(&parts[0])),
                    "{parts:?}"
                );
            }
        }
    }

    #[test]
    fn a_field_that_says_an_address_is_not_that_client() {
        let seen = with("X-Key", b"192.0.2.7");
        assert_ne!(key(&[header()], &seen), key(&[By::Client], &seen));
    }

    #[test]
    fn no_two_different_requests_share_a_key() {
        let parts = [session(), header()];
        let values: [&'static [u8]; 9] = [
            b"a",
            b"aa",
            b"1:a",
            b"a8:cookie s1:a",
            b"a12:header x-key1:a",
            b"\xff",
            b"ff",
            b"1xff",
            b"\xfe",
        ];
        let mut keys = HashSet::new();
        for one in values {
            for other in values {
                let mut cookie = b"s=".to_vec();
                cookie.extend(one);
                let seen = Scripted {
                    headers: vec![("cookie", cookie.leak()), ("X-Key", other)],
                    ..request()
                };
                assert!(keys.insert(key(&parts, &seen)), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn networks_and_paths_count_under_one_name() {
        for (one, other) in [("/%61", "/a"), ("/a%2fb", "/a%2Fb"), ("/b/..//a", "/a")] {
            let at = |path| Scripted { path, ..request() };
            assert_eq!(key(&[By::Path], &at(one)), key(&[By::Path], &at(other)));
        }
        let from = |client| Scripted {
            client,
            ..request()
        };
        assert_eq!(
            key(&[By::Client], &from("2001:db8::1")),
            key(&[By::Client], &from("2001:db8::2"))
        );
    }
}
