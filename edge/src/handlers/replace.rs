//! How a handler is replaced on the routes that use it, while requests pass.

use std::sync::{Arc, PoisonError};

use super::component::{Handlers, Loaded};
use crate::config::Grant;
use crate::wasm::{Binary, Facts, Kind, Publish};

impl Kind for Handlers {
    fn facts(&self, plugin: &str) -> Option<Facts> {
        let loaded = self.by_name.get(plugin)?.loaded.load_full();
        let imports = &loaded.compiled.imports;
        Some(Facts {
            sha256: loaded.sha256,
            kind: if imports.has_next {
                "middleware"
            } else {
                "handler"
            },
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
        for (route, place, used) in uses.iter().filter(|(.., used)| used.name == plugin) {
            let fits = loaded.compiled.check(*place, used);
            fits.map_err(|error| format!("route {route:?}: {error}"))?;
        }
        let (current, pool) = (Arc::clone(&handling.loaded), Arc::clone(&handling.pool));
        Ok(Box::new(move || {
            current.store(Arc::new(loaded));
            pool.clear();
        }))
    }
}
