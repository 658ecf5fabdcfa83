//! The plugins of a configuration, loaded as what the routes use them for: filters, or handlers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::StartError;
use crate::clock::Clock;
use crate::config::{Config, Source};
use crate::filters::{Builtin, Chain, Library, PluginError, Plugins};
use crate::handlers::{Handlers, Prepared};
use crate::telemetry::Metrics;
use crate::wasm::Roster;

/// The guests of a configuration, loaded.
pub(super) struct Guests {
    /// Of each route, in their order.
    pub(super) chains: Vec<Chain>,
    /// Of each route too.
    pub(super) handlers: Vec<Surroundings>,
    /// What replaces them.
    pub(super) roster: Arc<Roster>,
}

/// The `wasi:http` guests of a route.
pub(super) struct Surroundings {
    /// What answers in an origin's place.
    pub(super) handler: Option<Prepared>,
    /// What is around everything, the first outermost.
    pub(super) middleware: Vec<Prepared>,
}

/// Reads, compiles and asks all guests of a configuration as a start would, and keeps nothing: also no
/// compiled code.
///
/// # Errors
/// What is wrong with a component or with its use.
pub fn check(config: &Config, builtin: Builtin) -> Result<(), StartError> {
    let library = Library::check(builtin, &config.wasm)?;
    Guests::load(config, library, Clock::system(), &Metrics::default()).map(drop)
}

impl Guests {
    /// Reads, compiles and asks all of them, out of this library.
    ///
    /// # Errors
    /// What is wrong with a component or with its use.
    pub(super) fn load(
        config: &Config,
        library: Library,
        clock: Clock,
        metrics: &Metrics,
    ) -> Result<Guests, StartError> {
        for (name, source) in unused(config) {
            library.read(name, source).map_err(PluginError::from)?;
            tracing::warn!(plugin = name, "no route uses this plugin");
        }
        let plugins = Plugins::load(&filters(config), library.clone())?;
        let chains = config.routes.iter().map(|route| {
            let named = |error| StartError::Plugin(route.name().to_owned(), Box::new(error));
            plugins
                .chain_of(route.name(), &route.plugins)
                .map_err(named)
        });
        let chains = chains.collect::<Result<_, _>>()?;
        let (handlers, of_routes) = handlers(config, library.clone())?;
        let kinds = vec![Arc::new(plugins) as _, Arc::new(handlers) as _];
        let roster = Roster::new(config, library, kinds, clock, metrics.clone());
        Ok(Guests {
            chains,
            handlers: of_routes,
            roster: Arc::new(roster),
        })
    }
}

/// The plugins that are loaded as filters. One may be a handler elsewhere.
fn filters(config: &Config) -> BTreeMap<String, Source> {
    let names = filter_names(config);
    let sources = config.plugins.iter();
    sources
        .filter(|(name, _)| names.contains(name.as_str()))
        .map(|(name, source)| (name.clone(), source.clone()))
        .collect()
}

/// The plugins that no route uses. They are read, since a mistake in them would show only when a
/// route does; but of which kind they are, nobody says.
fn unused(config: &Config) -> impl Iterator<Item = (&String, &Source)> {
    let mut used = filter_names(config);
    used.extend(handler_names(config));
    let sources = config.plugins.iter();
    sources.filter(move |(name, _)| !used.contains(name.as_str()))
}

/// The handlers of a configuration, and what each route has of them.
///
/// # Errors
/// What is wrong with a component or with its use.
fn handlers(
    config: &Config,
    library: Library,
) -> Result<(Handlers, Vec<Surroundings>), StartError> {
    let names = handler_names(config);
    let sources = config.plugins.iter();
    let sources = sources.filter(|(name, _)| names.contains(name.as_str()));
    let handlers = Handlers::load(sources, library)?;
    let routes = config.routes.iter().map(|route| {
        let named = |error| StartError::Handler(route.name().to_owned(), Box::new(error));
        let handler = route.handler.as_ref();
        let handler = handler.map(|used| handlers.prepare(route, used));
        let middleware = route.middleware.iter();
        let middleware = middleware.map(|used| handlers.prepare_middleware(route, used));
        Ok::<_, StartError>(Surroundings {
            handler: handler.transpose().map_err(named)?,
            middleware: middleware.collect::<Result<_, _>>().map_err(named)?,
        })
    });
    let routes = routes.collect::<Result<_, StartError>>()?;
    Ok((handlers, routes))
}

fn filter_names(config: &Config) -> BTreeSet<&str> {
    let filters = config.routes.iter().flat_map(|route| &route.plugins);
    filters.map(|used| used.name.as_str()).collect()
}

fn handler_names(config: &Config) -> BTreeSet<&str> {
    let handlers = config
        .routes
        .iter()
        .flat_map(|route| route.handler.iter().chain(&route.middleware));
    handlers.map(|used| used.name.as_str()).collect()
}
