//! The data of a guest's store: WASI, `wasi:http`, and what limits it.
//!
//! WASI is there and leads nowhere: no arguments, no environment, no files, no sockets, nothing to
//! read. Clocks go, since these guests wait by themselves and have timeouts of their own; the time of
//! day is the edge's. What a guest prints goes to the log where its route grants that.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::log::Printed;
use super::next::Next;
use super::outbound::Outbound;
use super::reach::Reach;
use crate::clock::Clock;
use crate::config::Grant;
use crate::wasm::{Exceeded, MOST_RANDOM};

/// The most entries of an instance's tables of functions.
pub(super) const TABLE_ENTRIES: usize = 20_000;
/// The most resources of the edge that an instance may hold: fields, bodies, streams.
const RESOURCES: usize = 1_000;

/// The data of a guest's store.
pub(super) struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outbound: Outbound,
    pub(super) table: ResourceTable,
    printed: Option<Printed>,
    /// Bytes that its memories may still grow by.
    memory_left: usize,
    /// What comes behind the guest in the exchange that it has now, where it is a middleware.
    pub(super) next: Option<Arc<dyn Next>>,
    /// What the guest reaches in the exchange that it has now. Host interfaces begin here.
    pub(super) reach: Arc<Reach>,
}

impl State {
    /// The state of an instance.
    pub(super) fn new(reach: Arc<Reach>) -> State {
        let mut wasi = WasiCtxBuilder::new();
        wasi.wall_clock(Wall(reach.clock.clone()))
            .allow_tcp(false)
            .allow_udp(false)
            .max_random_size(MOST_RANDOM);
        let printed = reach
            .grants(Grant::Log)
            .then(|| Printed::of(&reach.used.name, &reach.lines));
        if let Some(printed) = &printed {
            wasi.stdout(printed.clone()).stderr(printed.clone());
        }
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES);
        State {
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            outbound: Outbound::of(Arc::clone(&reach)),
            table,
            printed,
            memory_left: reach.used.memory(),
            next: None,
            reach,
        }
    }

    /// Makes ready for another exchange.
    pub(super) fn begin(&mut self, reach: Arc<Reach>) {
        self.outbound = Outbound::of(Arc::clone(&reach));
        self.reach = reach;
        if let Some(printed) = &self.printed {
            printed.begin();
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.outbound,
        }
    }
}

impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        let left = self.memory_left.checked_sub(more);
        self.memory_left = left.ok_or_else(|| wasmtime::Error::new(Exceeded::Memory))?;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > TABLE_ENTRIES {
            return Err(wasmtime::Error::new(Exceeded::Memory));
        }
        Ok(true)
    }
}

/// The edge's time of day.
struct Wall(Clock);

impl HostWallClock for Wall {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.now().0)
    }
}
