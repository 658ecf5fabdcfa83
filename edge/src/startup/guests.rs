//! Which of the configured plugins are filters, and which are handlers: as the routes use them.

use std::collections::{BTreeMap, BTreeSet};

use super::StartError;
use crate::config::{Config, Source};
use crate::handlers::{Handlers, Prepared};

/// The plugins that are loaded as filters: those that no route has for a handler, and those that
/// some route has for a filter as well.
pub(super) fn filters(config: &Config) -> BTreeMap<String, Source> {
    let handlers = handler_names(config);
    let filters: BTreeSet<&str> = config
        .routes
        .iter()
        .flat_map(|route| &route.plugins)
        .map(|used| used.name.as_str())
        .collect();
    let is_filter = |name: &str| filters.contains(name) || !handlers.contains(name);
    let sources = config.plugins.iter();
    sources
        .filter(|(name, _)| is_filter(name))
        .map(|(name, source)| (name.clone(), source.clone()))
        .collect()
}

/// The `wasi:http` guests of a route.
pub(super) struct Guests {
    /// What answers in an origin's place.
    pub(super) handler: Option<Prepared>,
    /// What is around everything, the first outermost.
    pub(super) middleware: Vec<Prepared>,
}

/// The `wasi:http` guests of each route.
///
/// # Errors
/// What is wrong with a component or with its use.
pub(super) fn handlers(
    config: &Config,
    builtin: &[(&str, &[u8])],
) -> Result<Vec<Guests>, StartError> {
    let names = handler_names(config);
    let sources = config.plugins.iter();
    let sources = sources.filter(|(name, _)| names.contains(name.as_str()));
    let handlers = Handlers::load(sources, builtin)?;
    let routes = config.routes.iter().map(|route| {
        let named = |error| StartError::Handler(route.name().to_owned(), error);
        let handler = route.handler.as_ref().map(|used| handlers.prepare(used));
        let middleware = route.middleware.iter();
        let middleware = middleware.map(|used| handlers.prepare_middleware(used));
        Ok(Guests {
            handler: handler.transpose().map_err(named)?,
            middleware: middleware.collect::<Result<_, _>>().map_err(named)?,
        })
    });
    routes.collect()
}

fn handler_names(config: &Config) -> BTreeSet<&str> {
    let handlers = config
        .routes
        .iter()
        .flat_map(|route| route.handler.iter().chain(&route.middleware));
    handlers.map(|used| used.name.as_str()).collect()
}
