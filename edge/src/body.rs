//! The body of a message on its way through: empty, in memory, or streaming.

mod begun;

use std::any::Any;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use crate::trailers;

pub use begun::{is_about_its_body, unless_empty};

/// A body that can be sent to a client or to an origin.
#[derive(Default)]
pub enum Body {
    #[default]
    Empty,
    Full(Bytes),
    Stream(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>),
}

/// Why a body ended before its end.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the message was cut off: {0}")]
    Cut(String),
    #[error("no part of the body arrived within {0:?}")]
    Timeout(Duration),
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
}

impl Body {
    /// A streaming body.
    pub fn stream(
        body: impl http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static,
    ) -> Body {
        Body::Stream(Box::pin(body))
    }
}

/// A body as it comes from a peer: over a connection, or out of a guest.
pub enum Arriving {
    /// Over a connection, which is lent until the body has ended, if it is one of ours.
    Connection(Incoming, Option<Lease>),
    /// Behind a lock, which nobody waits for, since an exchange with its body is shared by reference.
    Guest(Mutex<Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>>),
    /// There is none, whatever was sent.
    Nothing,
}

/// What is held until a body has ended, and given back by being dropped.
type Lease = Box<dyn Any + Send + Sync>;

impl Arriving {
    /// A body over a connection that is `lent` for it.
    pub fn over(body: Incoming, lent: impl Any + Send + Sync) -> Arriving {
        Arriving::Connection(body, Some(Box::new(lent)))
    }

    /// A body that a guest makes.
    pub fn guest(
        body: impl http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static,
    ) -> Arriving {
        Arriving::Guest(Mutex::new(Box::pin(body)))
    }
}

impl From<Incoming> for Arriving {
    fn from(body: Incoming) -> Arriving {
        Arriving::Connection(body, None)
    }
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Arriving::Connection(body, lease) => {
                let polled = Pin::new(&mut *body).poll_frame(context);
                if body.is_end_stream() || matches!(polled, Poll::Ready(None)) {
                    *lease = None;
                }
                polled.map_err(|error| BodyError::Cut(error.to_string()))
            }
            Arriving::Guest(body) => {
                let body = body.get_mut().unwrap_or_else(PoisonError::into_inner);
                body.as_mut().poll_frame(context)
            }
            Arriving::Nothing => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Arriving::Connection(body, _) => body.is_end_stream(),
            Arriving::Guest(body) => lock(body).is_end_stream(),
            Arriving::Nothing => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Arriving::Connection(body, _) => body.size_hint(),
            Arriving::Guest(body) => lock(body).size_hint(),
            Arriving::Nothing => SizeHint::with_exact(0),
        }
    }
}

fn lock<T>(body: &Mutex<T>) -> MutexGuard<'_, T> {
    body.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        if bytes.is_empty() {
            Body::Empty
        } else {
            Body::Full(bytes)
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Body::Empty => Poll::Ready(None),
            Body::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Body::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Body::Stream(stream) => stream.as_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Full(_) => false,
            Body::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Stream(stream) => stream.size_hint(),
        }
    }
}

/// What a peer sends, watched: it may not pause for longer than a timeout, nor exceed a limit.
/// Trailers are dropped unless they are asked for: none is needed by what we cache.
pub struct Received {
    body: Arriving,
    timeout: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    left: usize,
    limit: usize,
    exceeded: Option<Arc<AtomicBool>>,
    carries_trailers: bool,
}

impl Received {
    /// Watches `body`; `limit` is in bytes.
    pub fn new(body: impl Into<Arriving>, timeout: Duration, limit: usize) -> Received {
        Received {
            body: body.into(),
            timeout,
            waiting: None,
            left: limit,
            limit,
            exceeded: None,
            carries_trailers: false,
        }
    }

    /// Sets `exceeded` when the limit is: whoever sends the body on learns of the error only.
    pub fn flagging(self, exceeded: Arc<AtomicBool>) -> Received {
        Received {
            exceeded: Some(exceeded),
            ..self
        }
    }

    /// Lets those trailers through that may pass on.
    pub fn with_trailers(self, carries_trailers: bool) -> Received {
        Received {
            carries_trailers,
            ..self
        }
    }

    fn trailers(&self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        let mut trailers = frame
            .into_trailers()
            .ok()
            .filter(|_| self.carries_trailers)?;
        trailers::strip(&mut trailers);
        (!trailers.is_empty()).then(|| Frame::trailers(trailers))
    }
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        loop {
            let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) else {
                let timeout = this.timeout;
                let waiting = this
                    .waiting
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
                ready!(waiting.as_mut().poll(context));
                return Poll::Ready(Some(Err(BodyError::Timeout(timeout))));
            };
            this.waiting = None;
            return Poll::Ready(match frame {
                None => None,
                Some(Err(error)) => Some(Err(error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Err(frame) => match this.trailers(frame) {
                        Some(trailers) => Some(Ok(trailers)),
                        None => continue,
                    },
                    Ok(data) if data.len() > this.left => {
                        if let Some(exceeded) = &this.exceeded {
                            exceeded.store(true, Ordering::Relaxed);
                        }
                        Some(Err(BodyError::TooLarge(this.limit)))
                    }
                    Ok(data) => {
                        this.left -= data.len();
                        Some(Ok(Frame::data(data)))
                    }
                },
            });
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
