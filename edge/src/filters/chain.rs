//! The filters of a route, each with its configuration, asked once whether it can work with it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use wasmtime::Store;

use super::bindings::tidegate::plugin::types::HookSet;
use super::engine::slices;
use super::error::PluginError;
use super::granted::Granted;
use super::guest::Guest;
use super::host::{Hook, State};
use super::plugin::Compiled;
use super::run::Filters;
use super::{Capabilities, OnFailure, Subject, Use};
use crate::wasm::pool::Pool;
use crate::wasm::{Alive, Exceeded, FailureKind, Lines, Quota, words};

/// How long a guest may take over its configuration.
const CONFIGURE: Duration = Duration::from_secs(1);

/// The filters of a route, in order. Cheap to clone; all clones change together when a plugin is
/// reloaded.
#[derive(Clone)]
pub struct Chain {
    route: Arc<Route>,
    /// Whether there is nothing to run, whichever the version.
    is_empty: bool,
}

/// What a chain is made of, and what it was made of last.
pub(super) struct Route {
    pub(super) name: String,
    pub(super) uses: Vec<Use>,
    pub(super) version: ArcSwap<Version>,
}

/// The filters of a route, of one version each.
pub(super) struct Version {
    pub(super) steps: Arc<[Arc<Step>]>,
    hooks: HookSet,
}

/// One filter of a route.
pub(super) struct Step {
    pub(super) plugin: Arc<str>,
    config: Arc<str>,
    pub(super) compiled: Arc<Compiled>,
    pub(super) hooks: HookSet,
    pub(super) on_failure: OnFailure,
    pub(super) deadline: Duration,
    memory: usize,
    pub(super) granted: Arc<Granted>,
    pub(super) quota: Arc<Quota>,
    pub(super) lines: Arc<Lines>,
    /// Where instances wait for their next exchange, if they serve more than one.
    pub(super) pool: Option<Arc<Pool<Instance>>>,
}

/// A guest with its store.
pub(super) struct Instance {
    pub(super) store: Store<State>,
    pub(super) guest: Guest,
    /// How many exchanges it has served.
    pub(super) served: u32,
    /// Last, so that there is room for another when this is dropped.
    _alive: Alive,
}

impl Step {
    /// A step that has not been asked yet whether it likes its configuration.
    pub(super) fn new(
        used: &Use,
        config: String,
        compiled: Arc<Compiled>,
        quota: Arc<Quota>,
        lines: Arc<Lines>,
    ) -> Step {
        Step {
            pool: (quota.reuse > 1).then(|| Pool::new(&quota)),
            quota,
            lines,
            plugin: used.name.as_str().into(),
            config: config.into(),
            compiled,
            hooks: HookSet::empty(),
            on_failure: used.on_failure,
            granted: Arc::new(Granted::of(used)),
            deadline: used.hook_deadline(),
            memory: used.memory(),
        }
    }

    /// A new instance, which may run for `slices` ticks while it starts.
    pub(super) async fn instance(
        &self,
        capabilities: Option<Arc<Capabilities>>,
        slices: u64,
    ) -> wasmtime::Result<Instance> {
        let state = State::new(
            Arc::clone(&self.plugin),
            Arc::clone(&self.config),
            capabilities,
            self.memory,
            Arc::clone(&self.granted),
            Arc::clone(&self.lines),
        );
        let mut alive = Alive::count(&self.quota);
        let mut store = self.compiled.machine.store(state);
        let hook = Hook {
            place: 0,
            is_request: false,
            may_fail: false,
            slices,
        };
        store.data_mut().begin(&mut Subject::default(), &hook);
        store.set_epoch_deadline(1);
        let guest = self.compiled.linked.instantiate(&mut store).await;
        let guest = guest.inspect_err(|error| alive.failed(error))?;
        Ok(Instance {
            store,
            guest,
            served: 0,
            _alive: alive,
        })
    }

