//! By what courses are indexed for what they mean.

use std::{ops::RangeInclusive, str::FromStr, time::Duration};

use http::{HeaderValue, Uri};

use super::{ConfigError, parsed};

/// How many numbers a vector has unless it is said otherwise: one made here, and one of a service.
const DIMENSIONS: (usize, usize) = (384, 1_536);
/// What the index of vectors can hold.
const MOST_DIMENSIONS: usize = 2_000;
/// How long a service may take unless it is said otherwise.
const DEADLINE: Duration = Duration::from_secs(2);

/// Settings of the search by meaning.
#[derive(Clone, PartialEq, Eq)]
pub struct Embeddings {
    /// Who makes vectors of texts.
    pub source: EmbeddingSource,
    /// How many numbers a vector has, 1 to 2,000.
    pub dimensions: usize,
    /// How long a service may take for an answer, 30 s at most.
    pub deadline: Duration,
}

/// Who makes vectors of texts.
#[derive(Clone, PartialEq, Eq)]
pub enum EmbeddingSource {
    /// The origin itself, of words and letters alone.
    Local,
    /// A service.
    Http(EmbeddingService),
}

/// A service that makes vectors.
#[derive(Clone, PartialEq, Eq)]
pub struct EmbeddingService {
    pub(crate) url: Uri,
    pub(crate) model: String,
    pub(crate) authorization: Option<HeaderValue>,
}

