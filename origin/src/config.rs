//! What the origin is told by its environment.

mod embeddings;

pub use embeddings::{EmbeddingService, EmbeddingSource, Embeddings};

use std::{env, fmt, fs, net::SocketAddr, time::Duration};

use crate::http::jwt::SHORTEST_KEY;

/// How long a replica may take to say where it is, unless it is set otherwise.
pub const REPLICA_DEADLINE: Duration = Duration::from_millis(250);

/// The most events that are inserted at once.
const MAX_BATCH: usize = 10_000;

/// The origin's settings.
#[derive(Clone)]
pub struct Config {
    /// `postgres://user:password@host:port/database`.
    pub database_url: String,
    /// The secret that the edge shows in `x-service-token`.
    pub service_token: String,
    /// What tokens of users (JWT, HS256) are signed with, at least 32 bytes. Without it none of them is believed, and only
    /// sessions say who asks.
    pub jwt_secret: Option<String>,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How many connections to PostgreSQL are kept open for requests.
    pub pool_min: u32,
    /// How many connections to PostgreSQL there may be for requests; the relay has up to three beside
    /// them, and what works on Redis three and one for each worker.
    pub pool_max: u32,
    /// A standby of the same database that may answer reads, as `database_url`.
    pub replica_url: Option<String>,
    /// How long that may take to say where it is, a new connection included, before the primary is read instead.
    pub replica_deadline: Duration,
    /// What lives on Redis.
    pub activity: Activity,
    /// By what courses are searched for what they mean.
    pub embeddings: Embeddings,
}

/// Settings of what lives on Redis: events on their way to the database, and what is never to reach it.
#[derive(Clone, PartialEq, Eq)]
pub struct Activity {
    /// `redis://:password@host:port/`. Without it, what needs Redis answers 503.
    pub redis_url: Option<String>,
    /// How long Redis may take for an answer before it counts as away.
    pub redis_deadline: Duration,
    /// How many events may wait; what comes beyond them is refused.
    pub events_limit: u64,
    /// How many bytes of Redis's memory those that wait may take; what comes beyond them is refused.
    pub events_memory: u64,
    /// How many events are inserted at once.
    pub events_batch: usize,
    /// How many readers of this process insert; with none of them all that waits in Redis is left to other processes.
    pub events_workers: usize,
    /// How often an event that the database refuses is tried.
    pub events_tries: u32,
    /// After how long an event that a reader has taken and not inserted goes to another.
    pub events_claim: Duration,
    /// How many days events are kept, and how old one may be when it comes.
    pub events_retention_days: u16,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            redis_url: None,
            redis_deadline: Duration::from_secs(1),
            events_limit: 1_000_000,
            events_memory: 1 << 30,
            events_batch: 1_000,
            events_workers: 2,
            events_tries: 5,
            events_claim: Duration::from_secs(30),
            events_retention_days: 30,
        }
    }
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
    /// A secret that would be guessed.
    #[error("the secret {0} is shorter than 32 bytes")]
    Short(&'static str),
    /// A file that should hold a secret.
    #[error("cannot read the secret in {path:?}, which {name} names: {reason}")]
    Unreadable {
        /// The variable that names the file.
        name: &'static str,
        /// Its value.
        path: String,
        /// What the system said.
        reason: String,
    },
}

/// Secrets, each with the variable that names a file which holds it.
const FILES: [(&str, &str); 6] = [
    ("DATABASE_URL", "DATABASE_URL_FILE"),
    ("DATABASE_REPLICA_URL", "DATABASE_REPLICA_URL_FILE"),
    ("REDIS_URL", "REDIS_URL_FILE"),
    ("TIDEGATE_SERVICE_TOKEN", "TIDEGATE_SERVICE_TOKEN_FILE"),
    ("TIDEGATE_JWT_SECRET", "TIDEGATE_JWT_SECRET_FILE"),
    ("TIDEGATE_EMBEDDINGS_KEY", "TIDEGATE_EMBEDDINGS_KEY_FILE"),
];

