//! What the configuration says of tokens whose claims count.

use serde::Deserialize;

#[cfg(feature = "claims")]
use crate::{cookie, key, seen::Seen};

/// How a token comes, and by what it is believed.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Token {
    #[serde(default)]
    pub(crate) from: From,
    #[serde(default)]
    pub(crate) algorithm: Algorithm,
    /// The name of the secret that holds the key it is signed with.
    pub(crate) secret: String,
    /// What `iss` must be.
    pub(crate) issuer: Option<String>,
    /// What `aud` must be or contain.
    pub(crate) audience: Option<String>,
}

/// Where a token stands in a request.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum From {
    /// `Authorization: Bearer …` (RFC 6750 §2.1).
    #[default]
    Bearer,
    Header(String),
    Cookie(String),
}

/// How a token is signed (RFC 7518 §3.2). The token has no say in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub(crate) enum Algorithm {
    #[default]
    HS256,
    HS384,
    HS512,
}

impl Algorithm {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Algorithm::HS256 => "HS256",
            Algorithm::HS384 => "HS384",
            Algorithm::HS512 => "HS512",
        }
    }

    /// The bytes that a key has to have.
    pub(crate) fn shortest_key(self) -> usize {
        match self {
            Algorithm::HS256 => 32,
            Algorithm::HS384 => 48,
            Algorithm::HS512 => 64,
        }
    }
}

#[cfg(feature = "claims")]
impl Token {
    /// The key that the route gives.
    ///
    /// # Errors
    /// When there is none, or one that is too short for the algorithm.
    pub(crate) fn key(&self) -> Result<Vec<u8>, String> {
        let Token {
            secret, algorithm, ..
        } = self;
        let key = tidegate_sdk::secrets::get(secret)
            .ok_or_else(|| format!("token: the route has no secret {secret:?}"))?;
        let (name, shortest) = (algorithm.name(), algorithm.shortest_key());
        if key.len() < shortest {
            return Err(format!(
                "token: the secret {secret:?} is too short: a key for {name} has {shortest} bytes or more"
            ));
        }
        Ok(key.into_bytes())
    }

    /// The token of a request, if it has exactly one.
    pub(crate) fn of(&self, seen: &impl Seen) -> Option<String> {
        let value = match &self.from {
            From::Bearer => key::only(seen.header("authorization")),
            From::Header(name) => key::only(seen.header(name)),
            From::Cookie(name) => key::only(cookie::values(name, &seen.header("cookie"))),
        };
        let value = String::from_utf8(value?).ok()?;
        if self.from != From::Bearer {
            return Some(value);
        }
        let (scheme, token) = value.split_once(' ')?;
        let is_bearer = scheme.eq_ignore_ascii_case("bearer");
        is_bearer.then(|| token.trim().to_owned())
    }
}

#[cfg(all(test, feature = "claims"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::Token;
    use crate::seen::Scripted;

    #[test]
    fn a_token_is_found_where_the_configuration_says() {
        let request = Scripted {
            headers: vec![
                ("authorization", b"bearer a.b.c"),
                ("x-token", b"d.e.f"),
                ("cookie", b"t=g.h.i"),
                ("twice", b"1"),
                ("twice", b"2"),
            ],
            ..Scripted::default()
        };
        for (from, expected) in [
            (r#""bearer""#, Some("a.b.c")),
            (r#"{"header": "x-token"}"#, Some("d.e.f")),
            (r#"{"cookie": "t"}"#, Some("g.h.i")),
            (r#"{"cookie": "u"}"#, None),
            (r#"{"header": "twice"}"#, None),
        ] {
            let token = format!(r#"{{"from": {from}, "secret": "s"}}"#);
            let token: Token = serde_json::from_str(&token).unwrap();
            assert_eq!(token.of(&request).as_deref(), expected, "{from}");
        }
    }

    #[test]
    fn other_schemes_bring_no_token() {
        let token: Token = serde_json::from_str(r#"{"secret": "s"}"#).unwrap();
        for value in [&b"Basic a.b.c"[..], b"Bearer", b"a.b.c", b"Bearer \xff"] {
            let request = Scripted {
                headers: vec![("authorization", value)],
                ..Scripted::default()
            };
            assert_eq!(token.of(&request), None, "{value:?}");
        }
    }
}
