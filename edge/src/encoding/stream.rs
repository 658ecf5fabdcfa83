//! A body that is encoded while it passes through.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame};

use super::encoder::Encoder;
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
    /// Something was taken from the source that the client cannot decode yet.
    is_owing: bool,
    /// Bytes encoded in this turn.
    turn: usize,
    taken: u64,
    given: u64,
    counters: CodingCounters,
}

enum State {
    Encoding(Encoder),
    /// A large part is being encoded on another thread.
    Away(Pin<Box<dyn Future<Output = Option<Written>> + Send>>),
    Ended,
}

type Written = io::Result<(Encoder, Bytes)>;

impl EncodedBody {
    /// Encodes `source`; the encoder is a fresh one.
    pub fn new(source: Body, encoder: Encoder, counters: CodingCounters) -> EncodedBody {
        EncodedBody {
            source,
            state: State::Encoding(encoder),
            is_owing: false,
            turn: 0,
            taken: 0,
            given: 0,
            counters,
        }
    }

    /// Takes a part of the source; what comes out of it, unless that takes long.
    fn take(&mut self, mut encoder: Encoder, part: Bytes) -> io::Result<Bytes> {
        self.is_owing = true;
        self.taken += part.len() as u64;
        if !encoder.takes_at_once(part.len()) {
            self.state = State::Away(Box::pin(in_slot(move || {
                let encoded = encoder.write(&part)?;
                Ok((encoder, encoded))
            })));
            return Ok(Bytes::new());
        }
        self.turn += part.len();
        let encoded = encoder.write(&part)?;
        self.state = State::Encoding(encoder);
        Ok(encoded)
    }

    /// The next step; `None` as long as there is nothing to be sent.
    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let mut encoder = match std::mem::replace(&mut self.state, State::Ended) {
            State::Ended => return Poll::Ready(None),
            State::Away(mut work) => {
                let Poll::Ready(written) = work.as_mut().poll(context) else {
                    self.state = State::Away(work);
                    return Poll::Pending;
                };
                return Poll::Ready(Some(match written {
                    Some(Ok((encoder, encoded))) => {
                        self.state = State::Encoding(encoder);
                        Ok(encoded)
                    }
                    Some(Err(error)) => Err(broken(&error)),
                    None => Err(broken(&io::Error::other("it was lost"))),
                }));
            }
            State::Encoding(encoder) => encoder,
        };
        if self.turn >= TURN {
            self.turn = 0;
            self.state = State::Encoding(encoder);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let encoded = match Pin::new(&mut self.source).poll_frame(context) {
            Poll::Pending => {
                self.turn = 0;
                let is_owing = std::mem::take(&mut self.is_owing);
                let flushed = if is_owing {
                    encoder.flush()
                } else {
                    self.state = State::Encoding(encoder);
                    return Poll::Pending;
                };
                self.state = State::Encoding(encoder);
                flushed
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
            Poll::Ready(Some(Ok(frame))) => {
                self.take(encoder, frame.into_data().unwrap_or_default())
            }
            Poll::Ready(None) => encoder.finish().inspect(|rest| {
                let given = self.given + rest.len() as u64;
                self.counters.count_made();
                self.counters.count_sent(self.taken, given);
            }),
        };
        Poll::Ready(Some(encoded.map_err(|error| broken(&error))))
    }
}

fn broken(error: &io::Error) -> BodyError {
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
            match ready!(self.poll_step(context)) {
                Some(Ok(encoded)) if encoded.is_empty() => {}
                Some(Ok(encoded)) => {
                    self.given += encoded.len() as u64;
                    return Poll::Ready(Some(Ok(Frame::data(encoded))));
                }
                Some(Err(error)) => {
                    self.state = State::Ended;
                    return Poll::Ready(Some(Err(error)));
                }
                None => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Ended)
    }
}
