//! What a guest reaches: the exchange in its store, and the capabilities behind its imports.
//!
//! Every import begins by counting itself. A hook that calls the edge more often than
//! [`CALLS_PER_HOOK`] ends there, since the edge's own work is not interrupted by the deadline.

mod capabilities;
mod changes;
mod delivery;
mod exchange;
mod http;
mod kv;
mod metrics;
mod secrets;
mod values;
mod wasi;

use std::sync::Arc;

use wasmtime::ResourceLimiter;

#[allow(unreachable_pub, reason = "the generated bindings export them again")]
pub use self::exchange::{Request, Response, Storing};
use self::wasi::Wasi;
use super::Capabilities;
use super::convert::Put;
use super::granted::{Granted, Patience};
use super::subject::Subject;
use crate::wasm::{Exceeded, Lines, ticks};

/// How often one hook may call the edge.
const CALLS_PER_HOOK: u32 = 10_000;
/// How many log lines an exchange may make an instance write.
const LINES: u32 = 64;
/// The most entries of an instance's tables of functions, all of them together.
pub(super) const TABLE_ENTRIES: usize = 20_000;

/// The data of a guest's store.
pub(super) struct State {
    plugin: Arc<str>,
    config: Arc<str>,
    /// None while the guest reads its configuration.
    capabilities: Option<Arc<Capabilities>>,
    granted: Arc<Granted>,
    patience: Patience,
    subject: Subject,
    /// The subject before the running hook changed it, where a failure takes its changes back.
    before: Option<Box<Subject>>,
    keeps_before: bool,
    put: PutInto,
    /// The filter's place on its route.
    place: usize,
    is_request_open: bool,
    /// Whether the exchange's first hook has not ended yet.
    is_first_hook: bool,
    /// What its memories may still grow by, together, in bytes; and its tables, in entries.
    memory_left: usize,
    entries_left: usize,
    lines: Arc<Lines>,
    calls_left: u32,
    lines_left: u32,
    slices_left: u64,
    /// Whether the next tick that the guest notices passed while it waited.
    has_waited: bool,
    wasi: Option<Box<Wasi>>,
}

impl State {
    /// The state of an instance that may have `memory` bytes.
    pub(super) fn new(
        plugin: Arc<str>,
        config: Arc<str>,
        capabilities: Option<Arc<Capabilities>>,
        memory: usize,
        granted: Arc<Granted>,
        lines: Arc<Lines>,
    ) -> State {
        State {
            plugin,
            config,
            capabilities,
            patience: Patience::of(&granted),
            granted,
            subject: Subject::default(),
            before: None,
            keeps_before: false,
            put: PutInto::default(),
            place: 0,
            is_request_open: false,
            is_first_hook: true,
            memory_left: memory,
            entries_left: TABLE_ENTRIES,
            lines,
            calls_left: CALLS_PER_HOOK,
            lines_left: LINES,
            slices_left: 0,
            has_waited: false,
            wasi: None,
        }
    }

    /// Forgets the exchange that the instance has served.
    pub(super) fn rest(&mut self) {
        self.capabilities = None;
        self.lines_left = LINES;
        self.is_first_hook = true;
    }

    /// Gives a rested instance to an exchange that reaches these.
    pub(super) fn assign(&mut self, capabilities: Arc<Capabilities>) {
        self.capabilities = Some(capabilities);
    }

    /// Makes ready for a hook that may run for `slices` ticks. The subject is here meanwhile, and what is
    /// left of it where it was is vacant.
    pub(super) fn begin(&mut self, subject: &mut Subject, hook: &Hook) {
        std::mem::swap(&mut self.subject, subject);
        self.before = None;
        self.keeps_before = hook.may_fail;
        self.put = PutInto::default();
        self.place = hook.place;
        self.is_request_open = hook.is_request;
        self.calls_left = CALLS_PER_HOOK;
        self.slices_left = hook.slices;
        self.has_waited = false;
        self.patience = Patience::of(&self.granted);
    }

    /// Gives the subject back: as the hook left it, or as it was before a hook that failed.
    pub(super) fn end(&mut self, subject: &mut Subject, has_failed: bool) {
        self.is_first_hook = false;
        std::mem::swap(&mut self.subject, subject);
        if let Some(before) = self.before.take()
            && has_failed
        {
            *subject = *before;
        }
    }

    /// Takes a tick from the running hook's time, if it ran then; false when that was the last.
    pub(super) fn tick(&mut self) -> bool {
        if std::mem::take(&mut self.has_waited) {
            return true;
        }
        self.slices_left = self.slices_left.saturating_sub(1);
        self.slices_left > 0
    }

    fn enter(&mut self) -> wasmtime::Result<()> {
        match self.calls_left.checked_sub(1) {
            Some(left) => {
                self.calls_left = left;
                Ok(())
            }
            None => Err(wasmtime::Error::new(Exceeded::HostCalls)),
        }
    }
}

/// What the running hook has put into the messages.
#[derive(Default)]
struct PutInto {
    request: Put,
    response: Put,
    /// The response to come.
    delivery: Put,
}

/// Waits with the guest for what it has asked for. A guest that goes on after a tick has passed notices that
/// at once, and is not to blame for it.
async fn wait<T>(has_waited: &mut bool, work: impl Future<Output = T>) -> T {
    let before = ticks();
    let done = work.await;
    *has_waited |= ticks() != before;
    done
}

/// What a hook may do, and for how long.
pub(super) struct Hook {
    /// The filter's place on its route.
    pub(super) place: usize,
    /// Whether the request may still be changed.
    pub(super) is_request: bool,
    /// Whether the exchange goes on without the plugin when the hook fails.
    pub(super) may_fail: bool,
    /// The ticks that it may run for.
    pub(super) slices: u64,
}

impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        take(&mut self.memory_left, desired.saturating_sub(current))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        take(&mut self.entries_left, desired.saturating_sub(current))
    }
}

/// Lets something grow by `more`, which counts also where the growth then fails.
fn take(left: &mut usize, more: usize) -> wasmtime::Result<bool> {
    match left.checked_sub(more) {
        Some(rest) => {
            *left = rest;
            Ok(true)
        }
        None => Err(wasmtime::Error::new(Exceeded::Memory)),
    }
}
