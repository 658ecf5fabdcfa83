//! A body that is encoded while it passes through.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};
use tidegate_semantics::forget_identity;

use super::encoder::{Encoder, Step};
use super::in_slot;
use crate::body::{Body, BodyError};
use crate::telemetry::CodingCounters;

/// Bytes encoded on the worker's thread before others get their turn.
const TURN: usize = 64 << 10;

/// See the module. What the source sent is flushed whenever the source pauses, so that a slow
/// origin's parts are not held back.
pub struct EncodedBody {
    source: Body,
    state: State,
    /// What comes behind the body.
    trailers: Option<HeaderMap>,
    /// Bytes taken from the source that the client cannot decode yet.
    owed: usize,
    /// Bytes encoded in this turn.
    turn: usize,
    taken: u64,
    given: u64,
    counters: CodingCounters,
}

enum State {
    Encoding(Encoder),
    /// A step that takes long is done on another thread.
    Away(Pin<Box<dyn Future<Output = Option<io::Result<Done>>> + Send>>),
    Ended,
}

type Done = (Option<Encoder>, Bytes);

impl EncodedBody {
    /// Encodes `source`; the encoder is a fresh one.
    pub fn new(source: Body, encoder: Encoder, counters: CodingCounters) -> EncodedBody {
        EncodedBody {
            source,
            state: State::Encoding(encoder),
            trailers: None,
            owed: 0,
            turn: 0,
            taken: 0,
            given: 0,
            counters,
        }
    }

    /// What comes out next, often nothing; `None` at the end.
    fn poll_encoded(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        let encoder = match std::mem::replace(&mut self.state, State::Ended) {
            State::Ended => return Poll::Ready(None),
            State::Encoding(encoder) => encoder,
            State::Away(mut work) => {
                let Poll::Ready(done) = work.as_mut().poll(context) else {
                    self.state = State::Away(work);
                    return Poll::Pending;
                };
                let lost = || Err(io::Error::other("the encoder was lost"));
                let encoded = done.unwrap_or_else(lost).map(|done| self.settle(done));
                return Poll::Ready(Some(encoded.map_err(broken)));
            }
        };
        if self.turn >= TURN {
            self.turn = 0;
            self.state = State::Encoding(encoder);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let step = match Pin::new(&mut self.source).poll_frame(context) {
            Poll::Ready(None) => Step::Finish,
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(part) => Step::Write(part),
                Err(frame) => {
                    self.trailers = frame.into_trailers().ok();
                    Step::Write(Bytes::new())
                }
            },
            Poll::Pending => {
                self.turn = 0;
                if self.owed == 0 {
                    self.state = State::Encoding(encoder);
                    return Poll::Pending;
                }
                Step::Flush
            }
        };
        Poll::Ready(Some(self.perform(encoder, step).map_err(broken)))
    }

    /// Does a step here and now, or has it done elsewhere.
    fn perform(&mut self, encoder: Encoder, step: Step) -> io::Result<Bytes> {
        let takes_at_once = match &step {
            Step::Write(part) => encoder.takes_at_once(part.len(), self.owed),
            Step::Flush | Step::Finish => encoder.takes_at_once(self.owed, 0),
        };
        match &step {
            Step::Write(part) => {
                self.owed += part.len();
                self.taken += part.len() as u64;
            }
            Step::Flush | Step::Finish => self.owed = 0,
        }
        if !takes_at_once {
            self.state = State::Away(Box::pin(in_slot(move || encoder.step(step))));
            return Ok(Bytes::new());
        }
        if let Step::Write(part) = &step {
            self.turn += part.len();
        }
        let done = encoder.step(step)?;
        Ok(self.settle(done))
    }

    /// Goes on with what a step came to.
    fn settle(&mut self, (encoder, encoded): Done) -> Bytes {
        self.given += encoded.len() as u64;
        self.state = match encoder {
            Some(encoder) => State::Encoding(encoder),
            None => {
                self.counters.count_made();
                self.counters.count_sent(self.taken, self.given);
                State::Ended
            }
        };
        encoded
    }
}

fn broken(error: io::Error) -> BodyError {
    BodyError::Cut(format!("it could not be encoded: {error}"))
}

impl http_body::Body for EncodedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match ready!(self.poll_encoded(context)) {
                Some(Ok(encoded)) if encoded.is_empty() => {}
                Some(encoded) => return Poll::Ready(Some(encoded.map(Frame::data))),
                None => {
                    return Poll::Ready(self.trailers.take().map(|mut trailers| {
                        forget_identity(&mut trailers);
                        Ok(Frame::trailers(trailers))
                    }));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Ended) && self.trailers.is_none()
    }
}
