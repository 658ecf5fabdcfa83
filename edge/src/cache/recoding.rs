//! The encoded form of a response that is being fetched, made once for all who share the fetch.
//!
//! It is not kept: pauses of the origin are flushed into it, so what is stored is encoded anew, and
//! better, when it is first asked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt;
use tidegate_semantics::Coding;

use super::filling::{Filling, Reader};
use super::flight::Head;
use crate::body::BodyError;
use crate::encoding::EncodedBody;

/// How long a form that is too large to be held waits for a client that does not read.
const READER_PATIENCE: Duration = Duration::from_secs(20);

/// The fetches whose bodies are being encoded in this process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Recodings {
    by_flight: Arc<Mutex<HashMap<Flight, Filling>>>,
}

/// A fetch by the place of its head in memory, where a [`Recoding`] holds it, and a coding.
type Flight = (usize, Coding);

/// How one of those who share a fetch comes by the encoded form.
pub enum Shared {
    /// Somebody makes it.
    Follow(Reader),
    /// It is to be made; others may follow.
    Lead(Recoding),
    /// The beginning is gone: make it without others.
    Alone,
}

/// The duty to encode a body for all who share its fetch. Dropped before its end, it breaks off what
/// they read.
pub struct Recoding {
    recodings: Recodings,
    head: Arc<Head>,
    coding: Coding,
    filling: Filling,
}

impl Recodings {
    /// Joins the encoding of the fetch that has this head, or begins it. At most `limit` bytes are
    /// held for those who come late.
    pub fn join(&self, head: &Arc<Head>, coding: Coding, limit: usize) -> Shared {
        let mut by_flight = self.by_flight();
        let flight = (Arc::as_ptr(head).addr(), coding);
        if let Some(filling) = by_flight.get(&flight) {
            return filling.reader().map_or(Shared::Alone, Shared::Follow);
        }
        let filling = Filling::new(limit, None, READER_PATIENCE);
        by_flight.insert(flight, filling.clone());
        Shared::Lead(Recoding {
            recodings: self.clone(),
            head: Arc::clone(head),
            coding,
            filling,
        })
    }

    fn by_flight(&self) -> MutexGuard<'_, HashMap<Flight, Filling>> {
        self.by_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recoding {
    /// Reads the form while it is made.
    pub fn reader(&self) -> Reader {
        self.filling
            .reader()
            .expect("nothing was put in yet that could be gone")
    }

    /// Hands the parts of the form to all who read, until its end or until nobody does.
    pub async fn run(self, mut encoded: EncodedBody) {
        while let Some(frame) = encoded.frame().await {
            match frame {
                Ok(frame) => {
                    let part = frame.into_data().unwrap_or_default();
                    if self.filling.push(part).await.is_err() || self.is_given_up() {
                        return;
                    }
                }
                Err(error) => return self.filling.abort(error),
            }
        }
        self.filling.close();
    }

    /// Whether nobody reads any more. Then nobody can join either.
    fn is_given_up(&self) -> bool {
        let mut by_flight = self.recodings.by_flight();
        let is_given_up = !self.filling.is_read();
        if is_given_up {
            by_flight.remove(&self.flight());
        }
        is_given_up
    }

    fn flight(&self) -> Flight {
        (Arc::as_ptr(&self.head).addr(), self.coding)
    }
}

impl Drop for Recoding {
    fn drop(&mut self) {
        let mut by_flight = self.recodings.by_flight();
        // Given up, it may have been begun anew by another.
        let is_ours = |filling: &Filling| filling.is_same(&self.filling);
        if by_flight.get(&self.flight()).is_some_and(is_ours) {
            by_flight.remove(&self.flight());
        }
        drop(by_flight);
        // Says nothing to those who have read to the end.
        self.filling
            .abort(BodyError::Cut("its encoding was given up".to_owned()));
    }
}
