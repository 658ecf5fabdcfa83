//! What the route's configuration may say.

use std::fmt::Write;

use serde::{Deserialize, Deserializer};
use tidegate_sdk::limits;

use crate::exempt::Exempt;
use crate::only::Only;
use crate::token::Token;

/// The most windows the edge counts in at once.
const MOST_WINDOWS: usize = 16;
/// The longest window: a leap year.
const LONGEST: u32 = 366 * 86_400;
/// The most units for each second of a window.
const MOST_PER_SECOND: u64 = 100_000;
/// The longest name of a limit, in bytes.
const LONGEST_NAME: usize = 256;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Routes with the same name count together.
    #[serde(default = "Config::default_name")]
    pub(crate) name: String,
    /// What requests that count together have in common.
    #[serde(default = "Config::default_key", deserialize_with = "one_or_several")]
    pub(crate) key: Vec<By>,
    /// What becomes of a request that lacks a part of its key.
    #[serde(default)]
    pub(crate) without: Without,
    /// The tokens whose claims are believed.
    pub(crate) token: Option<Token>,
    pub(crate) windows: Vec<Window>,
    /// What one request takes.
    #[serde(default = "Config::default_cost")]
    pub(crate) cost: u32,
    #[serde(default)]
    pub(crate) mode: Mode,
    /// Counts and reports, and refuses nobody.
    #[serde(default)]
    pub(crate) dry_run: bool,
    /// Whether responses say where the client stands; not in a dry run, unless it is asked for.
    fields: Option<bool>,
    #[serde(default)]
    pub(crate) only: Only,
    #[serde(default)]
    pub(crate) exempt: Exempt,
    /// The status of a refusal.
    #[serde(default = "Config::default_status")]
    pub(crate) status: u16,
}

/// What a request is counted by.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum By {
    /// The client's address; in IPv6, its /64.
    Client,
    /// The path without the query.
    Path,
    /// The value of a field: whatever the client says.
    Header(String),
    /// The value of a cookie: whatever the client says.
    Cookie(String),
    /// A claim of a token, which has to be signed.
    Claim(String),
}

/// What becomes of a request that lacks a part of its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Without {
    /// The client's network stands in for the part.
    #[default]
    Client,
    /// It is answered 401, or 400.
    Refuse,
}

/// How edges count together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// Each request is counted before it goes on.
    #[default]
    Exact,
    /// A key that is asked about often is decided at once and settled soon after.
    Async,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Window {
    pub(crate) limit: u32,
    pub(crate) seconds: u32,
}

impl From<&Window> for limits::Window {
    fn from(window: &Window) -> limits::Window {
        limits::Window {
            limit: window.limit,
            seconds: window.seconds,
        }
    }
}

impl Config {
    fn default_name() -> String {
        "default".to_owned()
    }

    fn default_key() -> Vec<By> {
        vec![By::Client]
    }

    fn default_cost() -> u32 {
        1
    }

    fn default_status() -> u16 {
        429
    }

    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn from_json(config: &str) -> Result<Config, String> {
        let config: Config = tidegate_sdk::from_json(config)?;
        config.check().map(|()| config)
    }

    /// Whether responses say where the client stands.
    pub(crate) fn tells(&self) -> bool {
        self.fields.unwrap_or(!self.dry_run)
    }

    /// What clients know a window by: the limit's name, and the window's length when there are
    /// several.
    pub(crate) fn policy_name(&self, window: &Window) -> String {
        let mut name = String::new();
        self.write_policy_name(window, &mut name);
        name
    }

