//! The filters of a route over one exchange.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use super::bindings::tidegate::plugin::exchange;
use super::bindings::tidegate::plugin::types::HookSet;
use super::chain::{Instance, Step};
use super::engine::slices;
use super::guest::Stage;
use super::held::Held;
use super::host::Hook;
use super::patience::within;
use super::{Capabilities, Delivery, OnFailure, Subject, convert};
use crate::wasm::{self, Failure, FailureKind, Line};

/// What happens to an exchange after its filters.
#[derive(Debug)]
pub enum Flow {
    Continue,
    /// A filter answers; neither cache nor origin is asked.
    Respond(http::Response<Bytes>),
    /// A plugin failed and its route says that the request then fails as well.
    Failed(Failure),
}

/// The filters of one exchange: its instances, made at the first hook and kept for the later ones.
pub struct Filters {
    steps: Arc<[Arc<Step>]>,
    hooks: HookSet,
    slots: Vec<Slot>,
    capabilities: Arc<Capabilities>,
    /// What they have said of the response to come.
    delivery: Delivery,
    /// The place of the filter that answered; those after it never saw the request.
    answered_by: Option<usize>,
}

enum Slot {
    /// Not made yet, or not needed any more; a hook that comes again has a new one.
    Vacant,
    Alive(Held),
    /// Failed: its hooks are [missed](Step::miss) from now on.
    Gone,
}

impl Drop for Filters {
    /// Gives back the instances whose later hooks did not come: of an exchange that was answered from
    /// the cache, or whose client has left between two hooks.
    fn drop(&mut self) {
        for (slot, step) in self.slots.drain(..).zip(&*self.steps) {
            if let Slot::Alive(held) = slot {
                step.give_back(held);
            }
        }
    }
}

impl Filters {
    pub(super) fn new(
        steps: Arc<[Arc<Step>]>,
        hooks: HookSet,
        capabilities: Arc<Capabilities>,
    ) -> Filters {
        Filters {
            steps,
            hooks,
            slots: Vec::new(),
            capabilities,
            delivery: Delivery::default(),
            answered_by: None,
        }
    }

    /// Whether [`on_request`](Filters::on_request) has anything to run.
    pub fn has_on_request(&self) -> bool {
        self.has(Stage::Request)
    }

    /// Whether [`on_origin_response`](Filters::on_origin_response) has anything to run.
    pub fn has_on_origin_response(&self) -> bool {
        self.has(Stage::OriginResponse)
    }

    /// Whether [`on_response`](Filters::on_response) has anything to run.
    pub fn has_on_response(&self) -> bool {
        self.has(Stage::Response)
    }

    /// Runs the filters, in order, before the cache is looked into.
    pub async fn on_request(&mut self, subject: &mut Subject) -> Flow {
        if !self.has_on_request() {
            return Flow::Continue;
        }
        let mut flow = Flow::Continue;
        for at in 0..self.steps.len() {
            flow = self.run(at, Stage::Request, subject).await;
            if !matches!(flow, Flow::Continue) {
                self.answered_by = Some(at);
                break;
            }
        }
        self.delivery = std::mem::take(&mut subject.delivery);
        flow
    }

    /// Runs the filters, last to first, over what the origin has answered. Without a response in
    /// the subject, nothing runs.
    pub async fn on_origin_response(&mut self, subject: &mut Subject) -> Flow {
        if !self.has_on_origin_response() {
            return Flow::Continue;
        }
        self.run_back(Stage::OriginResponse, subject).await
    }

    /// Runs the filters, last to first, over what the client will get: of an answer that a filter
    /// gave, only that filter and those before it, since the others have not seen the request. What
    /// each has said of the response in `on-request` is done in its place.
    /// Without a response in the subject, nothing runs.
    pub async fn on_response(&mut self, subject: &mut Subject) -> Flow {
        if self.has_on_response() {
            return self.run_back(Stage::Response, subject).await;
        }
        if let Some((_, headers)) = &mut subject.response {
            self.deliver(headers);
        }
        Flow::Continue
    }

    /// Does to the client's response what the filters have said of it, where none of them
    /// [has more to do](Filters::has_on_response) with it.
    pub fn deliver(&mut self, headers: &mut HeaderMap) {
        for place in (0..self.steps.len()).rev() {
            self.delivery.carry_out(place, headers);
        }
    }

    fn has(&self, stage: Stage) -> bool {
        self.hooks.contains(stage.hook())
    }

