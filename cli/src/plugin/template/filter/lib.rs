//! A filter for Tidegate: lets in who brings a key, and says so.

use std::rc::Rc;

use tidegate_sdk::{Filter, Flow, Hooks, Request, Response, filter};

/// What the route's `config` may say.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The field that brings the key.
    header: String,
    /// The keys that are let in.
    keys: Vec<String>,
}

/// Each exchange has a clone: what a hook keeps here, the later hooks find, and nobody else.
#[derive(Clone)]
pub struct Plugin {
    config: Rc<Config>,
}

impl Config {
    /// What decides is an ordinary function, with ordinary tests.
    fn lets_in(&self, key: Option<&[u8]>) -> bool {
        key.is_some_and(|key| self.keys.iter().any(|known| known.as_bytes() == key))
    }
}

impl Filter for Plugin {
    fn hooks(&self) -> Hooks {
        Hooks::ON_REQUEST | Hooks::ON_RESPONSE
    }

    fn new(config: &str) -> Result<Self, String> {
        let config = Rc::new(tidegate_sdk::from_json(config)?);
        Ok(Plugin { config })
    }

    fn on_request(&mut self, request: &Request) -> Flow {
        let key = request.header(&self.config.header);
        if self.config.lets_in(key.as_deref()) {
            Flow::Continue
        } else {
            Flow::Respond(tidegate_sdk::problem(401, "A key is required"))
        }
    }

    fn on_response(&mut self, _request: &Request, response: &Response) {
        // Refused where the response has too many fields already; then it goes without.
        let _ = response.set_header("x-{name}", b"seen");
    }
}

filter!(Plugin);

#[cfg(test)]
mod tests {
    use super::Config;

    #[test]
    fn only_known_keys_are_let_in() {
        let config = Config {
            header: "x-key".to_owned(),
            keys: vec!["open".to_owned()],
        };
        assert!(config.lets_in(Some(b"open")));
        assert!(!config.lets_in(Some(b"opened")));
        assert!(!config.lets_in(None));
    }
}
