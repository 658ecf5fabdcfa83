//! Messages in a line, and points in time that are easy to read.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use tidegate_semantics::{Exchange, Policy, Refusal, Storable, Terms, Timestamp, storable};

/// Sun, 06 Nov 2033 08:49:37 GMT.
pub(crate) const NOW: Timestamp = Timestamp(2_014_879_777_000);

/// [`NOW`] as a date.
pub(crate) const DATE: &str = "Sun, 06 Nov 2033 08:49:37 GMT";

/// An hour later.
pub(crate) const HOUR_LATER: &str = "Sun, 06 Nov 2033 09:49:37 GMT";

/// An hour earlier.
pub(crate) const HOUR_EARLIER: &str = "Sun, 06 Nov 2033 07:49:37 GMT";

/// Lines of a message: a name, a colon, a value.
pub(crate) fn headers(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').expect("a line has a colon");
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).expect("a field name"),
            HeaderValue::from_bytes(value.trim().as_bytes()).expect("a field value"),
        );
    }
    headers
}

pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// An exchange with a plain GET for `/` that began and ended at [`NOW`].
pub(crate) struct Scene {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) request: HeaderMap,
    pub(crate) status: StatusCode,
    pub(crate) response: HeaderMap,
    pub(crate) delay: Duration,
    pub(crate) policy: Policy,
}

impl Scene {
    pub(crate) fn new(status: u16, response: &[&str]) -> Self {
        Self {
            method: Method::GET,
            path: "/",
            request: HeaderMap::new(),
            status: StatusCode::from_u16(status).expect("a status"),
            response: headers(response),
            delay: Duration::ZERO,
            policy: Policy::default(),
        }
    }

    pub(crate) fn verdict(&self) -> Storable {
        let exchange = Exchange {
            method: &self.method,
            path: self.path,
            request: &self.request,
            status: self.status,
            response: &self.response,
            requested_at: NOW,
            received_at: NOW.plus(self.delay),
        };
        storable(&exchange, &self.policy)
    }

    pub(crate) fn terms(&self) -> Terms {
        match self.verdict() {
            Storable::Keep(terms) => terms,
            Storable::Refuse(refusal) => panic!("refused: {}", refusal.name()),
        }
    }

    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self.verdict() {
            Storable::Keep(_) => None,
            Storable::Refuse(refusal) => Some(refusal),
        }
    }
}

/// The terms of a 200 with these fields and a validator.
pub(crate) fn terms_of(response: &[&str]) -> Terms {
    let mut scene = Scene::new(200, response);
    scene
        .response
        .insert("etag", HeaderValue::from_static("\"v\""));
    scene.terms()
}
