//! Encoded forms of stored bodies: those that are kept, and those in the making, which many read.
//!
//! A form belongs to one body in identity form and is found through the entry that holds it, which is
//! judged first. What takes the entry's place takes its forms away, unless it has the very same body.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tidegate_semantics::Coding;

use super::filling::{Filling, Reader};
use super::key::Key;
use super::memory::Memory;
use crate::body::BodyError;
use crate::encoding::{Encoder, Step, in_slot};

/// Bytes that are encoded in one turn, and then handed to those who wait.
const PART: usize = 64 << 10;

/// An encoded form of a stored body.
#[derive(Clone, Debug)]
pub enum Encoded {
    Bytes(Bytes),
    /// It is not worth its place: no smaller than identity, or more than the memory holds.
    Useless,
}

/// The encoded forms kept beside one body.
#[derive(Clone, Debug, Default)]
pub struct Encodings([Option<Encoded>; Coding::ALL.len()]);

impl Encodings {
    /// The form in a coding, if it was made.
    pub fn get(&self, coding: Coding) -> Option<&Encoded> {
        self.0[coding as usize].as_ref()
    }

    /// These and one more.
    pub fn with(&self, coding: Coding, encoded: Encoded) -> Encodings {
        let mut more = self.clone();
        more.0[coding as usize] = Some(encoded);
        more
    }

    /// Bytes in memory.
    pub fn weight(&self) -> usize {
        let weigh = |encoded: &Encoded| match encoded {
            Encoded::Bytes(bytes) => bytes.len(),
            Encoded::Useless => 0,
        };
        self.0.iter().flatten().map(weigh).sum()
    }
}

/// The encoded forms in the making in this process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Makings {
    by_form: Arc<Mutex<HashMap<Form, Filling>>>,
}

/// A body by its place in memory, where a [`Making`] holds it, and a coding.
type Form = (usize, usize, Coding);

/// How a request comes by an encoded form.
pub enum Joined {
    /// It is there already.
    Kept(Bytes),
    /// Somebody makes it.
    Follow(Reader),
    /// It is to be made; others may follow.
    Lead(Making),
}

/// The duty to make an encoded form. Dropped before its end, it breaks off what others read.
pub struct Making {
    makings: Makings,
    memory: Memory,
    key: Key,
    body: Bytes,
    coding: Coding,
    filling: Filling,
}

impl Makings {
    /// Joins the making of a form of `body`, which is stored under `key`, or begins it.
    pub fn join(&self, memory: &Memory, key: Key, body: &Bytes, coding: Coding) -> Joined {
        let form = (body.as_ptr().addr(), body.len(), coding);
        let mut by_form = self.by_form();
        if let Some(reader) = by_form.get(&form).and_then(Filling::reader) {
            return Joined::Follow(reader);
        }
        // It may have been finished since the entry was looked up: kept first, then taken off.
        if let Some(Encoded::Bytes(bytes)) = memory.encoded(key, body, coding) {
            return Joined::Kept(bytes);
        }
        // Everything is kept until the end, so nobody comes too late.
        let filling = Filling::new(usize::MAX, None, Duration::MAX);
        by_form.insert(form, filling.clone());
        Joined::Lead(Making {
            makings: self.clone(),
            memory: memory.clone(),
            key,
            body: body.clone(),
            coding,
            filling,
        })
    }

