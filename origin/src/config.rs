//! What the origin is told by its environment.

use std::{env, fmt, net::SocketAddr, time::Duration};

/// How long a replica may take to say where it is, unless it is set otherwise.
pub const REPLICA_DEADLINE: Duration = Duration::from_millis(250);

/// The origin's settings.
#[derive(Clone)]
pub struct Config {
    /// `postgres://user:password@host:port/database`.
    pub database_url: String,
    /// The secret that the edge shows in `x-service-token`.
    pub service_token: String,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How many connections to PostgreSQL are kept open for requests.
    pub pool_min: u32,
    /// How many connections to PostgreSQL there may be for requests; the relay has up to three beside them.
    pub pool_max: u32,
    /// A standby of the same database that may answer reads, as `database_url`.
    pub replica_url: Option<String>,
    /// How long that may take to say where it is, a new connection included, before the primary is read instead.
    pub replica_deadline: Duration,
}

/// Why the environment does not make a configuration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A variable without which there is no origin.
    #[error("the environment variable {0} is not set")]
    Missing(&'static str),
    /// A variable whose value cannot be read.
    #[error("the environment variable {name} is {value:?}, which is not {expected}")]
    Malformed {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What would do.
        expected: &'static str,
    },
}

impl Config {
    /// Reads `DATABASE_URL`, `TIDEGATE_SERVICE_TOKEN`, and what is given of `TIDEGATE_ORIGIN_LISTEN` (127.0.0.1:7070),
    /// `TIDEGATE_POOL_MIN` (2), `TIDEGATE_POOL_MAX` (10), `DATABASE_REPLICA_URL` and
    /// `TIDEGATE_REPLICA_DEADLINE_MS` (250).
    ///
    /// # Errors
    /// When a required variable is missing or empty, or one cannot be read.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_variables(|name| env::var(name).ok())
    }

    fn from_variables(
        variable: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let given = |name| variable(name).filter(|value| !value.is_empty());
        let required = |name| given(name).ok_or(ConfigError::Missing(name));
        let listen = match given("TIDEGATE_ORIGIN_LISTEN") {
            None => SocketAddr::from(([127, 0, 0, 1], 7070)),
            Some(value) => parsed("TIDEGATE_ORIGIN_LISTEN", value, "an address and a port")?,
        };
        let count = |name, default| match given(name) {
            None => Ok(default),
            Some(value) => parsed::<u32>(name, value, "a whole number"),
        };
        let config = Self {
            database_url: required("DATABASE_URL")?,
            service_token: required("TIDEGATE_SERVICE_TOKEN")?,
            listen,
            pool_min: count("TIDEGATE_POOL_MIN", 2)?,
            pool_max: count("TIDEGATE_POOL_MAX", 10)?,
            replica_url: given("DATABASE_REPLICA_URL"),
            replica_deadline: match given("TIDEGATE_REPLICA_DEADLINE_MS") {
                None => REPLICA_DEADLINE,
                Some(value) => Duration::from_millis(parsed(
                    "TIDEGATE_REPLICA_DEADLINE_MS",
                    value,
                    "a number of milliseconds",
                )?),
            },
        };
        // With one, each request would wait for each other.
        if config.pool_max < 2 || config.pool_min > config.pool_max {
            return Err(ConfigError::Malformed {
                name: "TIDEGATE_POOL_MAX",
                value: config.pool_max.to_string(),
                expected: "at least 2 and at least TIDEGATE_POOL_MIN",
            });
        }
        Ok(config)
    }
}

/// Leaves out what is secret.
impl fmt::Debug for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Config")
            .field("listen", &self.listen)
            .field("pool_min", &self.pool_min)
            .field("pool_max", &self.pool_max)
            .finish_non_exhaustive()
    }
}

fn parsed<T: std::str::FromStr>(
    name: &'static str,
    value: String,
    expected: &'static str,
) -> Result<T, ConfigError> {
    value.parse().map_err(|_| ConfigError::Malformed {
        name,
        value,
        expected,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn read(variables: &[(&'static str, &str)]) -> Result<Config, ConfigError> {
        Config::from_variables(|name| {
            variables
                .iter()
                .find(|(given, _)| *given == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn defaults_stand_in_for_what_is_not_given() {
        let config = read(&[
            ("DATABASE_URL", "postgres://h/d"),
            ("TIDEGATE_SERVICE_TOKEN", "secret"),
        ])
        .unwrap();
        assert_eq!((config.pool_min, config.pool_max), (2, 10));
        assert_eq!(config.listen, SocketAddr::from(([127, 0, 0, 1], 7070)));
        assert_eq!(config.replica_url, None);
        assert_eq!(config.replica_deadline, REPLICA_DEADLINE);
        assert!(!format!("{config:?}").contains("secret"));
    }

    #[test]
    fn what_is_missing_or_malformed_is_named() {
        let url = ("DATABASE_URL", "postgres://h/d");
        let token = ("TIDEGATE_SERVICE_TOKEN", "secret");
        assert_eq!(
            read(&[token]).unwrap_err(),
            ConfigError::Missing("DATABASE_URL")
        );
        assert_eq!(
            read(&[url, ("TIDEGATE_SERVICE_TOKEN", "")]).unwrap_err(),
            ConfigError::Missing("TIDEGATE_SERVICE_TOKEN")
        );
        for (name, value) in [
            ("TIDEGATE_ORIGIN_LISTEN", "here"),
            ("TIDEGATE_POOL_MAX", "many"),
            ("TIDEGATE_POOL_MAX", "1"),
            ("TIDEGATE_REPLICA_DEADLINE_MS", "1s"),
        ] {
            match read(&[url, token, (name, value)]).unwrap_err() {
                ConfigError::Malformed { name: named, .. } => assert_eq!(named, name),
                other => panic!("{other}"),
            }
        }
    }
}
