//! WASI, for guests that were built with the standard library.

use std::time::Duration;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{
    HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView,
};

use super::State;
use crate::wasm::MOST_RANDOM;

/// The WASI that a guest built with the standard library asks for: linked, and inert. There is
/// nothing to read, nothing to reach, and time stands still.
pub(super) struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
}

impl Wasi {
    fn inert() -> Box<Wasi> {
        let context = WasiCtxBuilder::new()
            .wall_clock(Still)
            .monotonic_clock(Still)
            .allow_tcp(false)
            .allow_udp(false)
            .max_random_size(MOST_RANDOM)
            .build();
        Box::new(Wasi {
            context,
            table: ResourceTable::new(),
        })
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi.get_or_insert_with(Wasi::inert);
        WasiCtxView {
            ctx: &mut wasi.context,
            table: &mut wasi.table,
        }
    }
}

/// A clock that stands still.
struct Still;

impl HostWallClock for Still {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

impl HostMonotonicClock for Still {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        0
    }
}
