//! The plugins of a running edge, and how one is replaced while requests pass.
//!
//! A plugin is replaced for everything that uses it, or for nothing: each [`Kind`] of guests first
//! makes all that it needs of the new version, and only when none has refused do they publish it.
//! Exchanges under way keep the version with which they began. What refused stays on record until
//! the plugin's next good version.

mod entry;
mod stamp;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::library::Library;
use super::source::Binary;
use crate::clock::Clock;
use crate::config::{Config, Source, Sum};
use crate::telemetry::Metrics;
use entry::Entry;
pub use entry::Listed;
use stamp::Stamp;

/// Puts a new version in the place of the old one. Takes no time and cannot fail.
pub(crate) type Publish = Box<dyn FnOnce() + Send>;

/// One kind of guests, whose components can be replaced.
pub(crate) trait Kind: Send + Sync {
    /// What there is to tell of a plugin; none where it is not of this kind.
    fn facts(&self, plugin: &str) -> Option<Facts>;

    /// Makes what is needed of a new version: compiles it, and puts each route's use of it before
    /// it. Nothing changes before that is published.
    ///
    /// # Errors
    /// What is wrong, naming the plugin and, where it is about one, the route.
    fn prepare(&self, plugin: &str, binary: &Binary) -> Result<Publish, String>;
}

/// What a kind of guests has to tell of a plugin.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// What is used now.
    pub(crate) sha256: Sum,
    /// What routes use it as.
    pub(crate) kinds: Vec<&'static str>,
    /// The hooks it has on some route, if its kind has hooks.
    pub(crate) hooks: Vec<&'static str>,
    /// The capabilities that a route must grant it.
    pub(crate) needs: Vec<&'static str>,
}

/// The plugins of a configuration.
pub struct Roster {
    library: Library,
    kinds: Vec<Arc<dyn Kind>>,
    plugins: BTreeMap<String, Entry>,
    clock: Clock,
    metrics: Metrics,
    /// Held while a plugin is replaced: one at a time.
    turn: Mutex<()>,
}

/// What came of reloading a plugin.
#[derive(Clone, Debug, Serialize)]
pub struct Reloaded {
    pub plugin: String,
    /// Whether there is a new version: otherwise what was read is what is used already.
    pub changed: bool,
    /// The one that is used; none where no route uses the plugin, which is read then and no more.
    pub version: Option<u64>,
    /// The sum of what was read.
    pub sha256: String,
}

/// Why a plugin was not reloaded.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReloadError {
    #[error("no plugin named {0:?}")]
    Unknown(String),
    #[error("{}", .0.reason)]
    Refused(Kept),
}

/// A plugin whose newest version was refused: the one before is used on.
#[derive(Clone, Debug, Serialize)]
pub struct Kept {
    pub plugin: String,
    /// The one that is used.
    pub version: u64,
    /// What is wrong with the newest.
    pub reason: String,
}

impl Roster {
    /// The plugins of a configuration that has been loaded from this library.
    pub(crate) fn new(
        config: &Config,
        library: Library,
        kinds: Vec<Arc<dyn Kind>>,
        clock: Clock,
        metrics: Metrics,
    ) -> Roster {
        let now = clock.now();
        let entry = |(name, source): (&String, &Source)| {
            (name.clone(), Entry::new(name, source, config, now))
        };
        Roster {
            library,
            kinds,
            plugins: config.plugins.iter().map(entry).collect(),
            clock,
            metrics,
            turn: Mutex::default(),
        }
    }

    /// All plugins, by name.
    pub fn list(&self) -> Vec<Listed> {
        let entries = self.plugins.iter();
        let list = entries.map(|(name, entry)| entry.listed(name, &self.facts(name)));
        list.collect()
    }

    /// Reads a plugin's source again and has everything that uses it use what is there. Takes as
    /// long as compiling does; a thread that answers requests is no place for it.
    ///
    /// # Errors
    /// [`ReloadError`]: nothing has changed then.
    pub fn reload(&self, plugin: &str) -> Result<Reloaded, ReloadError> {
        let entry = self.plugins.get(plugin);
        let entry = entry.ok_or_else(|| ReloadError::Unknown(plugin.to_owned()))?;
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::of(&entry.source);
        let outcome = self.replace(plugin, &entry.source);
        // What was written while it was read is looked at again.
        entry.looked_at((Stamp::of(&entry.source) == stamp).then_some(stamp));
        let now = self.clock.now();
        match outcome {
            Ok((sha256, changed)) => {
                let version = entry.accepted(changed, now);
                if changed {
                    self.metrics.count_reload(plugin, "changed");
                    tracing::info!(plugin, version, %sha256, "plugin reloaded");
                }
                let is_used = !self.facts(plugin).is_empty();
                Ok(Reloaded {
                    plugin: plugin.to_owned(),
                    changed,
                    version: is_used.then_some(version),
                    sha256: sha256.to_string(),
                })
            }
            Err(reason) => {
                self.metrics.count_reload(plugin, "refused");
                tracing::error!(
                    plugin,
                    reason,
                    "plugin not reloaded: the version before is used on"
                );
                Err(ReloadError::Refused(Kept {
                    plugin: plugin.to_owned(),
                    version: entry.refused(&reason, now),
                    reason,
                }))
            }
        }
    }

    /// Reloads all plugins, each by itself.
    pub fn reload_all(&self) -> Vec<Result<Reloaded, ReloadError>> {
        self.plugins.keys().map(|name| self.reload(name)).collect()
    }

    /// Looks whether files have changed, and reloads what has, once it has not changed any more
    /// between two looks: it may be being written.
    pub fn look(&self) {
        let files = self.plugins.iter();
        let files = files.filter(|(_, entry)| entry.source.builtin().is_none());
        for (name, entry) in files {
            if entry.is_due(Stamp::of(&entry.source)) {
                // It is told and kept where it is found.
                let _ = self.reload(name);
            }
        }
    }

    fn facts(&self, plugin: &str) -> Vec<Facts> {
        let kinds = self.kinds.iter();
        kinds.filter_map(|kind| kind.facts(plugin)).collect()
    }

    /// The sum of what was read, and whether it is used instead of something else now.
    fn replace(&self, plugin: &str, source: &Source) -> Result<(Sum, bool), String> {
        let binary = self
            .library
            .read(plugin, source)
            .map_err(|error| error.to_string())?;
        let sha256 = binary.sha256;
        if self
            .facts(plugin)
            .iter()
            .all(|facts| facts.sha256 == sha256)
        {
            return Ok((sha256, false));
        }
        let kinds = self.kinds.iter();
        let kinds = kinds.filter(|kind| kind.facts(plugin).is_some());
        let prepare = || {
            let prepared = kinds.map(|kind| kind.prepare(plugin, &binary));
            prepared.collect::<Result<Vec<_>, String>>()
        };
        // Whatever a component makes of the compiler, the edge goes on.
        let prepared = catch_unwind(AssertUnwindSafe(prepare));
        let prepared = prepared.unwrap_or_else(|_| {
            Err(format!(
                "plugin {plugin:?}: {} made the compiler panic",
                binary.file
            ))
        })?;
        for publish in prepared {
            publish();
        }
        Ok((sha256, true))
    }
}
