//! What the route's configuration may say.

use serde::Deserialize;
use tidegate_sdk::limits;

/// The most windows the edge counts in at once.
const MOST_WINDOWS: usize = 16;
/// The longest window: a leap year.
const LONGEST: u32 = 366 * 86_400;
/// The most units for each second of a window.
const MOST_PER_SECOND: u64 = 1_000_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Routes with the same name count together.
    #[serde(default = "Config::default_name")]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) key: By,
    pub(crate) windows: Vec<Window>,
    /// The status of a refusal.
    #[serde(default = "Config::default_status")]
    pub(crate) status: u16,
}

/// Whose requests count together.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum By {
    /// Those from one address; in IPv6, from one /64.
    #[default]
    Client,
    /// Those with the same value of this field; those without one by client.
    Header(String),
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

    /// What clients know a window by: the limit's name, and the window's length when there are
    /// several.
    pub(crate) fn policy_name(&self, window: &Window) -> String {
        if self.windows.len() == 1 {
            self.name.clone()
        } else {
            format!("{}-{}", self.name, window.seconds)
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
        if self.windows.is_empty() || self.windows.len() > MOST_WINDOWS {
            return Err(format!(
                "windows: 1 to {MOST_WINDOWS} are needed, {} given",
                self.windows.len()
            ));
        }
        if !(400..600).contains(&self.status) {
            return Err(format!("status {} is no error status", self.status));
        }
        if self.key == By::Header(String::new()) {
            return Err("key: the header has no name".to_owned());
        }
        self.windows.iter().try_for_each(Window::check)
    }
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
    use super::{By, Config};

    #[test]
    fn a_configuration_has_defaults() {
        let config = Config::from_json(r#"{"windows": [{"limit": 1, "seconds": 1}]}"#).unwrap();
        assert_eq!((config.name.as_str(), config.status), ("default", 429));
        assert_eq!(config.key, By::Client);
    }

    #[test]
    fn keys_are_the_client_or_a_field() {
        for (key, expected) in [
            (r#""client""#, By::Client),
            (
                r#"{"header": "x-api-key"}"#,
                By::Header("x-api-key".to_owned()),
            ),
        ] {
            let text = format!(r#"{{"key": {key}, "windows": [{{"limit": 1, "seconds": 1}}]}}"#);
            assert_eq!(Config::from_json(&text).unwrap().key, expected);
        }
    }

    #[test]
    fn a_wrong_configuration_is_told_apart() {
        for (text, part) in [
            ("{}", "missing field `windows`"),
            (r#"{"windows": []}"#, "1 to 16 are needed, 0 given"),
            (
                r#"{"windows": [{"limit": 0, "seconds": 1}]}"#,
                "a limit of 0",
            ),
            (
                r#"{"windows": [{"limit": 2000001, "seconds": 2}]}"#,
                "a limit of 2000001",
            ),
            (r#"{"windows": [{"limit": 1, "seconds": 0}]}"#, "0 seconds"),
            (
                r#"{"windows": [{"limit": 1, "seconds": 1}], "status": 200}"#,
                "status 200",
            ),
            (
                r#"{"windows": [{"limit": 1, "seconds": 1}], "name": "a b"}"#,
                "name \"a b\"",
            ),
            (
                r#"{"windows": [{"limit": 1, "seconds": 1}], "key": {"header": ""}}"#,
                "no name",
            ),
            (
                r#"{"windows": [{"limit": 1, "seconds": 1}], "kye": 1}"#,
                "unknown field `kye`",
            ),
        ] {
            let error = Config::from_json(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
