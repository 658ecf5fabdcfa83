//! `spin:variables`: the texts of a route's `config`, then its secrets where it grants them.

use wasmtime::component::Accessor;

use super::Spin;
use super::bindings::{classic, current};
use crate::config::{Grant, Use};
use crate::handlers::state::State;

/// What is wrong with a route's `config` for a guest that reads variables.
///
/// # Errors
/// Names a value that is no text.
pub(in crate::handlers) fn check(used: &Use) -> Result<(), String> {
    match used.config.iter().find(|(_, value)| !value.is_str()) {
        None => Ok(()),
        Some((name, _)) => Err(format!("config.{name} is no string, as a variable is")),
    }
}

/// Why there is no value.
enum Missing {
    Name(String),
    Undefined(String),
}

impl State {
    fn variable(&self, name: &str) -> Result<String, Missing> {
        if !is_name(name) {
            return Err(Missing::Name(format!(
                "{name:?} is no name: letters in lower case, digits and single underscores between them"
            )));
        }
        let used = &self.reach.used;
        let text = used.config.get(name).and_then(|value| value.as_str());
        let secret = used.secrets.get(name).map(|secret| secret.expose());
        text.or(secret.filter(|_| self.reach.grants(Grant::Secrets)))
            .map(str::to_owned)
            .ok_or_else(|| Missing::Undefined(format!("no variable named {name:?}")))
    }
}

/// What Spin takes for a variable's name.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(is_plain)
        && !name.contains("__")
        && !name.ends_with('_')
}

impl current::variables::Host for State {}

impl<T: Send + 'static> current::variables::HostWithStore<T> for Spin {
    async fn get(
        accessor: &Accessor<T, Spin>,
        name: String,
    ) -> wasmtime::Result<Result<String, current::variables::Error>> {
        use current::variables::Error;
        let value = accessor.with(|mut access| access.get().variable(&name));
        Ok(value.map_err(|missing| match missing {
            Missing::Name(message) => Error::InvalidName(message),
            Missing::Undefined(message) => Error::Undefined(message),
        }))
    }
}

impl classic::variables::Host for State {
    async fn get(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<String, classic::variables::Error>> {
        use classic::variables::Error;
        Ok(self.variable(&name).map_err(|missing| match missing {
            Missing::Name(message) => Error::InvalidName(message),
            Missing::Undefined(message) => Error::Undefined(message),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn names_are_those_that_spin_takes() {
        for name in ["a", "greeting", "api_key_2", "a1"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "A", "1a", "_a", "a_", "a__b", "a-b", "ä"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
