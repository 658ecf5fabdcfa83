//! What the engines of all kinds of guests have in common: how much room guests have, and that they
//! are interrupted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wasmtime::{Config, Engine, PoolingAllocationConfig};

/// The most random bytes that a guest gets in one call of WASI, which nothing interrupts.
pub(crate) const MOST_RANDOM: u64 = 64 << 10;

/// How long a guest runs without looking up.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// How much of an instance's tables, and of a call's stack, is cleared by hand for the next one, in
/// bytes.
const KEPT_OTHER: usize = 64 << 10;

/// How much room an engine's guests have. It is set aside as addresses, not as memory.
pub(crate) struct Layout {
    /// The most instances of components alive at once.
    pub(crate) instances: u32,
    /// Of modules for each of them, on the average.
    pub(crate) modules: u32,
    /// Calls under way in each of them, on the average.
    pub(crate) calls: u32,
    /// The most memory that an instance can be given, in bytes.
    pub(crate) memory: usize,
    /// The most entries of a table.
    pub(crate) table_entries: usize,
    /// How deep a guest's calls may go, in bytes.
    pub(crate) stack: usize,
    /// What the edge needs of a stack below that, in bytes.
    pub(crate) stack_below: usize,
    /// How much of an instance's memory is cleared by hand for the next one, in bytes, which is
    /// cheaper than giving it back.
    pub(crate) kept_memory: usize,
}

impl Layout {
    /// The settings of an engine whose guests have this room, and look up at each tick.
    pub(crate) fn config(&self) -> Config {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(self.instances)
            .total_core_instances(self.instances * self.modules)
            .total_memories(self.instances)
            .total_tables(self.instances * 2)
            .total_stacks(self.instances * self.calls)
            .max_memory_size(self.memory)
            .table_elements(self.table_entries)
            .linear_memory_keep_resident(self.kept_memory)
            .table_keep_resident(KEPT_OTHER)
            .async_stack_keep_resident(KEPT_OTHER)
            .max_component_instance_size(1 << 20)
            .max_core_instance_size(1 << 20);
        let mut config = Config::new();
        config
            // A reload takes one core away from requests, and not all of them.
            .parallel_compilation(false)
            .epoch_interruption(true)
            .max_wasm_stack(self.stack)
            .async_stack_size(self.stack + self.stack_below)
            .allocation_strategy(pool);
        config
    }
}

static TICKS: AtomicU64 = AtomicU64::new(0);

/// How often epochs have been raised.
pub(crate) fn ticks() -> u64 {
    TICKS.load(Ordering::Relaxed)
}

/// Raises an engine's epoch every [`TICK`], for as long as the process lives. One thread does so for
/// all engines.
///
/// # Errors
/// When there is no thread to be had.
pub(crate) fn tick(engine: &Engine) -> std::io::Result<()> {
    static TICKING: Mutex<Vec<Engine>> = Mutex::new(Vec::new());
    let ticking = || TICKING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut engines = ticking();
    if engines.is_empty() {
        let forever = move || {
            loop {
                std::thread::sleep(TICK);
                TICKS.fetch_add(1, Ordering::Relaxed);
                ticking().iter().for_each(Engine::increment_epoch);
            }
        };
        std::thread::Builder::new()
            .name("guest-ticks".to_owned())
            .spawn(forever)?;
    }
    engines.push(engine.clone());
    Ok(())
}
