//! A request's body in a guest's hands: to be taken back as long as the guest has not read of it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::body::{Arriving, BodyError};

/// A body that is lent.
pub struct Lent(Arc<Mutex<Loan>>);

struct Loan {
    body: Option<Arriving>,
    is_read: bool,
}

impl Lent {
    /// Lends a body, where there is one.
    pub fn out(body: Option<Arriving>) -> (Lent, Option<Arriving>) {
        let is_empty = body.is_none();
        let loan = Arc::new(Mutex::new(Loan {
            body,
            is_read: false,
        }));
        let lent = Lent(Arc::clone(&loan));
        let borrowed = (!is_empty).then(|| Arriving::guest(Borrowed(loan)));
        (lent, borrowed)
    }

    /// The body as it was lent.
    ///
    /// # Errors
    /// When it was read, if only in part.
    pub fn take_back(&self) -> Result<Option<Arriving>, Read> {
        let mut loan = lock(&self.0);
        if loan.is_read {
            return Err(Read);
        }
        Ok(loan.body.take())
    }

    /// Whether there is a body of which nothing was read.
    pub fn is_untouched(&self) -> bool {
        let loan = lock(&self.0);
        loan.body.is_some() && !loan.is_read
    }
}

/// Some of a body was read, and is gone.
#[derive(Debug)]
pub struct Read;

/// The borrower's side.
struct Borrowed(Arc<Mutex<Loan>>);

fn lock(loan: &Mutex<Loan>) -> MutexGuard<'_, Loan> {
    loan.lock().unwrap_or_else(PoisonError::into_inner)
}

impl http_body::Body for Borrowed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut loan = lock(&self.0);
        let Some(body) = &mut loan.body else {
            // Taken back: whoever reads on is not listened to any more.
            return Poll::Ready(Some(Err(BodyError::Cut("taken back".to_owned()))));
        };
        let frame = Pin::new(body).poll_frame(context);
        loan.is_read |= frame.is_ready();
        frame
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.0)
            .body
            .as_ref()
            .is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let loan = lock(&self.0);
        loan.body
            .as_ref()
            .map(http_body::Body::size_hint)
            .unwrap_or_default()
    }
}
