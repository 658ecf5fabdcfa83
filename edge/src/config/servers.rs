//! Which Redis servers guests may open.

use redis::{ConnectionAddr, IntoConnectionInfo};
use serde::{Deserialize, Deserializer};

/// The Redis servers that a guest may open connections to; none by default.
///
/// An entry is `redis://HOST[:PORT]`. Who connects, and to which of the server's databases, is
/// said by the guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisServers(Vec<(String, u16)>);

impl RedisServers {
    /// Reads the entries of a list.
    ///
    /// # Errors
    /// Names the entry that is no server.
    pub fn parse(entries: &[String]) -> Result<RedisServers, String> {
        entries
            .iter()
            .map(|entry| parse(entry))
            .collect::<Result<_, _>>()
            .map(RedisServers)
    }

    /// Whether nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the server at this address may be opened.
    pub fn allow(&self, address: &ConnectionAddr) -> bool {
        let ConnectionAddr::Tcp(host, port) = address else {
            return false;
        };
        let mut servers = self.0.iter();
        servers.any(|(allowed, at)| allowed.eq_ignore_ascii_case(host) && at == port)
    }
}

fn parse(entry: &str) -> Result<(String, u16), String> {
    // Without the entry: whoever writes a password here is not to find it in a log.
    let wrong = || "redis: an entry is no server: write \"redis://HOST:PORT\"".to_owned();
    let rest = entry.strip_prefix("redis://").ok_or_else(wrong)?;
    if rest.contains(['@', '/', '?', '#']) {
        return Err(wrong());
    }
    let info = entry.into_connection_info().map_err(|_| wrong())?;
    match info.addr() {
        ConnectionAddr::Tcp(host, port) => Ok((host.clone(), *port)),
        _ => Err(wrong()),
    }
}

impl<'de> Deserialize<'de> for RedisServers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RedisServers, D::Error> {
        let entries = Vec::<String>::deserialize(deserializer)?;
        RedisServers::parse(&entries).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use redis::IntoConnectionInfo;

    use super::RedisServers;

    #[test]
    fn a_server_is_allowed_by_host_and_port_whoever_connects() {
        let entries = ["redis://127.0.0.1:6380", "redis://Cache.internal"];
        let servers = RedisServers::parse(&entries.map(str::to_owned)).expect("they are right");
        for (address, is_allowed) in [
            ("redis://127.0.0.1:6380", true),
            ("redis://user:pass@127.0.0.1:6380/3", true),
            ("redis://cache.internal:6379", true),
            ("redis://127.0.0.1:6379", false),
            ("redis://127.0.0.1:6380@evil.example:6379", false),
            ("redis://evil.example:6379/127.0.0.1:6380", false),
            ("redis://below.cache.internal", false),
            ("unix:///127.0.0.1:6380", false),
        ] {
            let info = address.into_connection_info();
            let allowed = info.is_ok_and(|info| servers.allow(info.addr()));
            assert_eq!(allowed, is_allowed, "{address}");
        }
    }

    #[test]
    fn an_entry_is_a_server_and_nothing_more() {
        for entry in [
            "127.0.0.1:6379",
            "redis://",
            "redis://a:b@127.0.0.1",
            "redis://127.0.0.1/0",
            "rediss://127.0.0.1",
            "unix:///run/redis.sock",
        ] {
            let error = RedisServers::parse(&[entry.to_owned()]).expect_err(entry);
            assert!(!error.contains("a:b"), "{error}");
        }
    }
}
