//! Where misses and writes go.

use std::collections::BTreeMap;
use std::time::Duration;

use http::uri::Authority;
use serde::Deserialize;

use super::secret::Secret;
use super::units::{check_not_zero, duration};

/// Fields that the edge sets itself, or that end at the next hop.
const FRAMING: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "tidegate-lsn",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// `[origins.NAME]`: where misses and writes go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// `http://host:port`, without a path.
    pub url: String,
    #[serde(
        default = "Origin::default_connect_timeout",
        deserialize_with = "duration"
    )]
    pub connect_timeout: Duration,
    /// Until the head of the response, and between two parts of its body.
    #[serde(default = "Origin::default_timeout", deserialize_with = "duration")]
    pub timeout: Duration,
    /// How long an upgraded connection (WebSocket, say) may carry nothing, both ways.
    #[serde(
        default = "Origin::default_tunnel_timeout",
        deserialize_with = "duration"
    )]
    pub tunnel_timeout: Duration,
    /// Fields set on every request to it, such as a service token.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// Sends this `Host` instead of the client's.
    pub host: Option<String>,
    /// Whether it reads from replicas of its database, and is to be told in `Tidegate-Lsn` how far
    /// one must have replayed.
    #[serde(default)]
    pub replicas: bool,
    /// Idle connections kept by each worker.
    #[serde(default = "Origin::default_idle_connections")]
    pub idle_connections: usize,
}

impl Origin {
    fn default_connect_timeout() -> Duration {
        Duration::from_secs(2)
    }

    fn default_timeout() -> Duration {
        Duration::from_secs(30)
    }

    fn default_tunnel_timeout() -> Duration {
        Duration::from_secs(5 * 60)
    }

    fn default_idle_connections() -> usize {
        256
    }
}

impl Origin {
    /// The authority to connect to.
    ///
    /// # Errors
    /// A message that says what is wrong with the URL.
    pub fn authority(&self) -> Result<Authority, String> {
        // First of all: the other messages show the URL.
        if self.url.contains('@') {
            return Err("url must not carry credentials".to_owned());
        }
        let url: http::Uri = self
            .url
            .parse()
            .map_err(|error| format!("url {:?}: {error}", self.url))?;
        match url.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(format!(
                    "url {:?}: https to an origin is not supported yet",
                    self.url
                ));
            }
            _ => return Err(format!("url {:?} must start with http://", self.url)),
        }
        if url
            .path_and_query()
            .is_some_and(|path| path.as_str() != "/")
        {
            return Err(format!("url {:?} must not have a path", self.url));
        }
        let authority = url
            .authority()
            .expect("a URL with a scheme has an authority");
        Ok(authority.clone())
    }

    pub(super) fn check(&self) -> Result<(), String> {
        self.authority()?;
        check_not_zero("connect_timeout", self.connect_timeout)?;
        check_not_zero("timeout", self.timeout)?;
        check_not_zero("tunnel_timeout", self.tunnel_timeout)?;
        for (name, value) in &self.headers {
            let field = http::HeaderName::try_from(name.as_str())
                .map_err(|_| format!("headers: {name:?} is no field name"))?;
            if FRAMING.contains(&field.as_str()) {
                return Err(format!(
                    "headers: {name:?} frames or routes each message, and cannot be set for all"
                ));
            }
            http::HeaderValue::try_from(value.expose())
                .map_err(|_| format!("headers: the value of {name:?} is no field value"))?;
        }
        if let Some(host) = &self.host {
            http::HeaderValue::try_from(host.as_str())
                .map_err(|_| format!("host {host:?} is no host"))?;
        }
        Ok(())
    }
}
