//! The name under which responses are stored: scheme, host, path and query, what a filter adds and
//! what the route's key policy selects, each with its length, so that no part can be forged into
//! another.

use std::borrow::Cow;
use std::fmt;
use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

/// A primary key (RFC 9111 §2), hashed with this process's own keys: nobody outside can make two
/// requests collide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(u128);

impl Key {
    /// A key beside this one: for the fetch of a variant, say.
    pub fn derive(self, aside: &[u8]) -> Key {
        let mut hasher = SipHasher13::new_with_keys(self.0 as u64, (self.0 >> 64) as u64);
        hasher.write(aside);
        Key(hasher.finish128().as_u128())
    }
}

/// What a primary key is made of.
#[derive(Clone, Debug)]
pub struct KeyParts<'a> {
    pub scheme: &'static str,
    /// Lower-case, without the scheme's default port.
    pub authority: &'a str,
    /// As the route's key policy leaves it.
    pub path_and_query: Cow<'a, str>,
    /// What the request filters added.
    pub extra: &'a str,
    /// See [`KeyPolicy::selection`](super::KeyPolicy::selection); empty where the route has no policy.
    pub selection: Vec<u8>,
}

impl fmt::Display for KeyParts<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, authority) = (self.scheme, self.authority);
        write!(formatter, "{scheme} {authority} {}", self.path_and_query)?;
        if self.extra.is_empty() {
            Ok(())
        } else {
            write!(formatter, " {:?}", self.extra)
        }
    }
}

/// [`KeyParts`] that outlive their request.
#[derive(Clone, Debug)]
pub struct OwnedKeyParts {
    scheme: &'static str,
    authority: String,
    path_and_query: String,
    extra: String,
    selection: Vec<u8>,
}

impl OwnedKeyParts {
    /// The parts, borrowed.
    pub fn as_parts(&self) -> KeyParts<'_> {
        KeyParts {
            scheme: self.scheme,
            authority: &self.authority,
            path_and_query: Cow::Borrowed(&self.path_and_query),
            extra: &self.extra,
            selection: self.selection.clone(),
        }
    }
}

impl KeyParts<'_> {
    /// The same parts of another URL.
    pub fn with_path_and_query<'a>(&'a self, path_and_query: &'a str) -> KeyParts<'a> {
        KeyParts {
            path_and_query: Cow::Borrowed(path_and_query),
            ..self.clone()
        }
    }

    /// A copy that outlives the request.
    pub fn to_owned(&self) -> OwnedKeyParts {
        OwnedKeyParts {
            scheme: self.scheme,
            authority: self.authority.to_owned(),
            path_and_query: self.path_and_query.clone().into_owned(),
            extra: self.extra.to_owned(),
            selection: self.selection.clone(),
        }
    }

    /// The key in this process.
    pub fn key(&self, keys: (u64, u64)) -> Key {
        // Mostly short, and hashed faster at once than part by part.
        let mut near = [0; 256];
        let mut length = 0;
        let mut hasher = SipHasher13::new_with_keys(keys.0, keys.1);
        self.write(|bytes| match near.get_mut(length..length + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                length += bytes.len();
            }
            None => {
                hasher.write(&near[..length]);
                hasher.write(bytes);
                length = 0;
            }
        });
        hasher.write(&near[..length]);
        Key(hasher.finish128().as_u128())
    }

    /// The key between processes: of a variant when `variant` is not empty.
    pub fn shared(&self, variant: &[u8]) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut write = |bytes: &[u8]| {
            hasher.update(bytes);
        };
        self.write(&mut write);
        write(&(variant.len() as u64).to_le_bytes());
        write(variant);
        hasher.finalize().to_hex().to_string()
    }

    /// Every part after its length, so that different parts are never written alike.
    fn write(&self, mut write: impl FnMut(&[u8])) {
        let parts: [&[u8]; 5] = [
            self.scheme.as_bytes(),
            self.authority.as_bytes(),
            self.path_and_query.as_bytes(),
            self.extra.as_bytes(),
            &self.selection,
        ];
        for part in parts {
            write(&(part.len() as u64).to_le_bytes());
            write(part);
        }
    }
}

/// Passes a [`Key`] on as it is: it is a hash already.
#[derive(Clone, Default)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u128(&mut self, key: u128) {
        // The low half suffices: the halves of a keyed hash are independent.
        self.0 = key as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}

/// Builds [`KeyHasher`]s.
pub type KeyState = std::hash::BuildHasherDefault<KeyHasher>;

#[cfg(test)]
mod tests {
    use http::header::COOKIE;
    use http::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::super::policy::KeyPolicy;
    use super::*;

