//! How guests fail, and how often they have.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use wasmtime::Trap;

/// A plugin failed, and its route says that the request then fails as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The plugin's name in the configuration.
    pub plugin: String,
    pub kind: FailureKind,
}

/// In which way an instance failed. It is gone afterwards, whatever the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureKind {
    /// It panicked, or did what WebAssembly does not allow.
    Trap,
    /// It ran longer than its deadline.
    Deadline,
    /// It asked for more memory than it may have.
    Memory,
    /// It used up its stack of calls.
    Stack,
    /// It called the edge more often, or with more, than one hook may.
    HostCalls,
    /// It answered with what is no response.
    Answer,
    /// It answered with more than the edge takes from it.
    AnswerSize,
    /// There was no room for another instance, and none was made in time.
    Refused,
}

impl FailureKind {
    /// The one word for this case in logs, metrics and `Proxy-Status`.
    pub fn name(self) -> &'static str {
        match self {
            FailureKind::Trap => "trap",
            FailureKind::Deadline => "deadline",
            FailureKind::Memory => "memory",
            FailureKind::Stack => "stack",
            FailureKind::HostCalls => "host-calls",
            FailureKind::Answer => "answer",
            FailureKind::AnswerSize => "answer-size",
            FailureKind::Refused => "refused",
        }
    }

    /// What an error that ended a call means.
    pub(crate) fn of(error: &wasmtime::Error) -> FailureKind {
        if let Some(limit) = error.downcast_ref::<Exceeded>() {
            return match limit {
                Exceeded::Memory => FailureKind::Memory,
                Exceeded::HostCalls => FailureKind::HostCalls,
                Exceeded::Deadline => FailureKind::Deadline,
                Exceeded::Answer | Exceeded::Decision(_) => FailureKind::Answer,
                Exceeded::AnswerSize => FailureKind::AnswerSize,
                Exceeded::Instances => FailureKind::Refused,
            };
        }
        if carries_too_much(error) {
            // Where the guest was still running, it was a call; else what it came back with.
            return if error.is::<wasmtime::WasmBacktrace>() {
                FailureKind::HostCalls
            } else {
                FailureKind::AnswerSize
            };
        }
        if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            return FailureKind::Refused;
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => FailureKind::Deadline,
            Some(Trap::StackOverflow) => FailureKind::Stack,
            Some(Trap::AllocationTooLarge) => FailureKind::Memory,
            _ => FailureKind::Trap,
        }
    }
}

/// Whether a call was to carry more out of a guest than its store allows. The engine's error has no
/// name of its own.
fn carries_too_much(error: &wasmtime::Error) -> bool {
    let reason = error.root_cause().to_string();
    reason.contains("fuel allocated for hostcalls has been exhausted")
}

impl fmt::Display for FailureKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Limits of the edge's own, as errors that end a guest's call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Exceeded {
    #[error("more memory than the route allows")]
    Memory,
    #[error("more calls of the edge than a hook may make")]
    HostCalls,
    #[error("more time than the route allows")]
    Deadline,
    #[error("an answer without a final status")]
    Answer,
    #[error("an answer longer than the edge takes from a guest")]
    AnswerSize,
    #[error("as many instances as there may be, for as long as an exchange waits")]
    Instances,
    #[error("a decision with an operation that is refused as {0}")]
    Decision(&'static str),
}

type Counts = BTreeMap<(String, FailureKind), u64>;

static COUNTS: Mutex<Counts> = Mutex::new(Counts::new());

/// Counts a failure.
pub(crate) fn count(plugin: &str, kind: FailureKind) {
    let mut counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    *counts.entry((plugin.to_owned(), kind)).or_default() += 1;
}

/// How often each plugin has failed in each way since the process started, fail-open or not:
/// `(plugin, kind, count)`, in a stable order.
pub fn failures() -> Vec<(String, FailureKind, u64)> {
    let counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    counts
        .iter()
        .map(|((plugin, kind), count)| (plugin.clone(), *kind, *count))
        .collect()
}
