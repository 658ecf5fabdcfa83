//! Tokens with claims (RFC 7519), signed by a key that both sides have (RFC 7515, RFC 7518 §3.2).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value};

use crate::shallow;
use crate::token::{Algorithm, Token};

/// The claims of a token, if its signature is right, it is valid `now` (seconds since 1970), and
/// it was issued by and for whom the rules name. There is no second algorithm to choose from and
/// no way to name a key: what a token says about itself has to be what was expected.
pub(crate) fn claims(
    token: &str,
    rules: &Token,
    key: &[u8],
    now: u64,
) -> Option<Map<String, Value>> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, payload) = signed.split_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    // Before anything else is made of it: what is not signed may be anything.
    if !is_signed(rules.algorithm, key, signed.as_bytes(), &signature) {
        return None;
    }
    if !is_expected(&shallow::object(header)?, rules.algorithm) {
        return None;
    }
    let claims = shallow::object(payload)?;
    (is_valid(&claims, now) && is_meant(&claims, rules)).then_some(claims)
}

/// Extensions that must be understood are not (RFC 7515 §4.1.11).
fn is_expected(header: &Map<String, Value>, algorithm: Algorithm) -> bool {
    let named = header.get("alg").and_then(Value::as_str);
    named == Some(algorithm.name()) && !header.contains_key("crit")
}

/// In a time that says nothing of the right signature.
fn is_signed(algorithm: Algorithm, key: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    fn verify<M: Mac + KeyInit>(key: &[u8], signed: &[u8], signature: &[u8]) -> bool {
        <M as KeyInit>::new_from_slice(key)
            .is_ok_and(|mac| mac.chain_update(signed).verify_slice(signature).is_ok())
    }
    match algorithm {
        Algorithm::HS256 => verify::<Hmac<sha2::Sha256>>(key, signed, signature),
        Algorithm::HS384 => verify::<Hmac<sha2::Sha384>>(key, signed, signature),
        Algorithm::HS512 => verify::<Hmac<sha2::Sha512>>(key, signed, signature),
    }
}

/// From `nbf` on and before `exp`, where it says those (RFC 7519 §4.1.4, §4.1.5).
fn is_valid(claims: &Map<String, Value>, now: u64) -> bool {
    let now = now as f64;
    let at = |name, holds: fn(f64, f64) -> bool| match claims.get(name) {
        None => true,
        Some(moment) => moment.as_f64().is_some_and(|moment| holds(now, moment)),
    };
    at("exp", |now, exp| now < exp) && at("nbf", |now, nbf| now >= nbf)
}

