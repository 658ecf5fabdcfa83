//! How a handler is replaced on the routes that use it, while requests pass.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use super::component::{Handlers, Loaded};
use crate::config::Grant;
use crate::wasm::{Binary, Facts, Kind, Publish, pool};

impl Kind for Handlers {
    fn facts(&self, plugin: &str) -> Option<Facts> {
        let loaded = self.by_name.get(plugin)?.loaded.load_full();
        let imports = &loaded.compiled.imports;
        // What comes next may be imported and never asked: what a component is, its routes say.
        let uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let uses = uses.iter().filter(|placed| placed.used.name == plugin);
        let kinds: BTreeSet<_> = uses.map(|placed| placed.place.kind()).collect();
        Some(Facts {
            sha256: loaded.sha256,
            kinds: kinds.into_iter().collect(),
            hooks: Vec::new(),
            needs: imports.needs().into_iter().map(Grant::name).collect(),
        })
    }

    fn prepare(&self, plugin: &str, binary: &Binary) -> Result<Publish, String> {
        let Some(handling) = self.by_name.get(plugin) else {
            return Err(format!("no plugin named {plugin:?}"));
        };
        let loaded = Loaded::new(plugin, &self.library, binary);
        let loaded = loaded.map_err(|error| error.to_string())?;
        let uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let mut quotas = Vec::new();
        for placed in uses.iter().filter(|placed| placed.used.name == plugin) {
            let fits = loaded.compiled.check(placed.place, &placed.used);
            fits.map_err(|error| format!("route {:?}: {error}", placed.route))?;
            quotas.push(Arc::clone(&placed.quota));
        }
        let handling = Arc::clone(handling);
        Ok(Box::new(move || {
            handling.loaded.store(Arc::new(loaded));
            // Those that are idle are of the version before.
            for quota in quotas {
                pool::clear(&quota);
            }
        }))
    }
}
