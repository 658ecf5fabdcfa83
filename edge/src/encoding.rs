//! Content codings made at the edge: which responses of a route are encoded, the encoders, and a body
//! that is encoded on its way (RFC 9110 §8.4).
//!
//! What is stored stays in identity form; the forms made of it are kept beside it by `cache`.

mod encoder;
mod slots;
mod stream;

use std::sync::Arc;

use http::header::{IF_RANGE, RANGE};
use http::{HeaderMap, StatusCode};
use tidegate_semantics::{Coding, has_dated_range, is_of_type, may_be_encoded, negotiate};

pub use encoder::{Encoder, Step};
pub use slots::in_slot;
pub use stream::EncodedBody;

use crate::config;
use crate::telemetry::{CodingCounters, Metrics};

/// A route's `[routes.compression]`, ready to be used.
pub struct Compression {
    settings: config::Compression,
    counters: [CodingCounters; Coding::ALL.len()],
}

/// What a request on a route with compression asks for.
#[derive(Clone)]
pub struct Wish {
    pub compression: Arc<Compression>,
    /// The coding the client would have; `None` is identity.
    pub coding: Option<Coding>,
}

impl Compression {
    /// What the configuration says.
    pub fn new(settings: &config::Compression, metrics: &Metrics) -> Compression {
        Compression {
            settings: settings.clone(),
            counters: Coding::ALL.map(|coding| metrics.coding(coding.name())),
        }
    }

    /// What a request asks for. A part that is asked for by a date is not: the beginning may be that
    /// of an encoded form, which has the same date, so all of it is sent (see [`has_dated_range`]).
    pub fn wish(self: &Arc<Self>, request: &mut HeaderMap) -> Wish {
        let codings = &self.settings.codings;
        let mut coding = negotiate(request, codings);
        if has_dated_range(request) {
            let mut whole = request.clone();
            whole.remove(RANGE);
            whole.remove(IF_RANGE);
            coding = negotiate(&whole, codings);
            // Also for who takes no coding with this request: what is to be continued may be one.
            *request = whole;
        }
        Wish {
            compression: Arc::clone(self),
            coding,
        }
    }

    /// Whether a response is encoded for those who would have it so. A body whose length (in bytes)
    /// nobody announced may be any.
    pub fn covers(&self, status: StatusCode, response: &HeaderMap, length: Option<u64>) -> bool {
        let is_long_enough =
            length.is_none_or(|length| length > 0 && length >= self.settings.min_size as u64);
        is_long_enough
            && may_be_encoded(status, response)
            && is_of_type(response, &self.settings.types)
    }

    /// An encoder at the route's level.
    pub fn encoder(&self, coding: Coding) -> Encoder {
        Encoder::new(coding, self.settings.levels.of(coding))
    }

    /// Whether a stored body of so many bytes is encoded on a worker's own thread.
    pub fn encodes_at_once(&self, coding: Coding, length: usize) -> bool {
        encoder::takes_at_once(coding, self.settings.levels.of(coding), length)
    }

    /// One for a body that passes through, which may take its time; `None` where there is no room for
    /// more of those.
    pub fn encoder_if_room(&self, coding: Coding) -> Option<Encoder> {
        Encoder::if_there_is_room(coding, self.settings.levels.of(coding))
    }

    /// One for a stored body, as soon as there is room.
    pub async fn encoder_in_turn(&self, coding: Coding) -> Encoder {
        Encoder::in_turn(coding, self.settings.levels.of(coding)).await
    }

    /// What is counted of a coding.
    pub fn counters(&self, coding: Coding) -> &CodingCounters {
        &self.counters[coding as usize]
    }
}
