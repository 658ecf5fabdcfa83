//! A guest of either world, called in one way.
//!
//! In the world `filter` hooks get handles to what lies in the store; in `filter-values` they get
//! copies and return decisions, which [`State`] carries out as if the guest had called.

use wasmtime::Store;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Resource, Type};

use super::bindings::tidegate::plugin::exchange;
use super::bindings::tidegate::plugin::types::HookSet;
use super::bindings::{Filter, FilterPre, by_value};
use super::engine::Machine;
use super::host::State;

/// The moments of an exchange at which filters run, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Request,
    OriginResponse,
    Response,
}

impl Stage {
    pub(super) fn hook(self) -> HookSet {
        match self {
            Stage::Request => HookSet::ON_REQUEST,
            Stage::OriginResponse => HookSet::ON_ORIGIN_RESPONSE,
            Stage::Response => HookSet::ON_RESPONSE,
        }
    }

    /// Whether a filter with these hooks will be called after this stage.
    pub(super) fn has_later(self, hooks: HookSet) -> bool {
        [Stage::OriginResponse, Stage::Response]
            .into_iter()
            .any(|later| later > self && hooks.contains(later.hook()))
    }
}

/// A component that fits one of the worlds, linked with what it imports.
pub(super) enum Linked {
    Handles(FilterPre<State>),
    Values(by_value::ValueHooksPre<State>),
}

impl Linked {
    /// Links a component. Which world it means is told by what its `on-request` takes.
    ///
    /// # Errors
    /// When it does not fit that world.
    pub(super) fn new(machine: &Machine, component: &Component) -> wasmtime::Result<Linked> {
        let takes_values = component
            .component_type()
            .get_export(&machine.engine, "on-request")
            .is_some_and(|item| match item.ty {
                ComponentItem::ComponentFunc(hook) => {
                    matches!(hook.params().next(), Some((_, Type::Record(_))))
                }
                _ => false,
            });
        let linked = machine.linker.instantiate_pre(component)?;
        if takes_values {
            by_value::ValueHooksPre::new(linked).map(Linked::Values)
        } else {
            FilterPre::new(linked).map(Linked::Handles)
        }
    }

    /// Whether hooks return what is to be done, instead of calling for it.
    pub(super) fn takes_values(&self) -> bool {
        matches!(self, Linked::Values(_))
    }

    /// A new instance in this store.
    pub(super) async fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Guest> {
        match self {
            Linked::Handles(filter) => filter.instantiate_async(store).await.map(Guest::Handles),
            Linked::Values(filter) => filter.instantiate_async(store).await.map(Guest::Values),
        }
    }
}

/// An instance's exports.
pub(super) enum Guest {
    Handles(Filter),
    Values(by_value::ValueHooks),
}

impl Guest {
    /// Asks whether the guest can work with a configuration.
    pub(super) async fn configure(
        &self,
        store: &mut Store<State>,
        config: &str,
    ) -> wasmtime::Result<Result<(), String>> {
        match self {
            Guest::Handles(filter) => filter.call_configure(store, config).await,
            Guest::Values(filter) => filter.call_configure(store, config).await,
        }
    }

    /// Asks which hooks the guest has.
    pub(super) async fn hooks(&self, store: &mut Store<State>) -> wasmtime::Result<HookSet> {
        match self {
            Guest::Handles(filter) => filter.call_hooks(store).await,
            Guest::Values(filter) => filter.call_hooks(store).await,
        }
    }

    /// Runs a hook over the subject in the store.
    pub(super) async fn call(
        &self,
        store: &mut Store<State>,
        stage: Stage,
    ) -> wasmtime::Result<exchange::Flow> {
        match self {
            Guest::Handles(filter) => by_handles(filter, store, stage).await,
            Guest::Values(filter) => by_values(filter, store, stage).await,
        }
    }
}

async fn by_handles(
    filter: &Filter,
    store: &mut Store<State>,
    stage: Stage,
) -> wasmtime::Result<exchange::Flow> {
    let request = Resource::new_borrow(0);
    let response = Resource::new_borrow(0);
    match stage {
        Stage::Request => return filter.call_on_request(store, request).await,
        Stage::OriginResponse => {
            let storing = Resource::new_borrow(0);
            filter
                .call_on_origin_response(store, request, response, storing)
                .await?;
        }
        Stage::Response => filter.call_on_response(store, request, response).await?,
    }
    Ok(exchange::Flow::Continue)
}

async fn by_values(
    filter: &by_value::ValueHooks,
    store: &mut Store<State>,
    stage: Stage,
) -> wasmtime::Result<exchange::Flow> {
    let request = store.data_mut().request_head();
    let response = store.data().response_head();
    match stage {
        Stage::Request => {
            let decision = filter.call_on_request(&mut *store, &request).await?;
            return store.data_mut().decide_request(decision);
        }
        Stage::OriginResponse => {
            let call = filter.call_on_origin_response(&mut *store, &request, &response);
            let decision = call.await?;
            store.data_mut().decide_origin_response(decision)?;
        }
        Stage::Response => {
            let call = filter.call_on_response(&mut *store, &request, &response);
            let decision = call.await?;
            store.data_mut().decide_response(decision)?;
        }
    }
    Ok(exchange::Flow::Continue)
}