impl EmbeddingService {
    /// `url` is what is posted to, `http://host:port/path`; `key` goes with it as a bearer token and is shown nowhere.
    /// Nothing when one of the two cannot be used.
    pub fn new(url: &str, model: &str, key: Option<&str>) -> Option<Self> {
        let url: Uri = url.parse().ok()?;
        let is_http = url.scheme_str() == Some("http") && url.host().is_some();
        let bearer = |key: &str| {
            let mut value = HeaderValue::try_from(format!("Bearer {key}")).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        let authorization = match key {
            Some(key) => Some(bearer(key)?),
            None => None,
        };
        is_http.then(|| Self {
            url,
            model: model.to_owned(),
            authorization,
        })
    }
}

impl Default for Embeddings {
    fn default() -> Self {
        Self {
            source: EmbeddingSource::Local,
            dimensions: DIMENSIONS.0,
            deadline: DEADLINE,
        }
    }
}

impl Embeddings {
    /// Reads `TIDEGATE_EMBEDDINGS_URL` (without it the origin makes vectors itself), `TIDEGATE_EMBEDDINGS_MODEL`,
    /// `TIDEGATE_EMBEDDINGS_DIMENSIONS` and `TIDEGATE_EMBEDDINGS_DEADLINE_MS`; `key` is `TIDEGATE_EMBEDDINGS_KEY`.
    pub(super) fn from_variables(
        given: &impl Fn(&'static str) -> Option<String>,
        key: Option<String>,
    ) -> Result<Self, ConfigError> {
        let source = match given("TIDEGATE_EMBEDDINGS_URL") {
            None => EmbeddingSource::Local,
            Some(url) => EmbeddingSource::Http(service(url, key, given)?),
        };
        let usual = match source {
            EmbeddingSource::Local => DIMENSIONS.0,
            EmbeddingSource::Http(_) => DIMENSIONS.1,
        };
        let dimensions = within(
            given,
            "TIDEGATE_EMBEDDINGS_DIMENSIONS",
            1..=MOST_DIMENSIONS,
            "from 1 to 2000",
        )?;
        let dimensions = dimensions.unwrap_or(usual);
        let deadline = within(
            given,
            "TIDEGATE_EMBEDDINGS_DEADLINE_MS",
            1..=30_000,
            "from 1 to 30000",
        )?;
        let deadline = deadline.map_or(DEADLINE, Duration::from_millis);
        Ok(Self {
            source,
            dimensions,
            deadline,
        })
    }
}

/// A number that is given, if it lies within its bounds.
fn within<T: FromStr + PartialOrd>(
    given: &impl Fn(&'static str) -> Option<String>,
    name: &'static str,
    bounds: RangeInclusive<T>,
    expected: &'static str,
) -> Result<Option<T>, ConfigError> {
    let Some(value) = given(name) else {
        return Ok(None);
    };
    let number = parsed(name, value.clone(), expected)?;
    match bounds.contains(&number) {
        true => Ok(Some(number)),
        false => Err(ConfigError::Malformed {
            name,
            value,
            expected,
        }),
    }
}

fn service(
    url: String,
    key: Option<String>,
    given: &impl Fn(&'static str) -> Option<String>,
) -> Result<EmbeddingService, ConfigError> {
    let model = given("TIDEGATE_EMBEDDINGS_MODEL")
        .ok_or(ConfigError::Missing("TIDEGATE_EMBEDDINGS_MODEL"))?;
    if EmbeddingService::new("http://localhost/", "", key.as_deref()).is_none() {
        return Err(ConfigError::Malformed {
            name: "TIDEGATE_EMBEDDINGS_KEY",
            value: "a secret".to_owned(),
            expected: "one line of visible characters",
        });
    }
    EmbeddingService::new(&url, &model, key.as_deref()).ok_or(ConfigError::Malformed {
        name: "TIDEGATE_EMBEDDINGS_URL",
        value: url,
        expected: "an http:// address (for TLS put a proxy in between)",
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn read(
        variables: &[(&'static str, &str)],
        key: Option<&str>,
    ) -> Result<Embeddings, ConfigError> {
        let variable = |name| {
            let given = variables.iter().find(|(given, _)| *given == name);
            given.map(|(_, value)| (*value).to_owned())
        };
        Embeddings::from_variables(&variable, key.map(str::to_owned))
    }

    const URL: (&str, &str) = ("TIDEGATE_EMBEDDINGS_URL", "http://embed:8080/v1/embeddings");
    const MODEL: (&str, &str) = ("TIDEGATE_EMBEDDINGS_MODEL", "small");

    #[test]
    fn vectors_are_made_here_unless_a_service_is_named() {
        assert!(read(&[], None).unwrap() == Embeddings::default());
        let settings = read(&[URL, MODEL], None).unwrap();
        assert_eq!(settings.dimensions, 1_536);
        let EmbeddingSource::Http(service) = settings.source else {
            panic!("a service was named");
        };
        assert_eq!(service.url, URL.1);
        assert_eq!(service.authorization, None);
    }

    #[test]
    fn a_key_is_a_bearer_token_and_is_not_shown() {
        let settings = read(&[URL, MODEL], Some("hush")).unwrap();
        let EmbeddingSource::Http(service) = settings.source else {
            panic!("a service was named");
        };
        let authorization = service.authorization.unwrap();
        assert_eq!(authorization, "Bearer hush");
        assert!(!format!("{authorization:?}").contains("hush"));
        let error = read(&[URL, MODEL], Some("hu\nsh")).err().unwrap();
        let error = error.to_string();
        assert!(
            error.contains("TIDEGATE_EMBEDDINGS_KEY") && !error.contains("hu"),
            "{error}"
        );
    }

    #[test]
    fn what_is_missing_or_malformed_is_named() {
        assert_eq!(
            read(&[URL], None).err(),
            Some(ConfigError::Missing("TIDEGATE_EMBEDDINGS_MODEL"))
        );
        for (name, value) in [
            ("TIDEGATE_EMBEDDINGS_URL", "https://embed/"),
            ("TIDEGATE_EMBEDDINGS_URL", "embed:8080"),
            ("TIDEGATE_EMBEDDINGS_DIMENSIONS", "0"),
            ("TIDEGATE_EMBEDDINGS_DIMENSIONS", "2001"),
            ("TIDEGATE_EMBEDDINGS_DEADLINE_MS", "soon"),
            ("TIDEGATE_EMBEDDINGS_DEADLINE_MS", "30001"),
        ] {
            let mut variables = vec![(name, value), MODEL];
            if name != URL.0 {
                variables.push(URL);
            }
            match read(&variables, None).err().unwrap() {
                ConfigError::Malformed { name: named, .. } => assert_eq!(named, name),
                other => panic!("{other}"),
            }
        }
    }
}
