//! What a route's cache keys are made of, beside scheme, host and path, which always count.

use std::fmt;

use http::HeaderName;
use http::header::{
    CONNECTION, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
    TE, TRANSFER_ENCODING, UPGRADE,
};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// `[routes.key]`: which requests are for the same thing. What the key ignores, the origin must not
/// look at: the request goes to it unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Key {
    /// Which query parameters count.
    pub query: Query,
    /// Whether parameters of different names may stand in any order.
    pub sort_query: bool,
    /// Request fields whose values count.
    pub headers: Vec<String>,
    /// Cookies whose values count.
    pub cookies: Vec<String>,
    /// Stands in every key of the route: another one is another cache.
    pub prefix: String,
}

/// Query parameters by name; a `*` at the end of a name stands for whatever follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Query {
    /// The query counts as it is written.
    #[default]
    All,
    /// No parameter counts.
    None,
    Only(Vec<String>),
    Except(Vec<String>),
}

impl<'de> Deserialize<'de> for Query {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Query, D::Error> {
        deserializer.deserialize_any(Parameters)
    }
}

/// Reads which parameters count.
struct Parameters;

const SETTINGS: &[&str] = &["all", "none", "only", "except"];

impl<'de> Visitor<'de> for Parameters {
    type Value = Query;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("\"all\", \"none\", { only = [...] } or { except = [...] }")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Query, E> {
        match text {
            "all" => Ok(Query::All),
            "none" => Ok(Query::None),
            _ => Err(E::unknown_variant(text, SETTINGS)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Query, A::Error> {
        let wanted = "query takes one of { only = [...] } and { except = [...] }";
        let query = match map.next_key::<String>()?.as_deref() {
            Some("only") => Query::Only(map.next_value()?),
            Some("except") => Query::Except(map.next_value()?),
            Some(other) => return Err(A::Error::unknown_variant(other, SETTINGS)),
            None => return Err(A::Error::custom(wanted)),
        };
        match map.next_key::<String>()? {
            None => Ok(query),
            Some(_) => Err(A::Error::custom(wanted)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Query, A::Error> {
        let message = "which parameters count: write { only = [...] } or { except = [...] }";
        Err(A::Error::custom(message))
    }
}

/// Fields that a fetch which others share leaves out: what it brings cannot depend on them.
const NOT_SENT: [HeaderName; 6] = [
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    RANGE,
];

impl Key {
    pub(super) fn check(&self) -> Result<(), String> {
        self.header_names()?;
        self.check_cookies()?;
        let (setting, names) = match &self.query {
            Query::All | Query::None => return Ok(()),
            Query::Only(names) => ("key.query.only", names),
            Query::Except(names) => ("key.query.except", names),
        };
        if names.is_empty() {
            return Err(format!("{setting} names no parameter"));
        }
        check_once(setting, names)?;
        for name in names {
            if name.contains(['%', '+', ';']) {
                return Err(format!(
                    "{setting}: {name:?} is compared with decoded names: write the name decoded, \
                     without \"%\", \"+\" or \";\""
                ));
            }
            let stem = name.strip_suffix('*').unwrap_or(name);
            if name.is_empty() || stem.contains(['*', '&', '=', '#']) || stem.contains(is_blank) {
                return Err(format!(
                    "{setting}: {name:?} is no parameter name, nor the beginning of one before a \"*\""
                ));
            }
        }
        Ok(())
    }

    /// The names in `headers`.
    ///
    /// # Errors
    /// When one of them is no field name, stands there twice, or cannot make a difference.
    pub fn header_names(&self) -> Result<Vec<HeaderName>, String> {
        let mut names = Vec::new();
        for text in &self.headers {
            let name = HeaderName::try_from(text)
                .map_err(|_| format!("key.headers: {text:?} is no field name"))?;
            if NOT_SENT.contains(&name) {
                return Err(format!(
                    "key.headers: {text:?} is not sent with a fetch that others share"
                ));
            }
            if ends_at_this_hop(&name) {
                return Err(format!(
                    "key.headers: {text:?} ends at this hop: no origin can look at it"
                ));
            }
            if names.contains(&name) {
                return Err(format!("key.headers: {text:?} stands there twice"));
            }
            names.push(name);
        }
        Ok(names)
    }

    fn check_cookies(&self) -> Result<(), String> {
        check_once("key.cookies", &self.cookies)?;
        // A cookie's name is a token, as a field's is, but its letters keep their case.
        let is_name = |name: &&String| HeaderName::try_from(*name).is_ok();
        if let Some(name) = self.cookies.iter().find(|name| name.contains('*')) {
            return Err(format!(
                "key.cookies: {name:?}: \"*\" stands for nothing here, name each cookie"
            ));
        }
        match self.cookies.iter().find(|name| !is_name(name)) {
            Some(name) => Err(format!("key.cookies: {name:?} is no cookie name")),
            None => Ok(()),
        }
    }
}

/// Whether a field speaks of the connection, not of the message (RFC 9110 §7.6.1).
fn ends_at_this_hop(name: &HeaderName) -> bool {
    [CONNECTION, TE, TRANSFER_ENCODING, UPGRADE].contains(name)
        || name == "keep-alive"
        || name == "tidegate-lsn"
        || name.as_str().starts_with("proxy-")
}

fn is_blank(character: char) -> bool {
    character.is_whitespace() || character.is_control()
}

fn check_once(setting: &str, names: &[String]) -> Result<(), String> {
    let mut rest = names.iter();
    while let Some(name) = rest.next() {
        if rest.as_slice().contains(name) {
            return Err(format!("{setting}: {name:?} stands there twice"));
        }
    }
    Ok(())
}
