//! Which of the configured plugins are filters, and which are handlers: as the routes use them.

use std::collections::{BTreeMap, BTreeSet};

use super::StartError;
use crate::config::{Config, Source};
use crate::filters::Library;
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

/// The handler of each route that has one.
///
/// # Errors
/// What is wrong with a component or with its use.
pub(super) fn handlers(
    config: &Config,
    library: Library,
) -> Result<Vec<Option<Prepared>>, StartError> {
    let names = handler_names(config);
    let sources = config.plugins.iter();
    let sources = sources.filter(|(name, _)| names.contains(name.as_str()));
    let handlers = Handlers::load(sources, library)?;
    let routes = config.routes.iter().map(|route| {
        let Some(used) = &route.handler else {
            return Ok(None);
        };
        let named = |error| StartError::Handler(route.name().to_owned(), error);
        handlers.prepare(used).map(Some).map_err(named)
    });
    routes.collect()
}

fn handler_names(config: &Config) -> BTreeSet<&str> {
    let handlers = config
        .routes
        .iter()
        .filter_map(|route| route.handler.as_ref());
    handlers.map(|used| used.name.as_str()).collect()
}