    /// Asks the guest whether it can work with its configuration, and which hooks it has.
    async fn configure(&self) -> wasmtime::Result<Result<HookSet, String>> {
        let mut instance = self.instance(None, slices(CONFIGURE)).await?;
        let Instance { store, guest, .. } = &mut instance;
        if let Err(reason) = guest.configure(store, &self.config).await? {
            return Ok(Err(reason));
        }
        guest.hooks(store).await.map(Ok)
    }
}

impl Version {
    /// Steps that have been asked.
    pub(super) fn new(steps: Vec<Arc<Step>>) -> Version {
        let all = steps.iter().map(|step| step.hooks);
        Version {
            hooks: all.fold(HookSet::empty(), |all, has| all | has),
            steps: steps.into(),
        }
    }
}

impl Chain {
    /// The chain of a route, and its first version.
    pub(super) fn new(name: &str, uses: &[Use], version: Version) -> Chain {
        Chain {
            is_empty: version.steps.is_empty(),
            route: Arc::new(Route {
                name: name.to_owned(),
                uses: uses.to_vec(),
                version: ArcSwap::from_pointee(version),
            }),
        }
    }

    /// What changes when a plugin is reloaded.
    pub(super) fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Whether a filter runs on every exchange, also on one that is answered from the cache.
    pub fn runs_on_hits(&self) -> bool {
        let on_hits = HookSet::ON_REQUEST | HookSet::ON_RESPONSE;
        !self.is_empty && self.route.version.load().hooks.intersects(on_hits)
    }

    /// The hooks that any of them has, by their names in the WIT package.
    pub fn hooks(&self) -> impl Iterator<Item = &'static str> + use<> {
        names(self.route.version.load().hooks)
    }

    /// The filters for one exchange, which keeps their versions until it ends. Nothing is
    /// instantiated before the first hook.
    pub fn begin(&self, capabilities: &Arc<Capabilities>) -> Filters {
        let version = self.route.version.load();
        Filters::new(
            Arc::clone(&version.steps),
            version.hooks,
            Arc::clone(capabilities),
        )
    }
}

/// The names of hooks in the WIT package.
pub(super) fn names(hooks: HookSet) -> impl Iterator<Item = &'static str> {
    let all = [
        (HookSet::ON_REQUEST, "on-request"),
        (HookSet::ON_ORIGIN_RESPONSE, "on-origin-response"),
        (HookSet::ON_RESPONSE, "on-response"),
    ];
    let named = all.into_iter();
    named.filter_map(move |(hook, name)| hooks.contains(hook).then_some(name))
}

/// Steps that like their configurations.
///
/// # Errors
/// What the first of them says that does not.
pub(super) fn configured(mut steps: Vec<Step>) -> Result<Vec<Arc<Step>>, PluginError> {
    if steps.is_empty() {
        return Ok(Vec::new());
    }
    // A thread of its own: this may be called from within a runtime or from without.
    let asked = std::thread::scope(|scope| {
        scope.spawn(|| ask(&steps)).join().unwrap_or_else(|_| {
            Err(PluginError::Engine(
                "a guest's configuration made the edge panic".to_owned(),
            ))
        })
    });
    for (step, has) in steps.iter_mut().zip(asked?) {
        step.hooks = has;
    }
    Ok(steps.into_iter().map(Arc::new).collect())
}

fn ask(steps: &[Step]) -> Result<Vec<HookSet>, PluginError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| PluginError::Engine(error.to_string()))?;
    let ask = |step: &Step| {
        let plugin = step.plugin.to_string();
        let answer =
            runtime.block_on(async { tokio::time::timeout(CONFIGURE * 2, step.configure()).await });
        match answer.unwrap_or_else(|_| Err(wasmtime::Error::new(Exceeded::Deadline))) {
            Ok(Ok(hooks)) => Ok(hooks),
            Ok(Err(reason)) => Err(PluginError::Refused {
                plugin,
                reason: words(&reason),
            }),
            Err(error) => Err(PluginError::Failed {
                plugin,
                kind: FailureKind::of(&error).name(),
                reason: words(&error.root_cause().to_string()),
            }),
        }
    };
    steps.iter().map(ask).collect()
}
