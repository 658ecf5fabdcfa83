//! How a filter is replaced on the routes that use it, while requests pass.

use std::sync::{Arc, PoisonError};

use super::bindings::tidegate::plugin::types::HookSet;
use super::chain::{Route, Step, Version, configured, names};
use super::error::PluginError;
use super::plugin::{Compiled, Loaded, Plugin, Plugins};
use crate::wasm::{Binary, Facts, Kind, Publish};

impl Kind for Plugins {
    fn facts(&self, plugin: &str) -> Option<Facts> {
        let loaded = self.by_name.get(plugin)?.loaded.load_full();
        let mut has = HookSet::empty();
        for route in self.routes_with(plugin) {
            let version = route.version.load();
            let own = version.steps.iter().filter(|step| *step.plugin == *plugin);
            has = own.fold(has, |has, step| has | step.hooks);
        }
        let needs = loaded.compiled.needs.iter();
        Some(Facts {
            sha256: loaded.sha256,
            kinds: vec!["filter"],
            hooks: names(has).collect(),
            needs: needs.map(|grant| grant.name()).collect(),
        })
    }

    fn prepare(&self, name: &str, binary: &Binary) -> Result<Publish, String> {
        let Some(plugin) = self.by_name.get(name).map(Arc::clone) else {
            return Err(format!("no plugin named {name:?}"));
        };
        let loaded = Loaded::new(name, &self.library, binary);
        let loaded = loaded.map_err(|error| error.to_string())?;
        let mut versions = Vec::new();
        for route in self.routes_with(name) {
            let version = route.with(name, &plugin, &loaded.compiled);
            let version = version.map_err(|error| format!("route {:?}: {error}", route.name))?;
            versions.push((route, Arc::new(version)));
        }
        Ok(Box::new(move || {
            plugin.loaded.store(Arc::new(loaded));
            for (route, version) in versions {
                route.version.store(version);
            }
        }))
    }
}

impl Plugins {
    /// The routes that use a plugin.
    fn routes_with(&self, plugin: &str) -> Vec<Arc<Route>> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.retain(|route| route.strong_count() > 0);
        let alive = routes.iter().filter_map(std::sync::Weak::upgrade);
        alive
            .filter(|route| route.uses.iter().any(|used| used.name == plugin))
            .collect()
    }
}

impl Route {
    /// The route's filters with another version of one plugin; the others are the same, with the
    /// instances that they have.
    fn with(
        &self,
        name: &str,
        plugin: &Plugin,
        compiled: &Arc<Compiled>,
    ) -> Result<Version, PluginError> {
        let now = self.version.load();
        let uses = self.uses.iter().zip(&*now.steps);
        let uses = uses.filter(|(used, _)| used.name == name);
        let new = uses.map(|(used, old)| plugin.step(used, compiled, Arc::clone(&old.quota)));
        let new: Result<Vec<Step>, PluginError> = new.collect();
        let mut new = configured(new?)?.into_iter();
        let steps = now.steps.iter().map(|step| {
            if *step.plugin == *name {
                new.next().expect("as many as the route has uses")
            } else {
                Arc::clone(step)
            }
        });
        Ok(Version::new(steps.collect()))
    }
}