    #[test]
    fn no_part_can_be_forged_into_another() {
        let key = |scheme, authority, path_and_query, extra| {
            let parts = KeyParts {
                scheme,
                authority,
                path_and_query: Cow::Borrowed(path_and_query),
                extra,
                selection: Vec::new(),
            };
            (parts.key((1, 2)), parts.shared(b""))
        };
        let base = key("http", "a.example", "/b?c", "");
        for other in [
            key("https", "a.example", "/b?c", ""),
            key("http", "a.example/b", "?c", ""),
            key("http", "a.exampl", "e/b?c", ""),
            key("http", "a.example", "/b?", "c"),
        ] {
            assert_ne!(base.0, other.0);
            assert_ne!(base.1, other.1);
        }
    }

    #[test]
    fn a_key_of_any_length_is_hashed_as_if_in_one_piece() {
        for length in (0..300).chain([1_000, 16_000]) {
            let path = "/".repeat(length);
            let parts = KeyParts {
                scheme: "http",
                authority: "a.example",
                path_and_query: Cow::Borrowed(&path),
                extra: "b",
                selection: vec![7; length / 3],
            };
            let mut written = Vec::new();
            parts.write(|bytes| written.extend_from_slice(bytes));
            let mut hasher = SipHasher13::new_with_keys(1, 2);
            hasher.write(&written);
            let whole = Key(hasher.finish128().as_u128());
            assert_eq!(parts.key((1, 2)), whole, "{length}");
        }
    }

    /// What a request says, as far as it can be part of a key.
    #[derive(Clone, Debug, PartialEq)]
    struct Said {
        scheme: &'static str,
        host: String,
        path: String,
        query: Option<String>,
        extra: String,
        /// Values of two fields that count.
        headers: [Vec<String>; 2],
        /// Values of two cookies that count.
        cookies: [Vec<String>; 2],
    }

    const HEADERS: [&str; 2] = ["x-a", "x-b"];
    const COOKIES: [&str; 2] = ["a", "b"];

    fn values(pattern: &'static str) -> impl Strategy<Value = [Vec<String>; 2]> {
        let some = || prop::collection::vec(pattern, 0..3);
        [some(), some()]
    }

    /// Few letters, so that what is said twice is often nearly the same.
    fn said() -> impl Strategy<Value = Said> {
        let query = prop::option::of("[ab=&/]{0,4}");
        let scheme = prop::sample::select(vec!["http", "https"]);
        let parts = (scheme, "[ab.:]{0,3}", "/[ab/]{0,3}", query, "[ab/?]{0,3}");
        (parts, values("[ab=:]{0,3}"), values("[ab=:]{0,3}")).prop_map(
            |((scheme, host, path, query, extra), headers, cookies)| Said {
                scheme,
                host,
                path,
                query,
                extra,
                headers,
                cookies,
            },
        )
    }

    /// The same with one thing moved from one place to the next, or changed.
    fn pair() -> impl Strategy<Value = (Said, Said)> {
        let other = (said(), said(), 0..8_usize);
        other.prop_map(|(one, two, at)| {
            let mut other = one.clone();
            match at {
                0 => other.scheme = two.scheme,
                1 => other.host = two.host,
                2 => other.path = two.path,
                3 => other.query = two.query,
                4 => std::mem::swap(&mut other.extra, &mut other.host),
                5 => other.headers.swap(0, 1),
                6 => std::mem::swap(&mut other.headers[1], &mut other.cookies[0]),
                _ => other = two,
            }
            (one, other)
        })
    }

    /// What is hashed, with the policy under which headers and cookies count.
    fn written(said: &Said, policy: &KeyPolicy) -> Vec<u8> {
        let mut request = HeaderMap::new();
        for (name, values) in HEADERS.into_iter().zip(&said.headers) {
            for value in values {
                let value = HeaderValue::from_str(value).expect("visible characters");
                request.append(HeaderName::from_static(name), value);
            }
        }
        let named = COOKIES.into_iter().zip(&said.cookies);
        let pairs: Vec<_> = named
            .flat_map(|(name, values)| values.iter().map(move |value| format!("{name}={value}")))
            .collect();
        let cookie = HeaderValue::from_str(&pairs.join("; ")).expect("visible characters");
        request.insert(COOKIE, cookie);
        let path_and_query = match &said.query {
            Some(query) => format!("{}?{query}", said.path),
            None => said.path.clone(),
        };
        let parts = KeyParts {
            scheme: said.scheme,
            authority: &said.host,
            path_and_query: policy.path_and_query(&path_and_query),
            extra: &said.extra,
            selection: policy.selection(&request),
        };
        let mut written = Vec::new();
        parts.write(|bytes| written.extend_from_slice(bytes));
        written
    }

    proptest! {
        #[test]
        fn different_requests_are_never_written_alike((one, other) in pair()) {
            prop_assume!(one != other);
            let settings = format!("headers = {HEADERS:?}\ncookies = {COOKIES:?}");
            let settings = toml::from_str(&settings).expect("good settings");
            let policy = KeyPolicy::new(&settings).expect("good").expect("not the default");
            prop_assert_ne!(written(&one, &policy), written(&other, &policy));
        }
    }
}
