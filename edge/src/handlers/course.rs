//! How far an exchange with a guest has come: shared by the task that drives the guest and whoever
//! waits for its response.

use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::Response;
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::oneshot;
use wasmtime_wasi_http::{Error, WasiBody};

use crate::body::{Body, BodyError};
use crate::config::Use;
use crate::wasm::{self, FailureKind};

/// The head of a response, or why there is none.
pub(super) type Head = Result<Response<WasiBody>, FailureKind>;

/// How an exchange with a guest goes.
pub(super) struct Course {
    used: Arc<Use>,
    head: Mutex<Option<oneshot::Sender<Head>>>,
    failed: OnceLock<FailureKind>,
}

impl Course {
    /// A course that has just begun, and where the head will arrive.
    pub(super) fn begin(used: &Arc<Use>) -> (Arc<Course>, oneshot::Receiver<Head>) {
        let (sender, head) = oneshot::channel();
        let course = Course {
            used: Arc::clone(used),
            head: Mutex::new(Some(sender)),
            failed: OnceLock::new(),
        };
        (Arc::new(course), head)
    }

    /// The guest has answered.
    pub(super) fn answer(&self, response: Response<WasiBody>) {
        if let Some(head) = self.take_head() {
            // Whoever asked may have left.
            let _ = head.send(Ok(response));
        }
    }

    /// Whether the guest has answered, or failed to.
    pub(super) fn has_answered(&self) -> bool {
        let head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        head.is_none()
    }

    /// The guest has failed; false when that is known already. What follows of its response is no
    /// end. To be called before its store is dropped, since that ends its body.
    pub(super) fn fail(&self, kind: FailureKind) -> bool {
        let is_news = self.failed.set(kind).is_ok();
        if let Some(head) = self.take_head() {
            let _ = head.send(Err(kind));
        }
        is_news
    }

    /// The guest's response is not what it was said to be.
    fn lie(&self, reason: &str) -> BodyError {
        if self.fail(FailureKind::Answer) {
            wasm::count(&self.used.name, FailureKind::Answer);
        }
        BodyError::Cut(format!("a handler's body: {reason}"))
    }

    fn failure(&self) -> Option<FailureKind> {
        self.failed.get().copied()
    }

    fn take_head(&self) -> Option<oneshot::Sender<Head>> {
        let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        head.take()
    }
}

/// How those who wait for a response part from the guest. Dropped, they left before its end.
#[derive(Debug)]
pub(super) enum Parting {
    /// They have all of it.
    Served,
    /// They have waited long enough.
    GaveUp,
}

/// The body of a guest's response: it ends well only where the guest did.
pub(super) struct Answer {
    body: WasiBody,
    /// Bytes that are still to come, where the guest has said how many.
    left: Option<u64>,
    course: Arc<Course>,
    parting: Option<oneshot::Sender<Parting>>,
}

impl Answer {
    pub(super) fn new(
        body: WasiBody,
        course: Arc<Course>,
        parting: oneshot::Sender<Parting>,
    ) -> Answer {
        Answer {
            left: body.size_hint().exact(),
            body,
            course,
            parting: Some(parting),
        }
    }

    fn part(&mut self) {
        if let Some(parting) = self.parting.take() {
            let _ = parting.send(Parting::Served);
        }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.left = self.left.map(|left| left.saturating_sub(length));
                Some(Ok(frame))
            }
            // The guest says itself that it failed, or that it is not as long as it was said to be.
            Some(Err(error)) => Some(Err(self.course.lie(&error.to_string()))),
            None => match (self.course.failure(), self.left) {
                (Some(kind), _) => Some(Err(BodyError::Cut(format!("handler failed ({kind})")))),
                (None, Some(1..)) => Some(Err(self.course.lie("shorter than announced"))),
                (None, None | Some(0)) => {
                    self.part();
                    None
                }
            },
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && self.course.failure().is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // Whoever knows the length does not read beyond it.
        if self.body.is_end_stream() || self.body.size_hint().exact() == Some(0) {
            self.part();
        }
    }
}

/// The body of a request on its way into a guest.
pub(super) struct Question {
    body: Body,
    moved: Arc<Mutex<Instant>>,
}

impl Question {
    /// The body, and when something of it has gone in last.
    pub(super) fn new(body: Body) -> (Question, Arc<Mutex<Instant>>) {
        let moved = Arc::new(Mutex::new(Instant::now()));
        let question = Question {
            body,
            moved: Arc::clone(&moved),
        };
        (question, moved)
    }
}

impl http_body::Body for Question {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Poll::Ready(frame.map(|frame| frame.map_err(into_code)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn into_code(error: BodyError) -> Error {
    match error {
        BodyError::Cut(_) => Error::ConnectionTerminated,
        BodyError::Timeout(_) => Error::ConnectionReadTimeout,
        BodyError::TooLarge(limit) => Error::HttpRequestBodySize(u64::try_from(limit).ok()),
    }
}
