//! Tokens that say by themselves who asks: JSON Web Tokens (RFC 7519), signed by HS256 (RFC 7518 section 3.2) with a key
//! that the issuer, the origin and the edge have.
//!
//! There is one algorithm and one key, and a token has no say in either. What is not signed is not looked at.

use std::time::SystemTime;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use time::{Duration, OffsetDateTime};

use crate::http::access::{Asker, Role};

/// How far the issuer's clock may be from ours.
const LEEWAY: Duration = Duration::seconds(5);
/// The longest token that is looked at, in bytes.
const LONGEST: usize = 4_096;
/// The bytes that a key has at least: as many as the hash (RFC 7518 section 3.2).
pub(crate) const SHORTEST_KEY: usize = 32;

/// A key that tokens are signed with.
#[derive(Clone)]
pub(crate) struct Key(Hmac<Sha256>);

/// What a token says about itself.
#[derive(Deserialize)]
struct Header {
    alg: String,
    /// Extensions that must be understood, and are not (RFC 7515 section 4.1.11).
    crit: Option<serde_json::Value>,
}

/// What a token says of who shows it.
#[derive(Deserialize, Serialize)]
struct Claims {
    /// The user's number, as a string (RFC 7519 section 4.1.2).
    sub: String,
    role: Role,
    /// Seconds since 1970, possibly with a fraction (RFC 7519 section 2, NumericDate).
    exp: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<f64>,
}

/// Signs a token for a user, valid before `expires`. For whoever issues tokens: a login of your own, tests, the demo.
pub fn sign(secret: &str, user: i64, role: Role, expires: SystemTime) -> String {
    let user = Asker {
        id: user,
        role,
        until: None,
    };
    Key::new(secret).sign(user, expires.into())
}

impl Key {
    pub(crate) fn new(secret: &str) -> Self {
        let mac = Hmac::new_from_slice(secret.as_bytes());
        Self(mac.expect("a key may have any length"))
    }

    /// A token of the user, valid before `expires`.
    pub(crate) fn sign(&self, user: Asker, expires: OffsetDateTime) -> String {
        let claims = Claims {
            sub: user.id.to_string(),
            role: user.role,
            exp: expires.unix_timestamp() as f64,
            nbf: None,
        };
        let claims = serde_json::to_vec(&claims).expect("claims are strings and finite numbers");
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let mac = self.0.clone().chain_update(signed.as_bytes());
        let signature = mac.finalize().into_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Who shows the token, if it is signed with the key and valid `now`; else what is wrong with it.
    pub(crate) fn verify(&self, token: &str, now: OffsetDateTime) -> Result<Asker, &'static str> {
        if token.len() > LONGEST {
            return Err("the token is too long");
        }
        let malformed = "the token is none that was signed here";
        let (signed, signature) = token.rsplit_once('.').ok_or(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed)?;
        let mac = self.0.clone().chain_update(signed.as_bytes());
        // In a time that says nothing of the right signature.
        mac.verify_slice(&signature).map_err(|_| malformed)?;
        let header: Header = part(header).ok_or(malformed)?;
        if header.alg != "HS256" || header.crit.is_some() {
            return Err(malformed);
        }
        let claims: Claims = part(claims).ok_or("the token lacks sub, role or exp")?;
        let at = |moment: f64, leeway: Duration| moment + leeway.as_seconds_f64();
        let now = now.unix_timestamp_nanos() as f64 / 1e9;
        if now >= at(claims.exp, LEEWAY) {
            return Err("the token has expired");
        }
        if claims.nbf.is_some_and(|nbf| now < at(nbf, -LEEWAY)) {
            return Err("the token is not valid yet");
        }
        let id = claims.sub.parse().ok();
        let id = id.filter(|id: &i64| id.to_string() == claims.sub);
        let id = id.ok_or("the token's sub is no user's number")?;
        Ok(Asker {
            id,
            role: claims.role,
            until: Some(claims.exp as i64),
        })
    }
}

