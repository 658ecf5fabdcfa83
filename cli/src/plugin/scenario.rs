//! A scenario: what a plugin is given, what the origin answers, and step by step what is asked and what has to come of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// The furthest that a step moves the clock: 100 years.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A scenario file, in TOML.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scenario {
    /// What a route says of the plugin: `grants`, `config`, `on_failure`, ….
    #[serde(default)]
    pub(super) plugin: toml::Table,
    /// What else the route says: `ttl`, `stale_if_error`, ….
    #[serde(default)]
    pub(super) route: toml::Table,
    /// What the origin answers, by path; `*` for all others.
    #[serde(default)]
    pub(super) origin: BTreeMap<String, Answer>,
    pub(super) steps: Vec<Step>,
}

/// An answer of the origin.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    #[serde(default = "Answer::ok")]
    pub(super) status: u16,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, OneOrMore>,
    #[serde(default)]
    pub(super) body: String,
}

/// One step: time passes, the origin changes its mind, somebody asks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    pub(super) name: Option<String>,
    /// How far the clock is moved before anything else.
    #[serde(default, deserialize_with = "optional_duration")]
    pub(super) advance: Option<Duration>,
    /// What the origin answers from now on.
    #[serde(default)]
    pub(super) origin: BTreeMap<String, Answer>,
    pub(super) request: Option<Request>,
    /// What has to come of the request.
    pub(super) expect: Option<Expect>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    #[serde(default = "Request::get")]
    pub(super) method: String,
    #[serde(default = "Request::root")]
    pub(super) path: String,
    #[serde(default = "Request::anywhere")]
    pub(super) host: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, OneOrMore>,
    #[serde(default)]
    pub(super) body: String,
    /// The address that the request comes from.
    pub(super) client: Option<std::net::IpAddr>,
}

/// What has to come of a request; what is left out may be as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    pub(super) status: Option<u16>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Wanted>,
    pub(super) body: Option<String>,
    /// Parts of the edge's own `Cache-Status`, such as `hit` or `fwd=uri-miss; stored`.
    pub(super) cache: Option<String>,
    /// What reaches the origin in this step.
    pub(super) origin: Option<Reached>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reached {
    /// How many requests.
    pub(super) requests: Option<usize>,
    /// Of the last of them: its path with the query, and its fields.
    pub(super) path: Option<String>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Wanted>,
}

/// What a field has to be: a value, or there or not.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Wanted {
    Value(String),
    There(bool),
}

/// The values of a field.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    pub(super) fn values(&self) -> &[String] {
        match self {
            OneOrMore::One(value) => std::slice::from_ref(value),
            OneOrMore::More(values) => values,
        }
    }
}

impl Answer {
    fn ok() -> u16 {
        200
    }
}

impl Request {
    fn get() -> String {
        "GET".to_owned()
    }

    fn root() -> String {
        "/".to_owned()
    }

    fn anywhere() -> String {
        "plugin.test".to_owned()
    }
}

impl Step {
    /// What a report calls it.
    pub(super) fn title(&self) -> String {
        match (&self.name, &self.request) {
            (Some(name), _) => name.clone(),
            (None, Some(request)) => format!("{} {}", request.method, request.path),
            (None, None) => "time passes".to_owned(),
        }
    }
}

fn optional_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = || {
        serde::de::Error::custom(format!(
            "{text:?} is no duration: digits and one of ms, s, m, h, d"
        ))
    };
    let digits = text.find(|character: char| !character.is_ascii_digit());
    let (number, unit) = text.split_at(digits.ok_or_else(wrong)?);
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    // What has too many digits for a number is too long all the same.
    let number: Option<u64> = match number {
        "" => return Err(wrong()),
        digits => digits.parse().ok(),
    };
    let total = number.and_then(|number| number.checked_mul(millis));
    match total.map(Duration::from_millis) {
        Some(total) if total <= LONGEST => Ok(Some(total)),
        _ => Err(serde::de::Error::custom(format!(
            "{text:?} is longer than 100 years"
        ))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::Scenario;
    use std::time::Duration;

    #[test]
    fn a_scenario_has_defaults() {
        let scenario: Scenario =
            toml::from_str("[[steps]]\nadvance = \"2m\"\nrequest = { path = \"/a\" }").unwrap();
        let step = &scenario.steps[0];
        assert_eq!(step.advance, Some(Duration::from_secs(120)));
        assert_eq!(step.title(), "GET /a");
    }

    #[test]
    fn what_a_scenario_misspells_is_named() {
        for (text, part) in [
            ("[[steps]]\nadvance = \"2 minutes\"", "2 minutes"),
            (
                "[[steps]]\nexpect = { state = 200 }",
                "unknown field `state`",
            ),
            ("[[step]]", "unknown field `step`"),
        ] {
            let error = toml::from_str::<Scenario>(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