    /// The same, behind what has been written.
    pub(crate) fn write_policy_name(&self, window: &Window, written: &mut String) {
        written.push_str(&self.name);
        if self.windows.len() > 1 {
            let _ = write!(written, "-{}", window.seconds);
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.name.is_empty()
            || !self
                .name
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
        {
            return Err(format!(
                "name {:?} has other than visible ASCII characters",
                self.name
            ));
        }
        if self.name.len() > LONGEST_NAME {
            let length = self.name.len();
            return Err(format!("name: {length} bytes, over {LONGEST_NAME}"));
        }
        if self.windows.is_empty() || self.windows.len() > MOST_WINDOWS {
            return Err(format!(
                "windows: 1 to {MOST_WINDOWS} are needed, {} given",
                self.windows.len()
            ));
        }
        let mut lengths: Vec<u32> = self.windows.iter().map(|window| window.seconds).collect();
        lengths.sort_unstable();
        if let Some(pair) = lengths.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("windows: two of {} seconds", pair[0]));
        }
        if !(400..600).contains(&self.status) {
            return Err(format!("status {} is no error status", self.status));
        }
        if self.key.is_empty() {
            return Err("key: the list is empty".to_owned());
        }
        self.key.iter().try_for_each(By::check)?;
        self.check_claims()?;
        self.only.check()?;
        self.exempt.check()?;
        self.windows.iter().try_for_each(Window::check)?;
        let smallest = self.windows.iter().map(|window| window.limit).min();
        if self.cost == 0 || smallest.is_some_and(|limit| self.cost > limit) {
            return Err(format!(
                "cost: {} is not within 1 to the smallest limit",
                self.cost
            ));
        }
        Ok(())
    }

    fn check_claims(&self) -> Result<(), String> {
        let has_claim = self.key.iter().any(|by| matches!(by, By::Claim(_)));
        match &self.token {
            _ if !cfg!(feature = "claims") && (has_claim || self.token.is_some()) => {
                Err("claims of tokens need the plugin builtin:rate-limit-jwt".to_owned())
            }
            None if has_claim => {
                Err("key: a claim needs `token`, which says whom to believe".to_owned())
            }
            Some(_) if !has_claim => Err("token: the key has no claim".to_owned()),
            Some(_) | None => Ok(()),
        }
    }
}

impl By {
    fn check(&self) -> Result<(), String> {
        let (kind, name) = match self {
            By::Client | By::Path => return Ok(()),
            By::Header(name) => ("header", name),
            By::Cookie(name) => ("cookie", name),
            By::Claim(name) if !name.is_empty() => return Ok(()),
            By::Claim(name) => ("claim", name),
        };
        // A token (RFC 9110 §5.6.2), as the names of fields and cookies are.
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(format!("key: {name:?} is no name of a {kind}"));
        }
        Ok(())
    }
}

/// One part, or a list of them.
fn one_or_several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<By>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    let parts = match value {
        serde_json::Value::Array(parts) => parts,
        one => vec![one],
    };
    let parts = parts.into_iter().map(serde_json::from_value);
    parts
        .collect::<Result<_, _>>()
        .map_err(|error| serde::de::Error::custom(format!("key: {error}")))
}