impl Config {
    /// Reads `DATABASE_URL`, `TIDEGATE_SERVICE_TOKEN`, and what is given of `TIDEGATE_JWT_SECRET`, `TIDEGATE_ORIGIN_LISTEN` (127.0.0.1:7070),
    /// `TIDEGATE_POOL_MIN` (2), `TIDEGATE_POOL_MAX` (10), `DATABASE_REPLICA_URL` and
    /// `TIDEGATE_REPLICA_DEADLINE_MS` (250); for activity `REDIS_URL`, `TIDEGATE_REDIS_DEADLINE_MS` (1000),
    /// `TIDEGATE_EVENTS_LIMIT` (1000000), `TIDEGATE_EVENTS_MEMORY` (1073741824), `TIDEGATE_EVENTS_BATCH` (1000),
    /// `TIDEGATE_EVENTS_WORKERS` (2), `TIDEGATE_EVENTS_TRIES` (5), `TIDEGATE_EVENTS_CLAIM_MS` (30000) and
    /// `TIDEGATE_EVENTS_RETENTION_DAYS` (30); for search by meaning `TIDEGATE_EMBEDDINGS_URL`,
    /// `TIDEGATE_EMBEDDINGS_MODEL`, `TIDEGATE_EMBEDDINGS_KEY`, `TIDEGATE_EMBEDDINGS_DIMENSIONS` (1536; 384 without a URL)
    /// and `TIDEGATE_EMBEDDINGS_DEADLINE_MS` (2000).
    ///
    /// What is secret, the URLs included, may stand in a file that the variable with `_FILE` after its name names, without
    /// the white space at its ends; the variable itself goes before.
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
        let secret = |name| match given(name) {
            Some(value) => Ok(Some(value)),
            None => from_file(name, given),
        };
        let required = |name| secret(name)?.ok_or(ConfigError::Missing(name));
        let listen = match given("TIDEGATE_ORIGIN_LISTEN") {
            None => SocketAddr::from(([127, 0, 0, 1], 7070)),
            Some(value) => parsed("TIDEGATE_ORIGIN_LISTEN", value, "an address and a port")?,
        };
        let count = |name, default| match given(name) {
            None => Ok(default),
            Some(value) => parsed::<u32>(name, value, "a whole number"),
        };
        let milliseconds = |name, default| match given(name) {
            None => Ok(default),
            Some(value) => {
                parsed(name, value, "a number of milliseconds").map(Duration::from_millis)
            }
        };
        let usual = Activity::default();
        let activity = Activity {
            redis_url: secret("REDIS_URL")?,
            redis_deadline: milliseconds("TIDEGATE_REDIS_DEADLINE_MS", usual.redis_deadline)?,
            events_limit: u64::from(count("TIDEGATE_EVENTS_LIMIT", 1_000_000)?),
            events_memory: match given("TIDEGATE_EVENTS_MEMORY") {
                None => usual.events_memory,
                Some(value) => parsed("TIDEGATE_EVENTS_MEMORY", value, "a number of bytes")?,
            },
            events_batch: count("TIDEGATE_EVENTS_BATCH", 1_000)? as usize,
            events_workers: count("TIDEGATE_EVENTS_WORKERS", 2)? as usize,
            events_tries: count("TIDEGATE_EVENTS_TRIES", usual.events_tries)?,
            events_claim: milliseconds("TIDEGATE_EVENTS_CLAIM_MS", usual.events_claim)?,
            events_retention_days: match given("TIDEGATE_EVENTS_RETENTION_DAYS") {
                None => usual.events_retention_days,
                Some(value) => parsed(
                    "TIDEGATE_EVENTS_RETENTION_DAYS",
                    value,
                    "a number of days up to 65535",
                )?,
            },
        };
        if activity.events_batch == 0 || activity.events_batch > MAX_BATCH {
            return Err(ConfigError::Malformed {
                name: "TIDEGATE_EVENTS_BATCH",
                value: activity.events_batch.to_string(),
                expected: "from 1 to 10000",
            });
        }
        let config = Self {
            database_url: required("DATABASE_URL")?,
            service_token: required("TIDEGATE_SERVICE_TOKEN")?,
            jwt_secret: secret("TIDEGATE_JWT_SECRET")?,
            listen,
            pool_min: count("TIDEGATE_POOL_MIN", 2)?,
            pool_max: count("TIDEGATE_POOL_MAX", 10)?,
            replica_url: secret("DATABASE_REPLICA_URL")?,
            replica_deadline: match given("TIDEGATE_REPLICA_DEADLINE_MS") {
                None => REPLICA_DEADLINE,
                Some(value) => Duration::from_millis(parsed(
                    "TIDEGATE_REPLICA_DEADLINE_MS",
                    value,
                    "a number of milliseconds",
                )?),
            },
            activity,
            embeddings: Embeddings::from_variables(&given, secret("TIDEGATE_EMBEDDINGS_KEY")?)?,
        };
        let key = config.jwt_secret.as_ref().map(String::len);
        if key.is_some_and(|length| length < SHORTEST_KEY) {
            return Err(ConfigError::Short("TIDEGATE_JWT_SECRET"));
        }
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

/// The secret in the file that the variable beside the secret's own names.
fn from_file(
    secret: &'static str,
    given: impl Fn(&'static str) -> Option<String>,
) -> Result<Option<String>, ConfigError> {
    let file = FILES.iter().find(|(name, _)| *name == secret);
    let Some((name, path)) = file.and_then(|(_, name)| Some((*name, given(name)?))) else {
        return Ok(None);
    };
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(error) => Err(ConfigError::Unreadable {
            name,
            path,
            reason: error.to_string(),
        }),
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
        assert!(config.activity == Activity::default());
        assert!(!format!("{config:?}").contains("secret"));
    }

    #[test]
    fn a_secret_may_stand_in_a_file_and_is_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "a secret of thirty-two bytes or more\n").unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let base = [("DATABASE_URL", "postgres://h/d")];
        let with = |more: &[(&'static str, &str)]| read(&[&base, more].concat());
        let files = [
            ("TIDEGATE_SERVICE_TOKEN_FILE", path.as_str()),
            ("TIDEGATE_JWT_SECRET_FILE", &path),
        ];
        let config = with(&files).unwrap();
        assert_eq!(config.service_token, "a secret of thirty-two bytes or more");
        assert_eq!(config.jwt_secret.as_ref(), Some(&config.service_token));
        assert!(!format!("{config:?}").contains("thirty"));
        let both = with(&[("TIDEGATE_SERVICE_TOKEN", "itself"), files[0]]).unwrap();
        assert_eq!(both.service_token, "itself");
        let refused = with(&[files[0], ("TIDEGATE_JWT_SECRET", "hunter2")]).unwrap_err();
        assert_eq!(refused, ConfigError::Short("TIDEGATE_JWT_SECRET"));
        match with(&[("TIDEGATE_SERVICE_TOKEN_FILE", "/nowhere/at/all")]).unwrap_err() {
            ConfigError::Unreadable { name, .. } => assert_eq!(name, "TIDEGATE_SERVICE_TOKEN_FILE"),
            other => panic!("{other}"),
        }
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
            ("TIDEGATE_EVENTS_BATCH", "0"),
            ("TIDEGATE_EVENTS_MEMORY", "1 GB"),
            ("TIDEGATE_EVENTS_CLAIM_MS", "soon"),
            ("TIDEGATE_EVENTS_RETENTION_DAYS", "70000"),
        ] {
            match read(&[url, token, (name, value)]).unwrap_err() {
                ConfigError::Malformed { name: named, .. } => assert_eq!(named, name),
                other => panic!("{other}"),
            }
        }
    }
}