/// By the issuer and for the audience of the rules (RFC 7519 §4.1.1, §4.1.3).
fn is_meant(claims: &Map<String, Value>, rules: &Token) -> bool {
    let is = |claim: &Value, wanted: &str| claim.as_str() == Some(wanted);
    // There is one issuer: a list of them names nobody.
    let is_by = |issuer: &str| claims.get("iss").is_some_and(|claim| is(claim, issuer));
    let is_for = |audience: &str| match claims.get("aud") {
        Some(Value::Array(texts)) => texts.iter().any(|text| is(text, audience)),
        claim => claim.is_some_and(|claim| is(claim, audience)),
    };
    rules.issuer.as_deref().is_none_or(is_by) && rules.audience.as_deref().is_none_or(is_for)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const KEY: &[u8] = b"a key of thirty-two bytes or more";
    const NOW: u64 = 1_700_000_000;

    fn rules() -> Token {
        serde_json::from_str(r#"{"secret": "s"}"#).unwrap()
    }

    fn signed(header: &str, payload: &str, key: &[u8]) -> String {
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", encoded(header), encoded(payload));
        let mac = <Hmac<sha2::Sha256> as KeyInit>::new_from_slice(key).unwrap();
        let signature = mac.chain_update(signed.as_bytes()).finalize().into_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn subject(token: &str, rules: &Token) -> Option<String> {
        let claims = claims(token, rules, KEY, NOW)?;
        claims.get("sub")?.as_str().map(str::to_owned)
    }

    #[test]
    fn the_example_of_rfc_7515_is_believed_while_it_is_valid() {
        // RFC 7515 appendix A.1.
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                     eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
                     dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let key = URL_SAFE_NO_PAD.decode(key).unwrap();
        let claims = |now| claims(token, &rules(), &key, now);
        assert_eq!(claims(1_300_819_379).unwrap()["iss"], "joe");
        assert_eq!(claims(1_300_819_380), None);
    }

    #[test]
    fn a_token_that_nests_deeply_is_like_others() {
        let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
        let header = format!(r#"{{"alg": "HS256", "x": {deep}}}"#);
        let payload = format!(r#"{{"x": {deep}, "aud": [{deep}, "us"], "sub": "a"}}"#);
        assert_eq!(
            subject(&signed(&header, &payload, KEY), &rules()).as_deref(),
            Some("a")
        );
        assert_eq!(
            subject(&signed(&header, &payload, b"another key"), &rules()),
            None
        );
    }

    #[test]
    fn only_what_is_signed_as_expected_is_believed() {
        let payload = r#"{"sub": "a"}"#;
        let right = signed(r#"{"alg": "HS256"}"#, payload, KEY);
        assert_eq!(subject(&right, &rules()).as_deref(), Some("a"));
        let unsigned = |header: &str| {
            let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
            format!("{}.{}.", encoded(header), encoded(payload))
        };
        let (head, signature) = right.rsplit_once('.').unwrap();
        let other = URL_SAFE_NO_PAD.encode(r#"{"sub": "b"}"#);
        let header = head.split_once('.').unwrap().0;
        for wrong in [
            unsigned(r#"{"alg": "none"}"#),
            unsigned(r#"{"alg": "HS256"}"#),
            signed(r#"{"alg": "none"}"#, payload, KEY),
            signed(r#"{"alg": "HS512"}"#, payload, KEY),
            signed(r#"{"alg": "hs256"}"#, payload, KEY),
            signed("{}", payload, KEY),
            signed(r#"{"alg": "HS256", "crit": ["b64"]}"#, payload, KEY),
            signed(r#"{"alg": "HS256"}"#, payload, b"another key"),
            format!("{header}.{other}.{signature}"),
            format!("{right}="),
            format!("{right}.a"),
            format!("{head}.{}", &signature[..signature.len() - 4]),
            head.to_owned(),
            String::new(),
            "..".to_owned(),
        ] {
            assert_eq!(subject(&wrong, &rules()), None, "{wrong}");
        }
    }

    #[test]
    fn a_token_counts_in_its_time_and_for_whom_it_is_meant() {
        let rules = Token {
            issuer: Some("us".to_owned()),
            audience: Some("edge".to_owned()),
            ..rules()
        };
        for (claims, expected) in [
            (r#""iss": "us", "aud": "edge""#, true),
            (r#""iss": "us", "aud": ["other", "edge"]"#, true),
            (r#""iss": "us", "aud": "other""#, false),
            (r#""iss": "us""#, false),
            (r#""iss": "them", "aud": "edge""#, false),
            (r#""iss": ["us"], "aud": "edge""#, false),
            (r#""iss": ["us", "them"], "aud": "edge""#, false),
            (r#""iss": {"us": 1}, "aud": "edge""#, false),
            (r#""iss": "us", "aud": "edge", "exp": 1700000001"#, true),
            (r#""iss": "us", "aud": "edge", "exp": 1700000000"#, false),
            (r#""iss": "us", "aud": "edge", "exp": "later""#, false),
            (r#""iss": "us", "aud": "edge", "nbf": 1700000000"#, true),
            (r#""iss": "us", "aud": "edge", "nbf": 1700000000.5"#, false),
        ] {
            let payload = format!(r#"{{"sub": "a", {claims}}}"#);
            let token = signed(r#"{"alg": "HS256", "typ": "JWT"}"#, &payload, KEY);
            assert_eq!(subject(&token, &rules).is_some(), expected, "{claims}");
        }
    }
}
