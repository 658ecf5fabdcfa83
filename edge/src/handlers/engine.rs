//! The engine of handlers: another one than that of filters, for these guests are asynchronous.
//!
//! A thread raises the epoch every millisecond, from the first handler on. A guest that notices
//! lets its worker do something else; how long it has run is counted by whoever drives it.

use std::sync::OnceLock;

use wasmtime::component::Linker;
use wasmtime::{Config, Engine, Store, UpdateDeadline};

use super::error::HandlerError;
use super::next;
use super::spin;
use super::state::{State, TABLE_ENTRIES};
use crate::wasm::{Layout, Room, tick};

/// The most memory that an instance can be given, in bytes.
pub(super) const MOST_MEMORY: usize = 256 << 20;
/// The most instances alive at once, of all handlers: twice what a plugin may have on one route unless
/// it is configured otherwise, so that none takes it all.
const INSTANCES: u32 = 2_000;
/// For those who wait until there is room for another.
pub(super) static ROOM: Room = Room::new();
/// Modules that a component is made of, on the average at most.
const MODULES: u32 = 8;
/// How deep a guest's calls may go, in bytes.
const STACK: usize = 512 << 10;
/// What the edge needs of a stack below that, in bytes.
const STACK_BELOW: usize = 512 << 10;
/// What one call may carry from a guest to the edge, in bytes.
const MOST_CARRIED: usize = 16 << 20;
/// How much of an instance's memory is cleared by hand for the next one, which is cheaper than
/// giving it back.
const KEPT_MEMORY: usize = 256 << 10;

/// The engine, and what guests are linked with.
pub(super) struct Machine {
    pub(super) engine: Engine,
    pub(super) linker: Linker<State>,
}

/// The machine, which is made when it is first asked for.
///
/// # Errors
/// When there is not enough address space, say.
pub(super) fn machine() -> Result<&'static Machine, HandlerError> {
    static MACHINE: OnceLock<Result<Machine, String>> = OnceLock::new();
    let made = MACHINE.get_or_init(|| Machine::new().map_err(|error| format!("{error:#}")));
    made.as_ref()
        .map_err(|reason| HandlerError::Engine(reason.clone()))
}

impl Machine {
    fn new() -> wasmtime::Result<Machine> {
        let engine = Engine::new(&config())?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
        spin::add_to_linker(&mut linker)?;
        next::add_to_linker(&mut linker)?;
        tick(&engine)?;
        Ok(Machine { engine, linker })
    }

    /// A store whose guest has what `state` allows it.
    pub(super) fn store(&self, state: State) -> Store<State> {
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| state);
        // Looked at before anything is copied out of the guest's memory.
        store.set_hostcall_fuel(MOST_CARRIED);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
        store
    }
}

fn config() -> Config {
    let layout = Layout {
        instances: INSTANCES,
        modules: MODULES,
        // An exchange may have several calls under way.
        calls: 2,
        memory: MOST_MEMORY,
        table_entries: TABLE_ENTRIES,
        stack: STACK,
        stack_below: STACK_BELOW,
        kept_memory: KEPT_MEMORY,
    };
    let mut config = layout.config();
    config.wasm_component_model_async(true);
    config
}
