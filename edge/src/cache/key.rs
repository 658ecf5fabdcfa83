//! The name under which responses are stored: scheme, host, path and query, and what a filter
//! adds, each with its length, so that no part can be forged into another.

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
#[derive(Clone, Copy, Debug)]
pub struct KeyParts<'a> {
    pub scheme: &'static str,
    /// Lower-case, without the scheme's default port.
    pub authority: &'a str,
    pub path_and_query: &'a str,
    /// What the request filters added.
    pub extra: &'a str,
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
}

impl OwnedKeyParts {
    /// The parts, borrowed.
    pub fn as_parts(&self) -> KeyParts<'_> {
        KeyParts {
            scheme: self.scheme,
            authority: &self.authority,
            path_and_query: &self.path_and_query,
            extra: &self.extra,
        }
    }
}

impl KeyParts<'_> {
    /// A copy that outlives the request.
    pub fn to_owned(&self) -> OwnedKeyParts {
        OwnedKeyParts {
            scheme: self.scheme,
            authority: self.authority.to_owned(),
            path_and_query: self.path_and_query.to_owned(),
            extra: self.extra.to_owned(),
        }
    }

    fn parts(&self) -> [&str; 4] {
        [self.scheme, self.authority, self.path_and_query, self.extra]
    }

    /// The key in this process.
    pub fn key(&self, keys: (u64, u64)) -> Key {
        let mut hasher = SipHasher13::new_with_keys(keys.0, keys.1);
        for part in self.parts() {
            hasher.write_usize(part.len());
            hasher.write(part.as_bytes());
        }
        Key(hasher.finish128().as_u128())
    }

    /// The key between processes: of a variant when `variant` is not empty.
    pub fn shared(&self, variant: &[u8]) -> String {
        let mut hasher = blake3::Hasher::new();
        for part in self.parts().map(str::as_bytes).into_iter().chain([variant]) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.finalize().to_hex().to_string()
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
    use super::KeyParts;

    #[test]
    fn no_part_can_be_forged_into_another() {
        let key = |scheme, authority, path_and_query, extra| {
            let parts = KeyParts {
                scheme,
                authority,
                path_and_query,
                extra,
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
}
