//! The exchange by value: the heads that a guest of `filter-values` gets, and its decisions carried
//! out as if it had called for each.

use super::super::bindings::by_value::tidegate::plugin::values::{
    Decision, HeaderChange, OriginDecision, RequestChanges, RequestHead, ResponseDecision,
    ResponseHead,
};
use super::super::bindings::tidegate::plugin::exchange::Flow;
use super::super::bindings::tidegate::plugin::types::Refusal;
use super::super::convert;
use super::State;
use super::changes::FieldChange;
use crate::wasm::Exceeded;

impl State {
    /// The request as a guest gets it.
    pub(in super::super) fn request_head(&mut self) -> RequestHead {
        self.show(None);
        let subject = &self.subject;
        RequestHead {
            method: subject.method.as_str().to_owned(),
            scheme: subject.scheme.to_owned(),
            authority: subject.authority.clone(),
            path: subject.path_and_query.path().to_owned(),
            query: subject.path_and_query.query().map(str::to_owned),
            client: subject.client.to_canonical().to_string(),
            headers: convert::fields(&subject.headers),
        }
    }

    /// The response as a guest gets it, once there is one.
    pub(in super::super) fn response_head(&self) -> ResponseHead {
        let response = self.subject.response.as_ref();
        ResponseHead {
            status: response.map_or(0, |(status, _)| status.as_u16()),
            headers: response.map_or_else(Vec::new, |(_, headers)| convert::fields(headers)),
        }
    }

    /// Carries out what a guest says of a request.
    ///
    /// # Errors
    /// When an operation is refused, or there are too many of them. What was done before is taken
    /// back as what a failed hook did is.
    pub(in super::super) fn decide_request(
        &mut self,
        decision: Decision,
    ) -> wasmtime::Result<Flow> {
        match decision {
            Decision::Continue => return Ok(Flow::Continue),
            Decision::Respond(reply) => return Ok(Flow::Respond(reply)),
            Decision::Change(changes) => self.change_request_by(changes)?,
        }
        Ok(Flow::Continue)
    }

    fn change_request_by(&mut self, changes: RequestChanges) -> wasmtime::Result<()> {
        for change in &changes.headers {
            self.operate(|state| state.change_request_field(change.into()))?;
        }
        if let Some(path) = changes.path_and_query {
            self.operate(|state| state.set_path(&path))?;
        }
        for part in &changes.cache_key {
            self.operate(|state| state.append_key(part))?;
        }
        if changes.bypass_cache {
            self.operate(State::bypass)?;
        }
        if let Some(policy) = &changes.cache_policy {
            self.operate(|state| state.set_policy(policy))?;
        }
        if let Some(origin) = &changes.origin {
            self.operate(|state| state.use_origin(origin))?;
        }
        Ok(())
    }

    /// Carries out what a guest says of an origin's response.
    ///
    /// # Errors
    /// As [`decide_request`](State::decide_request).
    pub(in super::super) fn decide_origin_response(
        &mut self,
        decision: OriginDecision,
    ) -> wasmtime::Result<()> {
        self.change_response(decision.status, &decision.headers)?;
        for tag in decision.tags {
            self.operate(|state| convert::add_tag(&mut state.change().tags, tag))?;
        }
        if let Some(seconds) = decision.ttl {
            self.change().ttl = Some(convert::seconds(seconds));
        }
        if let Some(seconds) = decision.stale_while_revalidate {
            self.change().stale_while_revalidate = Some(convert::seconds(seconds));
        }
        if let Some(seconds) = decision.stale_if_error {
            self.change().stale_if_error = Some(convert::seconds(seconds));
        }
        if decision.refuse {
            self.change().refuse_storing = true;
        }
        Ok(())
    }

    /// Carries out what a guest says of a response.
    ///
    /// # Errors
    /// As [`decide_request`](State::decide_request).
    pub(in super::super) fn decide_response(
        &mut self,
        decision: ResponseDecision,
    ) -> wasmtime::Result<()> {
        self.change_response(decision.status, &decision.headers)
    }

    fn change_response(
        &mut self,
        status: Option<u16>,
        changes: &[HeaderChange],
    ) -> wasmtime::Result<()> {
        if let Some(status) = status {
            self.operate(|state| state.set_status(status))?;
        }
        for change in changes {
            self.operate(|state| state.change_response_field(change.into()))?;
        }
        Ok(())
    }

    /// One operation of a decision: counted like a call, and a failure where a call would be refused.
    fn operate(
        &mut self,
        operation: impl FnOnce(&mut State) -> Result<(), Refusal>,
    ) -> wasmtime::Result<()> {
        self.enter()?;
        operation(self).map_err(|refusal| wasmtime::Error::new(Exceeded::Decision(refusal.name())))
    }
}

impl<'a> From<&'a HeaderChange> for FieldChange<'a> {
    fn from(change: &'a HeaderChange) -> FieldChange<'a> {
        match change {
            HeaderChange::Set((name, value)) => FieldChange::Set(name, value),
            HeaderChange::Append((name, value)) => FieldChange::Append(name, value),
            HeaderChange::Remove(name) => FieldChange::Remove(name),
        }
    }
}
