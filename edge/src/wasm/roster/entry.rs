//! What is known of one plugin beside its code.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tidegate_semantics::Timestamp;

use super::super::failure::failures;
use super::Facts;
use super::stamp::{Look, Stamp};
use crate::config::{Config, Source};

/// A plugin of the configuration.
pub(super) struct Entry {
    pub(super) source: Source,
    /// The names of the routes that use it, in their order.
    routes: Vec<String>,
    state: Mutex<State>,
}

struct State {
    version: u64,
    loaded_at: Timestamp,
    refused: u64,
    refusal: Option<Refusal>,
    look: Look,
}

/// A plugin, as administration lists it.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    pub name: String,
    /// `builtin:NAME`, or the path of a file.
    pub file: String,
    /// The sum of the component that is used.
    pub sha256: Option<String>,
    /// Whether the configuration asks for that sum and no other.
    pub pinned: bool,
    /// `filter`, `handler`, `middleware`; nothing where it is not loaded.
    pub kinds: Vec<&'static str>,
    pub hooks: Vec<&'static str>,
    /// The capabilities that a route must grant it.
    pub needs: Vec<&'static str>,
    pub routes: Vec<String>,
    /// 1 since the start, one more for each that replaced the one before.
    pub version: u64,
    /// Milliseconds since 1970.
    pub loaded_at: u64,
    /// How often it has failed since the start, by kind.
    pub failures: BTreeMap<&'static str, u64>,
    /// How many versions were refused.
    pub refused: u64,
    /// Why the last one was, if no good one was read since.
    pub error: Option<Refusal>,
}

/// A version that was refused.
#[derive(Clone, Debug, Serialize)]
pub struct Refusal {
    /// Milliseconds since 1970.
    pub at: u64,
    pub reason: String,
}

impl Entry {
    /// A plugin that has just been loaded.
    pub(super) fn new(name: &str, source: &Source, config: &Config, now: Timestamp) -> Entry {
        let uses = |route: &&crate::config::Route| {
            let handler = route.handler.iter().chain(&route.middleware);
            let mut all = route.plugins.iter().chain(handler);
            all.any(|used| used.name == name)
        };
        let routes = config.routes.iter().filter(uses);
        Entry {
            source: source.clone(),
            routes: routes.map(|route| route.name().to_owned()).collect(),
            state: Mutex::new(State {
                version: 1,
                loaded_at: now,
                refused: 0,
                refusal: None,
                look: Look::default(),
            }),
        }
    }

    pub(super) fn listed(&self, name: &str, facts: &[Facts]) -> Listed {
        let of_all = |list: fn(&Facts) -> &Vec<&'static str>| {
            let mut all: Vec<_> = facts.iter().flat_map(list).copied().collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        let failures = failures().into_iter();
        let own = failures.filter(|(plugin, ..)| plugin == name);
        let state = self.state();
        Listed {
            name: name.to_owned(),
            file: self.source.file.clone(),
            sha256: facts.first().map(|facts| facts.sha256.to_string()),
            pinned: self.source.sha256.is_some(),
            kinds: of_all(|facts| &facts.kinds),
            hooks: of_all(|facts| &facts.hooks),
            needs: of_all(|facts| &facts.needs),
            routes: self.routes.clone(),
            version: state.version,
            loaded_at: state.loaded_at.0,
            failures: own.map(|(_, kind, count)| (kind.name(), count)).collect(),
            refused: state.refused,
            error: state.refusal.clone(),
        }
    }

    /// Notes that what was read is good; the version that is used from now on.
    pub(super) fn accepted(&self, changed: bool, now: Timestamp) -> u64 {
        let mut state = self.state();
        state.refusal = None;
        if changed {
            state.version += 1;
            state.loaded_at = now;
        }
        state.version
    }

    /// Notes that what was read is not good; the version that is used on.
    pub(super) fn refused(&self, reason: &str, now: Timestamp) -> u64 {
        let mut state = self.state();
        state.refused += 1;
        state.refusal = Some(Refusal {
            at: now.0,
            reason: reason.to_owned(),
        });
        state.version
    }

    /// Whether its file, which is as this stamp says now, has changed since it was last read, and
    /// is at rest. The stamp is taken by the caller: a file system may take its time for it, in
    /// which nobody else shall wait for the state.
    pub(super) fn is_due(&self, now: Stamp) -> bool {
        self.state().look.is_due(now)
    }

    /// Notes as what its file was read, if that can be told.
    pub(super) fn looked_at(&self, stamp: Option<Stamp>) {
        self.state().look.read(stamp);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
