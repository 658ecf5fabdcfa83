//! What a request says of itself, as far as limits look at it.

use std::cell::OnceCell;

use tidegate_sdk::Request;

use crate::token::Token;

/// A request, or what stands for one in a test.
pub(crate) trait Seen {
    /// The method, as sent.
    fn method(&self) -> String;
    /// The client's address.
    fn client(&self) -> String;
    /// The path without the query, as sent.
    fn path(&self) -> String;
    /// All values of a field.
    fn header(&self, name: &str) -> Vec<Vec<u8>>;
    /// A claim of the request's token, where that is one to believe, as JSON; an empty one is none.
    fn claim(&self, name: &str) -> Option<String>;
}

/// The request of the exchange. Its token is looked at once, and only when somebody asks.
pub(crate) struct Asked<'a> {
    request: &'a Request,
    token: Option<&'a Token>,
    claims: OnceCell<Option<serde_json::Map<String, serde_json::Value>>>,
}

impl<'a> Asked<'a> {
    pub(crate) fn new(request: &'a Request, token: Option<&'a Token>) -> Asked<'a> {
        Asked {
            request,
            token,
            claims: OnceCell::new(),
        }
    }

    #[cfg(feature = "claims")]
    fn claims(&self) -> Option<serde_json::Map<String, serde_json::Value>> {
        let token = self.token?;
        let key = token.key().ok()?;
        let now = tidegate_sdk::clock::now() / 1_000;
        crate::jwt::claims(&token.of(self)?, token, &key, now)
    }

    #[cfg(not(feature = "claims"))]
    fn claims(&self) -> Option<serde_json::Map<String, serde_json::Value>> {
        self.token.and(None)
    }
}

impl Seen for Asked<'_> {
    fn method(&self) -> String {
        self.request.method()
    }

    fn client(&self) -> String {
        self.request.client()
    }

    fn path(&self) -> String {
        self.request.path()
    }

    fn header(&self, name: &str) -> Vec<Vec<u8>> {
        self.request.header_values(name)
    }

    fn claim(&self, name: &str) -> Option<String> {
        let claims = self.claims.get_or_init(|| self.claims()).as_ref()?;
        somebody(claims.get(name)?)
    }
}

/// Whom a claim names, as JSON; lists, objects and truths name nobody.
fn somebody(claim: &serde_json::Value) -> Option<String> {
    match claim {
        serde_json::Value::String(text) if text.is_empty() => None,
        serde_json::Value::String(_) | serde_json::Value::Number(_) => Some(claim.to_string()),
        _ => None,
    }
}

/// What tests ask about.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct Scripted {
    pub(crate) method: &'static str,
    pub(crate) client: &'static str,
    pub(crate) path: &'static str,
    pub(crate) headers: Vec<(&'static str, &'static [u8])>,
    pub(crate) claims: Vec<(&'static str, &'static str)>,
}

#[cfg(test)]
impl Seen for Scripted {
    fn method(&self) -> String {
        self.method.to_owned()
    }

    fn client(&self) -> String {
        self.client.to_owned()
    }

    fn path(&self) -> String {
        self.path.to_owned()
    }

    fn header(&self, name: &str) -> Vec<Vec<u8>> {
        let values = self.headers.iter().filter(|(other, _)| *other == name);
        values.map(|(_, value)| value.to_vec()).collect()
    }

    fn claim(&self, name: &str) -> Option<String> {
        let mut claims = self.claims.iter().filter(|(other, _)| *other == name);
        claims.next().map(|(_, value)| (*value).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::somebody;

    #[test]
    fn a_claim_names_somebody_or_is_none() {
        for (claim, expected) in [
            (json!("a"), Some("\"a\"")),
            (json!(7), Some("7")),
            (json!("7"), Some("\"7\"")),
            (json!(""), None),
            (json!(["a"]), None),
            (json!({"a": 1}), None),
            (json!(true), None),
            (json!(null), None),
        ] {
            assert_eq!(somebody(&claim).as_deref(), expected, "{claim}");
        }
    }
}