    fn by_form(&self) -> MutexGuard<'_, HashMap<Form, Filling>> {
        self.by_form.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Making {
    /// Reads the form while it is made.
    pub fn reader(&self) -> Reader {
        self.filling
            .reader()
            .expect("a filling without a limit is whole")
    }

    /// Makes the form here and now: for a small body.
    ///
    /// # Errors
    /// When the encoder fails; those who wait see it.
    pub fn run_at_once(self, mut encoder: Encoder) -> Result<Bytes, BodyError> {
        let encoded = encoder.write(&self.body).map_err(broken)?;
        self.filling.append(encoded);
        let rest = encoder.finish().map_err(broken)?;
        Ok(self.finish(rest))
    }

    /// Makes the form part by part on another thread, taking turns with whoever else encodes. Those
    /// who wait have each part as soon as it is there.
    ///
    /// # Errors
    /// As [`Making::run_at_once`], and when the runtime ends.
    pub async fn run(self, encoder: Encoder) -> Result<Bytes, BodyError> {
        let mut encoder = Some(encoder);
        for at in (0..self.body.len()).step_by(PART) {
            let part = self.body.slice(at..self.body.len().min(at + PART));
            let encoded = elsewhere(&mut encoder, Step::Write(part)).await;
            self.filling.append(encoded.map_err(broken)?);
        }
        let rest = elsewhere(&mut encoder, Step::Finish).await;
        Ok(self.finish(rest.map_err(broken)?))
    }

    /// Ends the form and keeps it beside its identity.
    fn finish(self, rest: Bytes) -> Bytes {
        self.filling.append(rest);
        let encoded = self
            .filling
            .finish()
            .expect("a filling without a limit is whole");
        let form = if encoded.len() < self.body.len() {
            Encoded::Bytes(encoded.clone())
        } else {
            Encoded::Useless
        };
        self.memory
            .keep_encoded(self.key, &self.body, self.coding, form);
        encoded
    }
}

/// Does a step on another thread; the encoder is gone after the last, or when it was lost.
async fn elsewhere(encoder: &mut Option<Encoder>, step: Step) -> io::Result<Bytes> {
    let lost = || io::Error::other("the encoder was lost");
    let taken = encoder.take().ok_or_else(lost)?;
    let done = in_slot(move || taken.step(step)).await.ok_or_else(lost)?;
    let (next, encoded) = done?;
    *encoder = next;
    Ok(encoded)
}

fn broken(error: io::Error) -> BodyError {
    BodyError::Cut(format!("it could not be encoded: {error}"))
}

impl Drop for Making {
    fn drop(&mut self) {
        let form = (self.body.as_ptr().addr(), self.body.len(), self.coding);
        self.makings.by_form().remove(&form);
        // Says nothing to those who have read to the end.
        self.filling
            .abort(BodyError::Cut("its encoding was given up".to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::BodyExt;
    use tidegate_semantics::Coding;

    use super::super::key::KeyParts;
    use super::super::memory::Memory;
    use super::{Joined, Key, Making, Makings};
    use crate::encoding::Encoder;

    fn key() -> Key {
        let parts = KeyParts {
            scheme: "http",
            authority: "a.example",
            path_and_query: "/".into(),
            extra: "",
            selection: Vec::new(),
        };
        parts.key((1, 2))
    }

    fn lead(makings: &Makings, memory: &Memory, body: &Bytes) -> Making {
        match makings.join(memory, key(), body, Coding::Gzip) {
            Joined::Lead(making) => making,
            Joined::Follow(_) | Joined::Kept(_) => panic!("it is being made already"),
        }
    }

    #[tokio::test]
    async fn all_who_ask_meanwhile_read_one_form() {
        let (makings, memory) = (Makings::default(), Memory::new(1 << 20));
        let body = Bytes::from(vec![b'x'; 300_000]);
        let making = lead(&makings, &memory, &body);
        let Joined::Follow(early) = makings.join(&memory, key(), &body, Coding::Gzip) else {
            panic!("it is not shared");
        };
        // Another coding, and an equal body in another place, are other forms.
        let other = makings.join(&memory, key(), &body, Coding::Zstd);
        assert!(matches!(other, Joined::Lead(_)));
        lead(&makings, &memory, &Bytes::from(body.to_vec()));
        let made = making.run(Encoder::new(Coding::Gzip, 1)).await;
        let read = early.collect().await.expect("it is complete").to_bytes();
        assert_eq!(made.expect("memory takes everything"), read);
        // Nothing is stored under the key, so nothing was kept.
        lead(&makings, &memory, &body);
    }

    #[tokio::test]
    async fn a_form_that_is_given_up_breaks_off_and_is_begun_anew() {
        let (makings, memory) = (Makings::default(), Memory::new(1 << 20));
        let body = Bytes::from_static(b"identity");
        let making = lead(&makings, &memory, &body);
        let reader = making.reader();
        drop(making);
        assert!(reader.collect().await.is_err());
        lead(&makings, &memory, &body);
    }
}