impl Window {
    fn check(&self) -> Result<(), String> {
        if !(1..=LONGEST).contains(&self.seconds) {
            return Err(format!(
                "windows: {} seconds is not within 1 to {LONGEST}",
                self.seconds
            ));
        }
        let most = u64::from(self.seconds) * MOST_PER_SECOND;
        if self.limit == 0 || u64::from(self.limit) > most {
            return Err(format!(
                "windows: a limit of {} in {} seconds is not within 1 to {most}",
                self.limit, self.seconds
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{By, Config, Mode, Without};

    /// A configuration with one window and these members.
    fn with(members: &str) -> Result<Config, String> {
        let comma = if members.is_empty() { "" } else { ", " };
        Config::from_json(&format!(
            r#"{{"windows": [{{"limit": 5, "seconds": 1}}]{comma}{members}}}"#
        ))
    }

    #[test]
    fn a_configuration_has_defaults() {
        let config = with("").unwrap();
        assert_eq!((config.name.as_str(), config.status), ("default", 429));
        assert_eq!(config.key, [By::Client]);
        assert_eq!((config.cost, config.mode), (1, Mode::Exact));
        assert_eq!((config.dry_run, config.without), (false, Without::Client));
    }

    #[test]
    fn keys_are_one_part_or_several() {
        let header = || By::Header("x-api-key".to_owned());
        for (key, expected) in [
            (r#""client""#, vec![By::Client]),
            (r#""path""#, vec![By::Path]),
            (r#"{"header": "x-api-key"}"#, vec![header()]),
            (
                r#"["path", {"header": "x-api-key"}, {"cookie": "s"}]"#,
                vec![By::Path, header(), By::Cookie("s".to_owned())],
            ),
        ] {
            let config = with(&format!(r#""key": {key}"#)).unwrap();
            assert_eq!(config.key, expected);
        }
    }

    #[test]
    fn a_dry_run_tells_clients_nothing_unless_it_is_to() {
        for (members, expected) in [
            ("", true),
            (r#""fields": false"#, false),
            (r#""dry_run": true"#, false),
            (r#""dry_run": true, "fields": true"#, true),
        ] {
            assert_eq!(with(members).unwrap().tells(), expected, "{members}");
        }
    }

    #[test]
    fn wrong_windows_are_told_apart() {
        for (text, part) in [
            ("{}", "missing field `windows`"),
            (r#"{"windows": []}"#, "1 to 16 are needed, 0 given"),
            (
                r#"{"windows": [{"limit": 0, "seconds": 1}]}"#,
                "a limit of 0",
            ),
            (
                r#"{"windows": [{"limit": 200001, "seconds": 2}]}"#,
                "a limit of 200001",
            ),
            (r#"{"windows": [{"limit": 1, "seconds": 0}]}"#, "0 seconds"),
        ] {
            let error = Config::from_json(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_wrong_configuration_is_told_apart() {
        for (members, part) in [
            (r#""status": 200"#, "status 200"),
            (r#""name": "a b""#, "name \"a b\""),
            (r#""name": "a\"b""#, "visible ASCII"),
            (&format!(r#""name": "{}""#, "x".repeat(257)), "257 bytes"),
            (r#""cost": 0"#, "cost: 0"),
            (r#""cost": 6"#, "cost: 6"),
            (r#""mode": "sometimes""#, "unknown variant `sometimes`"),
            (r#""without": "x""#, "unknown variant `x`"),
            (r#""key": []"#, "empty"),
            (r#""key": "x""#, "unknown variant `x`"),
            (r#""key": {"header": ""}"#, "no name of a header"),
            (r#""key": {"header": "a b"}"#, "no name of a header"),
            (
                r#""key": ["client", {"cookie": "a=b"}]"#,
                "no name of a cookie",
            ),
            (r#""key": {"claim": "sub"}"#, "claim"),
            (r#""exempt": {"clients": ["10.0.0.0/99"]}"#, "10.0.0.0/99"),
            (r#""exempt": {"paths": ["a"]}"#, "\"a\""),
            (r#""only": {"methods": ["post"]}"#, "\"post\" is no method"),
            (r#""only": {"paths": ["a/{b}"]}"#, "only: path \"a/{b}\""),
            (r#""only": {"paths": ["/a/{b"]}"#, "only: \"{b\""),
            (r#""kye": 1"#, "unknown field `kye`"),
        ] {
            let error = with(members).unwrap_err();
            assert!(error.contains(part), "{members}: {error}");
        }
    }

    #[cfg(feature = "claims")]
    #[test]
    fn a_claim_needs_somebody_to_believe() {
        for (members, part) in [
            (r#""key": {"claim": ""}, "token": {"secret": "s"}"#, "claim"),
            (r#""key": {"claim": "sub"}"#, "needs `token`"),
            (r#""key": {"claim": "sub"}, "token": {}"#, "secret"),
            (r#""token": {"secret": "s"}"#, "no claim"),
            (
                r#""key": {"claim": "sub"}, "token": {"secret": "s", "algorithm": "none"}"#,
                "unknown variant `none`",
            ),
        ] {
            let error = with(members).unwrap_err();
            assert!(error.contains(part), "{members}: {error}");
        }
        assert!(with(r#""key": {"claim": "sub"}, "token": {"secret": "s"}"#).is_ok());
    }
}
