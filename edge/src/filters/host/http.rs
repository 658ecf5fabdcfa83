//! The capability `http`.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{Method, Request, Response, Uri};

use super::super::bindings::tidegate::plugin::http::{self as wit, Error};
use super::super::bindings::tidegate::plugin::types::Refusal;
use super::super::convert::{self, Put};
use super::{State, wait};
use crate::body::Body;
use crate::egress::EgressError;

/// The largest body that a guest sends or gets, in bytes.
const LARGEST_BODY: usize = 1 << 20;

impl wit::Host for State {
    async fn send(
        &mut self,
        request: wit::Request,
    ) -> wasmtime::Result<Result<wit::Response, Error>> {
        self.enter()?;
        let Some(capabilities) = &self.capabilities else {
            let reason = "nobody is asked while a configuration is read";
            return Ok(Err(Error::Denied(reason.to_owned())));
        };
        let request = match outbound(request) {
            Ok(request) => request,
            Err(reason) => return Ok(Err(Error::Invalid(reason))),
        };
        if self.patience.http.is_zero() {
            let reason = "this hook has waited for other servers long enough";
            return Ok(Err(Error::Timeout(reason.to_owned())));
        }
        let egress = Arc::clone(&capabilities.egress);
        let granted = Arc::clone(&self.granted);
        let began = Instant::now();
        let answer = egress.fetch(&granted.hosts, request, self.patience.http, LARGEST_BODY);
        let answer = wait(&mut self.has_waited, answer).await;
        self.patience.http = self.patience.http.saturating_sub(began.elapsed());
        Ok(match answer {
            Ok(response) => Ok(inbound(response)),
            Err(error) => {
                let plugin = &*self.plugin;
                tracing::debug!(plugin, %error, "a plugin's request brought no response");
                Err(told(&error))
            }
        })
    }
}

/// A guest's request.
///
/// # Errors
/// What makes it none.
fn outbound(request: wit::Request) -> Result<Request<Body>, String> {
    if request.body.len() > LARGEST_BODY {
        let length = request.body.len();
        return Err(format!("a body of {length} bytes, over {LARGEST_BODY}"));
    }
    let method = Method::from_bytes(request.method.as_bytes())
        .map_err(|_| "the method is no token".to_owned())?;
    let url: Uri = request
        .url
        .parse()
        .map_err(|_| "the url is none".to_owned())?;
    let mut outbound = Request::new(Body::from(Bytes::from(request.body)));
    let mut fields = Put::default();
    for (name, value) in request.headers {
        let wrong = |refusal: Refusal| {
            let shown: String = name.chars().take(64).collect();
            match refusal {
                Refusal::InvalidName => format!("{shown:?} is no field name"),
                Refusal::InvalidValue => format!("the value of {shown:?} is no field value"),
                Refusal::TooLarge => "the fields are too many or too long".to_owned(),
                _ => format!("{shown:?} is set by the edge"),
            }
        };
        let field = convert::field_name(&name).map_err(wrong)?;
        let value = convert::field_value(&value).map_err(wrong)?;
        let put = convert::put_field(outbound.headers_mut(), &mut fields, field, value, true);
        put.map_err(wrong)?;
    }
    *outbound.method_mut() = method;
    *outbound.uri_mut() = url;
    Ok(outbound)
}

fn inbound(response: Response<Bytes>) -> wit::Response {
    wit::Response {
        status: response.status().as_u16(),
        headers: convert::fields(response.headers()),
        body: response.into_body().into(),
    }
}

/// An error as the guest gets it.
fn told(error: &EgressError) -> Error {
    let text = error.to_string();
    match error {
        EgressError::Url(_) | EgressError::Method(_) => Error::Invalid(text),
        EgressError::Denied(_) | EgressError::Https => Error::Denied(text),
        EgressError::Connect { .. } => Error::Connect(text),
        EgressError::Timeout { .. } => Error::Timeout(text),
        EgressError::Terminated { .. } | EgressError::Protocol { .. } => Error::Broken(text),
        EgressError::TooLarge { .. } => Error::TooLarge(text),
    }
}
