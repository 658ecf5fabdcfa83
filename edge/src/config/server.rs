//! Listeners and their limits, and what this edge is called.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

use super::secret::Secret;
use super::units::{byte_size, check_not_zero, duration};

/// `[server]`: listeners and their limits.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Where clients connect (HTTP/1.1 and h2c).
    pub listen: SocketAddr,
    /// Where administration listens; none without it.
    pub admin: Option<SocketAddr>,
    /// Required as `Authorization: Bearer …` on everything of the admin listener that changes
    /// something; without it such requests are refused unless the listener is on loopback.
    pub admin_token: Option<Secret>,
    /// Worker threads, one runtime each; 0 means one per core.
    pub workers: usize,
    /// The name in `Via` and `Cache-Status`.
    pub name: String,
    /// What this edge is called among those that follow one purge log; a random word when absent.
    pub instance: Option<String>,
    /// Where it stands: the edges of one region are waited for together.
    pub region: String,
    /// A request head over this many bytes is answered 431.
    #[serde(deserialize_with = "byte_size")]
    pub max_header_bytes: usize,
    /// A request body over this many bytes is answered 413.
    #[serde(deserialize_with = "byte_size")]
    pub max_body_bytes: usize,
    /// How long a connection may be idle, or take to send a request head.
    #[serde(deserialize_with = "duration")]
    pub header_timeout: Duration,
    /// A client that takes nothing of its response for this long is given up.
    #[serde(deserialize_with = "duration")]
    pub write_timeout: Duration,
    /// How long a drain waits for exchanges under way.
    #[serde(deserialize_with = "duration")]
    pub drain_timeout: Duration,
    /// A header in which a trusted front (Fly's proxy, say) names the client's address.
    pub client_address_header: Option<String>,
    /// Whether `Cache-Status` tells the URL that stands in the key.
    pub cache_status_key: bool,
    /// Whether the origin's 102 and 103 are relayed to HTTP/1.1 clients.
    pub interim_responses: bool,
}

impl Default for Server {
    fn default() -> Server {
        Server {
            listen: SocketAddr::from(([0, 0, 0, 0], 8080)),
            admin: None,
            admin_token: None,
            workers: 0,
            name: "tidegate".to_owned(),
            instance: None,
            region: "local".to_owned(),
            max_header_bytes: 64 << 10,
            max_body_bytes: 100 << 20,
            header_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(10),
            client_address_header: None,
            cache_status_key: false,
            interim_responses: true,
        }
    }
}

impl Server {
    pub(super) fn check(&self) -> Result<(), String> {
        if !is_token(&self.name) {
            return Err(format!(
                "server.name: {:?} is no token: letters, digits and signs such as \"-\", \".\" or \"_\"",
                self.name
            ));
        }
        let own = [
            ("server.instance", self.instance.as_deref()),
            ("server.region", Some(&*self.region)),
        ];
        for (setting, name) in own {
            if let Some(name) = name
                && (!is_token(name) || name.len() > MAX_NAME)
            {
                return Err(format!(
                    "{setting}: {name:?} is no token of up to {MAX_NAME} letters, digits and signs such as \"-\""
                ));
            }
        }
        if let Some(token) = &self.admin_token {
            token.check_token("server.admin_token")?;
        }
        check_not_zero("server.header_timeout", self.header_timeout)?;
        check_not_zero("server.write_timeout", self.write_timeout)?;
        if let Some(header) = &self.client_address_header {
            http::HeaderName::try_from(header).map_err(|_| {
                format!("server.client_address_header: {header:?} is no field name")
            })?;
        }
        Ok(())
    }
}

/// Characters of the name of an edge or a region, at most.
const MAX_NAME: usize = 64;

/// A token of RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let is_token_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token_byte)
}
