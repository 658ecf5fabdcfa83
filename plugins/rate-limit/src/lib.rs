//! Limits how often a client may ask, in several windows at once.
//!
//! ```toml
//! [[routes.plugins]]
//! name = "rate-limit"
//! grants = ["limits"]
//! config = { key = "client", windows = [{ limit = 10, seconds = 60 }, { limit = 500, seconds = 86400 }] }
//! ```
//!
//! The edge counts (GCRA); this guest says whom and what, and tells the client where it stands
//! with `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11).

mod config;
mod cookie;
mod exempt;
mod fields;
#[cfg(feature = "claims")]
mod jwt;
mod key;
mod network;
mod only;
mod reply;
mod seen;
#[cfg(feature = "claims")]
mod shallow;
mod token;

use std::rc::Rc;

use tidegate_sdk::limits::{self, Options};
use tidegate_sdk::{Filter, Flow, Hooks, Request, delivery, filter};

use config::{Config, Mode};
use seen::Asked;

/// The filter: its configuration.
#[derive(Clone)]
pub struct RateLimit(Rc<Config>);

impl Filter for RateLimit {
    fn hooks(&self) -> Hooks {
        Hooks::ON_REQUEST
    }

    fn new(config: &str) -> Result<RateLimit, String> {
        let config = Config::from_json(config)?;
        #[cfg(feature = "claims")]
        config.token.as_ref().map(token::Token::key).transpose()?;
        Ok(RateLimit(Rc::new(config)))
    }

    fn on_request(&mut self, request: &Request) -> Flow {
        let RateLimit(config) = self;
        let asked = Asked::new(request, config.token.as_ref());
        if !config.only.has(&asked) || config.exempt.has(&asked) {
            return Flow::Continue;
        }
        let key = match key::of(&config.key, config.without, &asked) {
            Ok(key) => key,
            Err(_) if config.dry_run => return Flow::Continue,
            Err(nobody) => return Flow::Respond(reply::nobody(&nobody)),
        };
        let windows: Vec<limits::Window> = config.windows.iter().map(Into::into).collect();
        let verdict = limits::take(&config.name, &key, &windows, config.cost, options(config))
            // A cost that cannot be counted is a failure, about which the route decides.
            .expect(
                "the windows were checked with the configuration, and are not too many of one name",
            );
        if config.tells() {
            tell("ratelimit-policy", &fields::policy(config));
            tell("ratelimit", &fields::standing(config, &verdict));
        }
        if verdict.allowed || config.dry_run {
            Flow::Continue
        } else {
            Flow::Respond(reply::refuse(config, &verdict))
        }
    }
}

/// Has the response carry a field, whoever gives it.
fn tell(name: &str, value: &str) {
    delivery::set_header(name, value.as_bytes()).expect(
        "the name of the limit has visible characters only, and two fields are not too many",
    );
}

fn options(config: &Config) -> Options {
    let if_so = |is_so: bool, option: Options| if is_so { option } else { Options::empty() };
    if_so(config.mode == Mode::Async, Options::ASYNCHRONOUS)
        | if_so(config.dry_run, Options::DRY_RUN)
}

filter!(RateLimit);
