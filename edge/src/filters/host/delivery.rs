//! What a guest says of the response to come.

use http::HeaderName;

use super::super::bindings::tidegate::plugin::delivery;
use super::super::bindings::tidegate::plugin::types::Refusal;
use super::super::convert;
use super::super::delivery::How;
use super::State;
use crate::wasm::Exceeded;

impl State {
    /// Keeps a change until there is a response.
    ///
    /// # Errors
    /// When the hook has said too much of it: what it takes for done must not be left out.
    fn deliver(
        &mut self,
        change: impl FnOnce() -> Result<(HeaderName, How), Refusal>,
    ) -> wasmtime::Result<Result<(), Refusal>> {
        self.enter()?;
        if !self.is_request_open {
            return Ok(Err(Refusal::TooLate));
        }
        let (name, how) = match change() {
            Ok(change) => change,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let put = self.put.delivery.add(&name, how.len());
        put.map_err(|_| wasmtime::Error::new(Exceeded::HostCalls))?;
        self.subject.delivery.keep(self.place, name, how);
        Ok(Ok(()))
    }
}

impl delivery::Host for State {
    fn set_header(
        &mut self,
        name: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Refusal>> {
        self.deliver(|| {
            let name = convert::field_name(&name)?;
            Ok((name, How::Set(convert::own_field_value(value)?)))
        })
    }

    fn append_header(
        &mut self,
        name: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Refusal>> {
        self.deliver(|| {
            let name = convert::field_name(&name)?;
            Ok((name, How::Append(convert::own_field_value(value)?)))
        })
    }

    fn remove_header(&mut self, name: String) -> wasmtime::Result<Result<(), Refusal>> {
        self.deliver(|| Ok((convert::field_name(&name)?, How::Remove)))
    }
}
