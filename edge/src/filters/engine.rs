//! The one engine of all filters: how they are compiled, laid out in memory and interrupted.
//!
//! A thread raises the epoch every millisecond, from the first plugin on. A guest that notices
//! lets its worker do something else, and ends when it has used the ticks its hook was given. So
//! a guest that loops delays others by a tick, and time that a guest spends waiting for the edge
//! (which has deadlines of its own) is not held against it.

use std::sync::OnceLock;
use std::time::Duration;

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, Engine, Store, UpdateDeadline};

use super::bindings::Filter;
use super::convert::MOST_CARRIED;
use super::error::PluginError;
use super::host::{State, TABLE_ENTRIES};
use crate::wasm::{Layout, Room, TICK, tick};

/// The most memory that an instance can be given, in bytes.
pub(super) const MOST_MEMORY: usize = 64 << 20;
/// The most instances alive at once. Each is one exchange's, so this bounds how many exchanges
/// can be waiting for their origin while a filter with a response hook looks after them.
const INSTANCES: u32 = 4_000;
/// For those who wait until there is room for another.
pub(super) static ROOM: Room = Room::new();
/// How deep a guest's calls may go, in bytes.
const STACK: usize = 128 << 10;
/// What the edge needs of a stack below that, in bytes.
const STACK_BELOW: usize = 384 << 10;
/// How much of an instance's memory is cleared by hand for the next one, which is cheaper than
/// giving it back; more than the bundled guests use.
const KEPT_MEMORY: usize = 128 << 10;

/// The engine, and what guests are linked with.
pub(super) struct Machine {
    pub(super) engine: Engine,
    pub(super) linker: Linker<State>,
}

/// The machine, which is made when it is first asked for.
///
/// # Errors
/// When there is not enough address space, say.
pub(super) fn machine() -> Result<&'static Machine, PluginError> {
    static MACHINE: OnceLock<Result<Machine, String>> = OnceLock::new();
    let made = MACHINE.get_or_init(|| Machine::new().map_err(|error| format!("{error:#}")));
    made.as_ref()
        .map_err(|reason| PluginError::Engine(reason.clone()))
}

impl Machine {
    fn new() -> wasmtime::Result<Machine> {
        let engine = Engine::new(&config())?;
        let mut linker = Linker::new(&engine);
        Filter::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        tick(&engine)?;
        Ok(Machine { engine, linker })
    }

    /// A store whose guest has what `state` allows it.
    pub(super) fn store(&self, state: State) -> Store<State> {
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| state);
        // Looked at before anything is copied out of the guest's memory.
        store.set_hostcall_fuel(MOST_CARRIED);
        store.epoch_deadline_callback(|mut store| {
            Ok(if store.data_mut().tick() {
                UpdateDeadline::Yield(1)
            } else {
                UpdateDeadline::Interrupt
            })
        });
        store
    }
}

/// How many ticks make up a deadline. One more than it is long, since the first may be nearly over.
pub(super) fn slices(deadline: Duration) -> u64 {
    u64::try_from(deadline.div_duration_f64(TICK).ceil() as u128)
        .unwrap_or(u64::MAX)
        .saturating_add(1)
}

fn config() -> Config {
    let layout = Layout {
        instances: INSTANCES,
        // A component made of one module brings two more that tie it to its imports.
        modules: 3,
        calls: 1,
        memory: MOST_MEMORY,
        table_entries: TABLE_ENTRIES,
        stack: STACK,
        stack_below: STACK_BELOW,
        kept_memory: KEPT_MEMORY,
    };
    let mut config = layout.config();
    config.concurrency_support(false);
    config
}
