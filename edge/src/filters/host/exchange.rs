//! The exchange, as a guest reads and changes it.

use http::HeaderMap;
use wasmtime::component::Resource;

use super::super::bindings::tidegate::plugin::exchange::{
    self, HostRequest, HostResponse, HostStoring,
};
use super::super::bindings::tidegate::plugin::instance;
use super::super::bindings::tidegate::plugin::types::{self, CachePolicy, Header, Refusal};
use super::super::convert;
use super::State;
use super::changes::FieldChange;

/// The request of the exchange. Handles carry nothing: there is one in the store.
#[allow(unreachable_pub, reason = "the generated bindings export it again")]
pub struct Request;
/// The response of the exchange.
#[allow(unreachable_pub, reason = "the generated bindings export it again")]
pub struct Response;
/// How the response will be kept.
#[allow(unreachable_pub, reason = "the generated bindings export it again")]
pub struct Storing;

impl State {
    fn response_headers(&self) -> Option<&HeaderMap> {
        self.subject.response.as_ref().map(|(_, headers)| headers)
    }
}

fn first(headers: Option<&HeaderMap>, name: &str) -> Option<Vec<u8>> {
    headers?.get(name).map(|value| value.as_bytes().to_vec())
}

fn all(headers: Option<&HeaderMap>, name: &str) -> Vec<Vec<u8>> {
    let values = headers
        .into_iter()
        .flat_map(|headers| headers.get_all(name));
    values.map(|value| value.as_bytes().to_vec()).collect()
}

impl types::Host for State {}
impl exchange::Host for State {}

impl instance::Host for State {
    fn is_first_hook(&mut self) -> wasmtime::Result<bool> {
        self.enter()?;
        Ok(self.is_first_hook)
    }
}

impl HostRequest for State {
    fn method(&mut self, _: Resource<Request>) -> wasmtime::Result<String> {
        self.enter()?;
        Ok(self.subject.method.as_str().to_owned())
    }

    fn scheme(&mut self, _: Resource<Request>) -> wasmtime::Result<String> {
        self.enter()?;
        Ok(self.subject.scheme.to_owned())
    }

    fn authority(&mut self, _: Resource<Request>) -> wasmtime::Result<String> {
        self.enter()?;
        Ok(self.subject.authority.clone())
    }

    fn path(&mut self, _: Resource<Request>) -> wasmtime::Result<String> {
        self.enter()?;
        Ok(self.subject.path_and_query.path().to_owned())
    }

    fn query(&mut self, _: Resource<Request>) -> wasmtime::Result<Option<String>> {
        self.enter()?;
        Ok(self.subject.path_and_query.query().map(str::to_owned))
    }

    fn set_path_and_query(
        &mut self,
        _: Resource<Request>,
        value: String,
    ) -> wasmtime::Result<Result<(), Refusal>> {
        self.enter()?;
        Ok(self.set_path(&value))
    }

    fn client(&mut self, _: Resource<Request>) -> wasmtime::Result<String> {
        self.enter()?;
        Ok(self.subject.client.to_canonical().to_string())
    }

    fn header(&mut self, _: Resource<Request>, name: String) -> wasmtime::Result<Option<Vec<u8>>> {
        self.enter()?;
        self.show(Some(&name));
        Ok(first(Some(&self.subject.headers), &name))
    }

    fn header_values(
        &mut self,
        _: Resource<Request>,
        name: String,
    ) -> wasmtime::Result<Vec<Vec<u8>>> {
        self.enter()?;
        self.show(Some(&name));
        Ok(all(Some(&self.subject.headers), &name))
    }

    fn headers(&mut self, _: Resource<Request>) -> wasmtime::Result<Vec<Header>> {
        self.enter()?;
        self.show(None);
        Ok(convert::fields(&self.subject.headers))
    }