    async fn run_back(&mut self, stage: Stage, subject: &mut Subject) -> Flow {
        if subject.response.is_none() {
            return Flow::Continue;
        }
        let end = self.answered_by.map_or(self.steps.len(), |at| at + 1);
        for at in (0..end).rev() {
            if let (Stage::Response, Some((_, headers))) = (stage, &mut subject.response) {
                self.delivery.carry_out(at, headers);
            }
            match self.run(at, stage, subject).await {
                Flow::Continue => {}
                flow => return flow,
            }
        }
        Flow::Continue
    }

    /// Runs one filter's hook, if it has it and is still there.
    async fn run(&mut self, at: usize, stage: Stage, subject: &mut Subject) -> Flow {
        let step = &self.steps[at];
        if !step.hooks.contains(stage.hook()) {
            return Flow::Continue;
        }
        if self.slots.is_empty() {
            self.slots.resize_with(self.steps.len(), || Slot::Vacant);
        }
        // Out of its slot while it runs: an instance whose hook was dropped half-way is not used
        // again.
        let slot = match std::mem::replace(&mut self.slots[at], Slot::Gone) {
            Slot::Vacant => None,
            Slot::Alive(held) => Some(held),
            Slot::Gone => {
                step.miss(stage, subject);
                return Flow::Continue;
            }
        };
        let said = subject.delivery.len();
        // Boxed, so that the state of a guest's call does not make every exchange's future large.
        let ran = Box::pin(call(step, at, slot, stage, &self.capabilities, subject)).await;
        match ran {
            Ok((flow, held)) => {
                self.slots[at] = if stage.has_later(step.hooks) {
                    Slot::Alive(held)
                } else {
                    step.give_back(held);
                    Slot::Vacant
                };
                flow
            }
            Err(error) => {
                subject.delivery.forget_from(said);
                let kind = FailureKind::of(&error);
                wasm::count(&step.plugin, kind);
                step.log(kind, &error);
                match step.on_failure {
                    OnFailure::Open => {
                        step.miss(stage, subject);
                        Flow::Continue
                    }
                    OnFailure::Closed => Flow::Failed(Failure {
                        plugin: step.plugin.to_string(),
                        kind,
                    }),
                }
            }
        }
    }
}

impl Step {
    /// The exchange goes on without a hook of this filter. What the filter might have kept apart, or
    /// kept from being stored, is not shared then.
    fn miss(&self, stage: Stage, subject: &mut Subject) {
        match stage {
            Stage::Request => subject.bypass_cache |= self.compiled.may.change_requests,
            Stage::OriginResponse => subject.has_missed |= self.compiled.may.shape_storing,
            Stage::Response => {}
        }
    }

    /// Logs a failure, unless this plugin has filled its lines of this second.
    fn log(&self, kind: FailureKind, error: &wasmtime::Error) {
        let plugin = &*self.plugin;
        match self.lines.admit() {
            Line::Written => {
                let reason = wasm::words(&error.root_cause().to_string());
                tracing::warn!(plugin, kind = kind.name(), reason, "plugin failed");
            }
            Line::FirstLeftOut => tracing::warn!(plugin, "further lines of this second left out"),
            Line::LeftOut => {}
        }
    }
}

/// How long a hook may wait for what it asks of the edge, all of it together, beside what its route
/// grants it time for.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// The same for a guest with WASI, which finds nothing there to wait for.
const WASI_WAIT: Duration = Duration::from_secs(1);

/// Runs a hook: in the exchange's instance, or in a new one. The subject is in the guest's store
/// meanwhile, and comes back whatever happens there.
async fn call(
    step: &Step,
    place: usize,
    held: Option<Held>,
    stage: Stage,
    capabilities: &Arc<Capabilities>,
    subject: &mut Subject,
) -> wasmtime::Result<(Flow, Held)> {
    let slices = slices(step.deadline);
    let mut held = match held {
        Some(held) => held,
        None => step.take(capabilities, slices).await?,
    };
    let instance = &mut *held.instance;
    let rules = Hook {
        place,
        is_request: stage == Stage::Request,
        may_fail: step.on_failure == OnFailure::Open,
        slices,
    };
    instance.store.data_mut().begin(subject, &rules);
    instance.store.set_epoch_deadline(1);
    // What a guest waits for is not found by a tick.
    let waiting = if step.compiled.has_wasi {
        WASI_WAIT
    } else {
        LONGEST_WAIT
    };
    let longest = step.deadline + waiting + step.granted.patience();
    let Instance { store, guest, .. } = instance;
    let called = within(longest, guest.call(store, stage)).await;
    let called = called.and_then(|flow| match flow {
        exchange::Flow::Continue => Ok(Flow::Continue),
        exchange::Flow::Respond(reply) => {
            let reply = convert::reply(reply).map(Flow::Respond);
            reply.map_err(wasmtime::Error::new)
        }
    });
    instance.store.data_mut().end(subject, called.is_err());
    called.map(|flow| (flow, held))
}
