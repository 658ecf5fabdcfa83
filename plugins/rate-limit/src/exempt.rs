//! Requests that are not counted.

use serde::Deserialize;

use crate::network::Network;
use crate::seen::Seen;

/// Who and what is exempt.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exempt {
    /// Addresses and networks of clients.
    #[serde(default, deserialize_with = "networks")]
    clients: Vec<Network>,
    /// Whole paths, as sent: a path that only begins like one of them might lead elsewhere.
    #[serde(default)]
    paths: Vec<String>,
}

impl Exempt {
    pub(crate) fn has(&self, seen: &impl Seen) -> bool {
        if !self.paths.is_empty() && self.paths.contains(&seen.path()) {
            return true;
        }
        if self.clients.is_empty() {
            return false;
        }
        let client = seen.client().parse();
        client.is_ok_and(|client| self.clients.iter().any(|network| network.has(client)))
    }

    /// # Errors
    /// When a path can be none.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.paths.iter().find(|path| !path.starts_with('/')) {
            Some(path) => Err(format!("exempt: path {path:?} does not begin with a /")),
            None => Ok(()),
        }
    }
}

fn networks<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Network>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let networks = texts.iter().map(|text| Network::parse(text));
    networks
        .collect::<Result<_, _>>()
        .map_err(serde::de::Error::custom)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::Exempt;
    use crate::seen::Scripted;

    #[test]
    fn exempt_are_networks_and_whole_paths() {
        let exempt: Exempt =
            serde_json::from_str(r#"{"clients": ["10.0.0.0/8"], "paths": ["/health"]}"#).unwrap();
        for (client, path, expected) in [
            ("10.1.2.3", "/a", true),
            ("192.0.2.7", "/health", true),
            ("192.0.2.7", "/a", false),
            ("192.0.2.7", "/health/../a", false),
            ("192.0.2.7", "/healthy", false),
        ] {
            let seen = Scripted {
                client,
                path,
                ..Scripted::default()
            };
            assert_eq!(exempt.has(&seen), expected, "{client} {path}");
        }
    }
}
