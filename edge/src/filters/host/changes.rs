//! What guests of both worlds may change of an exchange.

use http::HeaderMap;

use super::super::bindings::tidegate::plugin::types::Refusal;
use super::super::convert;
use super::State;
use crate::filters::Subject;

/// A change to one field of a message.
pub(super) enum FieldChange<'a> {
    Set(&'a str, &'a [u8]),
    Append(&'a str, &'a [u8]),
    Remove(&'a str),
}

impl FieldChange<'_> {
    fn make(self, headers: &mut HeaderMap) -> Result<(), Refusal> {
        let (name, value, append) = match self {
            FieldChange::Set(name, value) => (name, value, false),
            FieldChange::Append(name, value) => (name, value, true),
            FieldChange::Remove(name) => {
                headers.remove(convert::field_name(name)?);
                return Ok(());
            }
        };
        let name = convert::field_name(name)?;
        convert::put_field(headers, name, convert::field_value(value)?, append)
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
        change.make(&mut self.change_request()?.headers)
    }

    pub(super) fn change_response_field(&mut self, change: FieldChange<'_>) -> Result<(), Refusal> {
        let response = self.change().response.as_mut();
        let (_, headers) = response.ok_or(Refusal::TooLate)?;
        change.make(headers)
    }

    pub(super) fn set_path(&mut self, value: &str) -> Result<(), Refusal> {
        let path = convert::path_and_query(value)?;
        self.change_request()?.path_and_query = path;
        Ok(())
    }

    pub(super) fn append_key(&mut self, part: &str) -> Result<(), Refusal> {
        convert::append_key(&mut self.change_request()?.key_extra, part)
    }

    pub(super) fn bypass(&mut self) -> Result<(), Refusal> {
        self.change_request()?.bypass_cache = true;
        Ok(())
    }
}