    fn set_header(
        &mut self,
        _: Resource<Request>,
        name: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Refusal>> {
        self.enter()?;
        Ok(self.change_request_field(FieldChange::Set(&name, &value)))
    }

    fn append_header(
        &mut self,
        _: Resource<Request>,
        name: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Refusal>> {
        self.enter()?;
        Ok(self.change_request_field(FieldChange::Append(&name, &value)))
    }

    fn remove_header(
        &mut self,
        _: Resource<Request>,
        name: String,
    ) -> wasmtime::Result<Result<(), Refusal>> {
        self.enter()?;
        Ok(self.change_request_field(FieldChange::Remove(&name)))
    }

    fn append_cache_key(
        &mut self,
        _: Resource<Request>,
        part: String,
    ) -> wasmtime::Result<Result<(), Refusal>> {
        self.enter()?;
        Ok(self.append_key(&part))
    }

    fn bypass_cache(&mut self, _: Resource<Request>) -> wasmtime::Result<Result<(), Refusal>> {
        self.enter()?;
        Ok(self.bypass())
    }

    fn set_cache_policy(
        &mut self,
        _: Resource<Request>,
        policy: CachePolicy,
    ) -> wasmtime::Result<Result<(), Refusal>> {
        self.enter()?;
        Ok(self.set_policy(&policy))
    }

    fn use_origin(
        &mut self,
        _: Resource<Request>,
        name: String,
    ) -> wasmtime::Result<Result<(), Refusal>> {
        self.enter()?;
        Ok(State::use_origin(self, &name))
    }

    fn drop(&mut self, _: Resource<Request>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl HostResponse for State {
    fn status(&mut self, _: Resource<Response>) -> wasmtime::Result<u16> {
        self.enter()?;
        Ok(self
            .subject
            .response
            .as_ref()
            .map_or(0, |(status, _)| status.as_u16()))
    }

    fn set_status(
        &mut self,
        _: Resource<Response>,
        status: u16,
    ) -> wasmtime::Result<Result<(), Refusal>> {
        self.enter()?;
        Ok(State::set_status(self, status))
    }

    fn header(&mut self, _: Resource<Response>, name: String) -> wasmtime::Result<Option<Vec<u8>>> {
        self.enter()?;
        Ok(first(self.response_headers(), &name))
    }

    fn header_values(
        &mut self,
        _: Resource<Response>,
        name: String,
    ) -> wasmtime::Result<Vec<Vec<u8>>> {
        self.enter()?;
        Ok(all(self.response_headers(), &name))
    }

    fn headers(&mut self, _: Resource<Response>) -> wasmtime::Result<Vec<Header>> {
        self.enter()?;
        Ok(self
            .response_headers()
            .map(convert::fields)
            .unwrap_or_default())
    }

    fn set_header(
        &mut self,
        _: Resource<Response>,
        name: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Refusal>> {
        self.enter()?;
        Ok(self.change_response_field(FieldChange::Set(&name, &value)))
    }

    fn append_header(
        &mut self,
        _: Resource<Response>,
        name: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Refusal>> {
        self.enter()?;
        Ok(self.change_response_field(FieldChange::Append(&name, &value)))
    }

    fn remove_header(
        &mut self,
        _: Resource<Response>,
        name: String,
    ) -> wasmtime::Result<Result<(), Refusal>> {
        self.enter()?;
        Ok(self.change_response_field(FieldChange::Remove(&name)))
    }

    fn drop(&mut self, _: Resource<Response>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl HostStoring for State {
    fn set_ttl(&mut self, _: Resource<Storing>, seconds: u32) -> wasmtime::Result<()> {
        self.enter()?;
        self.change().ttl = Some(convert::seconds(seconds));
        Ok(())
    }

    fn set_stale_while_revalidate(
        &mut self,
        _: Resource<Storing>,
        seconds: u32,
    ) -> wasmtime::Result<()> {
        self.enter()?;
        self.change().stale_while_revalidate = Some(convert::seconds(seconds));
        Ok(())
    }

    fn set_stale_if_error(&mut self, _: Resource<Storing>, seconds: u32) -> wasmtime::Result<()> {
        self.enter()?;
        self.change().stale_if_error = Some(convert::seconds(seconds));
        Ok(())
    }

    fn add_tag(
        &mut self,
        _: Resource<Storing>,
        tag: String,
    ) -> wasmtime::Result<Result<(), Refusal>> {
        self.enter()?;
        Ok(convert::add_tag(&mut self.change().tags, tag))
    }

    fn refuse(&mut self, _: Resource<Storing>) -> wasmtime::Result<()> {
        self.enter()?;
        self.change().refuse_storing = true;
        Ok(())
    }

    fn drop(&mut self, _: Resource<Storing>) -> wasmtime::Result<()> {
        Ok(())
    }
}