fn part<T: serde::de::DeserializeOwned>(encoded: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const SECRET: &str = "a key of thirty-two bytes or more";

    /// The first moment of 2030.
    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_893_456_000).unwrap()
    }

    fn signed(header: &str, claims: &str, secret: &str) -> String {
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        let signature = mac.chain_update(signed.as_bytes()).finalize().into_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn verify(token: &str) -> Result<Asker, &'static str> {
        Key::new(SECRET).verify(token, now())
    }

    #[test]
    fn a_token_is_believed_until_it_expires() {
        let role = Role::Instructor;
        let until = now() + Duration::SECOND;
        let token = sign(SECRET, 7, role, until.into());
        let asker = Asker {
            id: 7,
            role,
            until: Some(until.unix_timestamp()),
        };
        assert_eq!(verify(&token), Ok(asker));
        for (exp, expected) in [(1, true), (0, true), (-4, true), (-5, false), (-60, false)] {
            let token = sign(SECRET, 7, role, (now() + Duration::seconds(exp)).into());
            assert_eq!(verify(&token).is_ok(), expected, "{exp}");
        }
    }

    #[test]
    fn claims_are_read_as_the_rfc_says_or_not_at_all() {
        let now = now().unix_timestamp();
        for (claims, expected) in [
            (r#""exp": 1e300"#.to_owned(), true),
            (format!(r#""exp": {}.5, "iss": "us", "x": [1]"#, now), true),
            (format!(r#""exp": 1e300, "nbf": {}"#, now + 5), true),
            (format!(r#""exp": 1e300, "nbf": {}"#, now + 6), false),
            (format!(r#""exp": 1e300, "nbf": "{now}""#), false),
            (r#""exp": "1e300""#.to_owned(), false),
            (r#""exp": null"#.to_owned(), false),
            (r#""exp": -1"#.to_owned(), false),
            (r#""iat": 1"#.to_owned(), false),
            (r#""exp": 1e300, "exp": 1"#.to_owned(), false),
        ] {
            let claims = format!(r#"{{"sub": "7", "role": "student", {claims}}}"#);
            let token = signed(r#"{"alg": "HS256"}"#, &claims, SECRET);
            assert_eq!(verify(&token).is_ok(), expected, "{claims}");
        }
        for (claims, expected) in [
            (r#""sub": "7", "role": "admin""#, true),
            (r#""sub": "-7", "role": "admin""#, true),
            (r#""sub": 7, "role": "admin""#, false),
            (r#""sub": "+7", "role": "admin""#, false),
            (r#""sub": "07", "role": "admin""#, false),
            (r#""sub": "", "role": "admin""#, false),
            (r#""sub": "9223372036854775808", "role": "admin""#, false),
            (r#""sub": "7", "role": "root""#, false),
            (r#""sub": "7""#, false),
            (r#""role": "admin""#, false),
        ] {
            let claims = format!(r#"{{"exp": 1e300, {claims}}}"#);
            let token = signed(r#"{"alg": "HS256"}"#, &claims, SECRET);
            assert_eq!(verify(&token).is_ok(), expected, "{claims}");
        }
    }

    #[test]
    fn only_what_is_signed_as_expected_is_believed() {
        let claims = r#"{"sub": "7", "role": "admin", "exp": 1e300}"#;
        let right = signed(r#"{"alg": "HS256"}"#, claims, SECRET);
        assert!(verify(&right).is_ok());
        let (head, signature) = right.rsplit_once('.').unwrap();
        let header = head.split_once('.').unwrap().0;
        let other = URL_SAFE_NO_PAD.encode(claims.replace('7', "8"));
        let unsigned = |header: &str| {
            let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
            format!("{}.{}.", encoded(header), encoded(claims))
        };
        let sha512 = {
            let head = URL_SAFE_NO_PAD.encode(r#"{"alg": "HS512"}"#);
            let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
            let mac = Hmac::<sha2::Sha512>::new_from_slice(SECRET.as_bytes()).unwrap();
            let signature = mac.chain_update(signed.as_bytes()).finalize().into_bytes();
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
        };
        let long = claims.replace('{', &format!("{{\"x\": \"{}\", ", "x".repeat(LONGEST)));
        for wrong in [
            unsigned(r#"{"alg": "none"}"#),
            unsigned(r#"{"alg": "HS256"}"#),
            signed(r#"{"alg": "none"}"#, claims, SECRET),
            signed(r#"{"alg": "HS512"}"#, claims, SECRET),
            signed(r#"{"alg": "hs256"}"#, claims, SECRET),
            signed(r#"{"alg": "HS256", "crit": ["b64"]}"#, claims, SECRET),
            signed("{}", claims, SECRET),
            signed(
                r#"{"alg": "HS256"}"#,
                claims,
                "another key of some thirty bytes",
            ),
            signed(r#"{"alg": "HS256"}"#, claims, ""),
            signed(r#"{"alg": "HS256"}"#, &long, SECRET),
            signed(r#"{"alg": "HS256"}"#, "[]", SECRET),
            sha512,
            format!("{header}.{other}.{signature}"),
            format!("{right}="),
            format!("{right}.a"),
            format!("{head}.{}", &signature[..signature.len() - 4]),
            head.to_owned(),
            "..".to_owned(),
            ".".repeat(LONGEST),
            "\u{0}.\u{0}.\u{0}".to_owned(),
            String::new(),
        ] {
            assert!(verify(&wrong).is_err(), "{wrong}");
        }
    }
}
