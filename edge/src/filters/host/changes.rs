//! What guests of both worlds may change of an exchange.

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};

use super::super::bindings::tidegate::plugin::types::{CachePolicy, Refusal};
use super::super::convert::{self, Put};
use super::State;
use crate::filters::Subject;

/// A change to one field of a message.
pub(super) enum FieldChange<'a> {
    Set(&'a str, &'a [u8]),
    Append(&'a str, &'a [u8]),
    Remove(&'a str),
}

impl FieldChange<'_> {
    /// Makes the change. `already` is what the hook has put into the message so far.
    fn make(self, headers: &mut HeaderMap, already: &mut Put) -> Result<(), Refusal> {
        let (name, value, append) = match self {
            FieldChange::Set(name, value) => (name, value, false),
            FieldChange::Append(name, value) => (name, value, true),
            FieldChange::Remove(name) => {
                headers.remove(convert::field_name(name)?);
                return Ok(());
            }
        };
        let name = convert::field_name(name)?;
        let value = convert::field_value(value)?;
        convert::put_field(headers, already, name, value, append)
    }
}

impl State {
    /// The subject, about to be changed.
    pub(super) fn change(&mut self) -> &mut Subject {
        if self.keeps_before && self.before.is_none() {
            self.before = Some(Box::new(self.subject.clone()));
        }
        &mut self.subject
    }

    /// The request, about to be changed; refused once it has been sent.
    fn change_request(&mut self) -> Result<&mut Subject, Refusal> {
        if self.is_request_open {
            Ok(self.change())
        } else {
            Err(Refusal::TooLate)
        }
    }

    pub(super) fn change_request_field(&mut self, change: FieldChange<'_>) -> Result<(), Refusal> {
        self.change_request()?;
        change.make(&mut self.subject.headers, &mut self.put.request)
    }

    pub(super) fn change_response_field(&mut self, change: FieldChange<'_>) -> Result<(), Refusal> {
        self.change();
        let response = self.subject.response.as_mut();
        let (_, headers) = response.ok_or(Refusal::TooLate)?;
        change.make(headers, &mut self.put.response)
    }

    pub(super) fn set_path(&mut self, value: &str) -> Result<(), Refusal> {
        let path = convert::path_and_query(value)?;
        self.change_request()?.path_and_query = path;
        Ok(())
    }

    pub(super) fn append_key(&mut self, part: &str) -> Result<(), Refusal> {
        let subject = self.change_request()?;
        let appended = convert::append_key(&mut subject.key_extra, part);
        // Without the part the exchange would share what it was to be kept apart from.
        subject.bypass_cache |= appended.is_err();
        appended
    }

    pub(super) fn bypass(&mut self) -> Result<(), Refusal> {
        self.change_request()?.bypass_cache = true;
        Ok(())
    }

    pub(super) fn set_policy(&mut self, policy: &CachePolicy) -> Result<(), Refusal> {
        let subject = self.change_request()?;
        let before = subject.policy.as_deref().copied().unwrap_or_default();
        subject.policy = Some(Box::new(before.and(convert::policy(policy))));
        Ok(())
    }

    pub(super) fn use_origin(&mut self, name: &str) -> Result<(), Refusal> {
        let subject = self.change_request()?;
        let origins = subject.origins.as_deref().unwrap_or_default();
        let place = origins.iter().position(|origin| origin == name);
        subject.origin = place.ok_or(Refusal::Forbidden)?;
        Ok(())
    }

    pub(super) fn set_status(&mut self, status: u16) -> Result<(), Refusal> {
        let response = self.change().response.as_mut();
        let (before, _) = response.ok_or(Refusal::TooLate)?;
        *before = convert::status(*before, status)?;
        Ok(())
    }

    /// The guest reads fields of the request, all or those of a name: remembers where they say whose
    /// request it is.
    pub(super) fn show(&mut self, name: Option<&str>) {
        let headers = &self.subject.headers;
        let is_shown = |field: &http::HeaderName| {
            name.is_none_or(|name| name.eq_ignore_ascii_case(field.as_str()))
                && headers.contains_key(field)
        };
        if is_shown(&COOKIE) || is_shown(&AUTHORIZATION) {
            self.subject.has_shown_user = true;
        }
    }
}
