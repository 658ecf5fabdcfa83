//! A request's body in a guest's hands: to be taken back as long as the guest has not read of it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use crate::body::{Arriving, BodyError};

/// A body that is lent.
pub struct Lent(Arc<Mutex<Loan>>);

struct Loan {
    body: Option<Arriving>,
    is_read: bool,
    /// The borrower has let go of it.
    is_let_go: bool,
}

impl Lent {
    /// Lends a body, where there is one.
    pub fn out(body: Option<Arriving>) -> (Lent, Option<Arriving>) {
        let is_empty = body.is_none();
        let loan = Arc::new(Mutex::new(Loan {
            body,
            is_read: false,
            is_let_go: false,
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

    /// Whether nobody will read the rest of the body, and that is, or may be, over `most` bytes.
    pub fn is_left_with_over(&self, most: u64) -> bool {
        let loan = lock(&self.0);
        let mut rest = loan.body.iter().filter(|body| !body.is_end_stream());
        let is_over = |rest: SizeHint| rest.upper().is_none_or(|rest| rest > most);
        loan.is_let_go && rest.any(|rest| is_over(rest.size_hint()))
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

impl Drop for Borrowed {
    fn drop(&mut self) {
        lock(&self.0).is_let_go = true;
    }
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
            .is_none_or(Arriving::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let loan = lock(&self.0);
        loan.body
            .as_ref()
            .map(Arriving::size_hint)
            .unwrap_or_default()
    }
}
