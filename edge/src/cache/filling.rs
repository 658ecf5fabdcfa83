//! A body that arrives once and is read by many, from its beginning, while it arrives.
//!
//! As long as it may be stored, everything that arrived is kept, so that whoever joins late reads
//! from the start. Once it has outgrown its limit nobody may join any more; what all readers have
//! read is let go, and the source waits for the slowest of them: memory stays flat.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};

use crate::body::BodyError;

/// Bytes that may lie between the source and the slowest reader once nothing is kept.
const WINDOW: usize = 256 * 1024;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Filling {
    shared: Arc<Mutex<State>>,
}

struct State {
    parts: VecDeque<Bytes>,
    /// How many parts were let go before the first of `parts`.
    gone: usize,
    /// Bytes in `parts`.
    bytes: usize,
    /// The most that is kept.
    limit: usize,
    /// Whether everything from the beginning is still here.
    is_whole: bool,
    length: Option<u64>,
    end: Option<Result<(), BodyError>>,
    readers: Vec<Option<Cursor>>,
    source: Option<Waker>,
    patience: Duration,
}

struct Cursor {
    next: usize,
    /// It held the others up for too long.
    is_cut: bool,
    waker: Option<Waker>,
}

/// One reader's way through a [`Filling`].
pub struct Reader {
    filling: Filling,
    slot: usize,
}

/// Nobody reads any more, and nothing is to be kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Abandoned;

impl Filling {
    /// A body of which at most `limit` bytes are kept; `length` is what the origin announced.
    /// Beyond the limit the source waits no longer than `patience` for a reader to read on.
    pub fn new(limit: usize, length: Option<u64>, patience: Duration) -> Filling {
        Filling {
            shared: Arc::new(Mutex::new(State {
                parts: VecDeque::new(),
                gone: 0,
                bytes: 0,
                limit,
                is_whole: true,
                length,
                end: None,
                readers: Vec::new(),
                source: None,
                patience,
            })),
        }
    }

    /// A reader from the beginning; `None` when the beginning is gone.
    pub fn reader(&self) -> Option<Reader> {
        let mut state = self.state();
        if !state.is_whole {
            return None;
        }
        state.readers.push(Some(Cursor {
            next: 0,
            is_cut: false,
            waker: None,
        }));
        let slot = state.readers.len() - 1;
        drop(state);
        Some(Reader {
            filling: self.clone(),
            slot,
        })
    }

    /// Whether everything that arrived is still here.
    pub fn is_whole(&self) -> bool {
        self.state().is_whole
    }

    /// Adds a part, and waits while the readers are too far behind. A reader that holds the others
    /// up for longer than the patience is cut off.
    ///
    /// # Errors
    /// When going on would serve nobody.
    pub async fn push(&self, part: Bytes) -> Result<(), Abandoned> {
        let patience = {
            let mut state = self.state();
            state.push(part);
            if state.is_whole {
                return Ok(());
            }
            state.patience
        };
        loop {
            if let Ok(waited) = tokio::time::timeout(patience, self.room()).await {
                return waited;
            }
            self.state().cut_slowest();
        }
    }

    /// Adds a part where nothing is let go, and so nobody has to wait.
    pub fn append(&self, part: Bytes) {
        self.state().push(part);
    }

    /// Waits until there is room for another part.
    async fn room(&self) -> Result<(), Abandoned> {
        poll_fn(|context| {
            let mut state = self.state();
            if state.living().next().is_none() {
                return Poll::Ready(Err(Abandoned));
            }
            if state.bytes <= WINDOW {
                return Poll::Ready(Ok(()));
            }
            state.source = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// The body is complete. All of it, copied into one piece, unless it has outgrown its limit.
    pub fn finish(&self) -> Option<Bytes> {
        let mut state = self.state();
        state.end(Ok(()));
        if !state.is_whole {
            return None;
        }
        // The parts are slices of read buffers, larger than what they show: a copy frees those.
        let mut whole = BytesMut::with_capacity(state.bytes);
        for part in &state.parts {
            whole.extend_from_slice(part);
        }
        Some(whole.freeze())
    }

    /// The body is complete, and nobody wants it in one piece.
    pub fn close(&self) {
        self.state().end(Ok(()));
    }

    /// Whether anybody reads it.
    pub fn is_read(&self) -> bool {
        self.state().living().next().is_some()
    }

    /// Whether both are one.
    pub fn is_same(&self, other: &Filling) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// The source broke off: every reader sees the break.
    pub fn abort(&self, error: BodyError) {
        self.state().end(Err(error));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, part: Bytes) {
        self.bytes += part.len();
        self.parts.push_back(part);
        if self.bytes > self.limit {
            self.is_whole = false;
            self.let_go();
        }
        self.wake_readers();
    }

    fn end(&mut self, end: Result<(), BodyError>) {
        self.end.get_or_insert(end);
        self.wake_readers();
    }

    fn wake_readers(&mut self) {
        for cursor in self.readers.iter_mut().flatten() {
            if let Some(waker) = cursor.waker.take() {
                waker.wake();
            }
        }
    }

    /// The readers that count.
    fn living(&self) -> impl Iterator<Item = &Cursor> {
        let cursors = self.readers.iter().flatten();
        cursors.filter(|cursor| !cursor.is_cut)
    }

    /// Cuts off those who hold others up. Who reads alone, however slowly, holds nobody up.
    fn cut_slowest(&mut self) {
        let slowest = self.living().map(|cursor| cursor.next).min();
        let is_waited_for = self.living().any(|cursor| Some(cursor.next) > slowest);
        if !is_waited_for {
            return;
        }
        for cursor in self.readers.iter_mut().flatten() {
            if Some(cursor.next) == slowest {
                cursor.is_cut = true;
                if let Some(waker) = cursor.waker.take() {
                    waker.wake();
                }
            }
        }
        self.let_go();
    }

    /// Lets go of what every reader has read, once nothing is kept for later ones.
    fn let_go(&mut self) {
        if self.is_whole {
            return;
        }
        let slowest = self.living().map(|cursor| cursor.next).min();
        let keep_from = slowest.unwrap_or(usize::MAX);
        while self.gone < keep_from
            && let Some(part) = self.parts.pop_front()
        {
            self.bytes -= part.len();
            self.gone += 1;
        }
        if let Some(source) = self.source.take() {
            source.wake();
        }
    }
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = self.filling.state();
        let state = &mut *state;
        let cursor = state.readers[self.slot]
            .as_mut()
            .expect("a living reader has its cursor");
        if cursor.is_cut {
            let reason = "it was read too slowly".to_owned();
            return Poll::Ready(Some(Err(BodyError::Cut(reason))));
        }
        if let Some(part) = state.parts.get(cursor.next - state.gone) {
            let part = part.clone();
            cursor.next += 1;
            state.let_go();
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        match &state.end {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(error)) => Poll::Ready(Some(Err(error.clone()))),
            None => {
                cursor.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.filling
            .state()
            .length
            .map(SizeHint::with_exact)
            .unwrap_or_default()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.filling.state();
        state.readers[self.slot] = None;
        state.let_go();
        if let Some(source) = state.source.take() {
            source.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    const PART: &[u8] = &[7; 100_000];
    const FOREVER: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn whoever_joins_late_reads_from_the_beginning() {
        let filling = Filling::new(10, None, FOREVER);
        filling
            .push(Bytes::from_static(b"one "))
            .await
            .expect("kept");
        let late = filling.reader().expect("everything is here");
        filling
            .push(Bytes::from_static(b"two"))
            .await
            .expect("kept");
        assert_eq!(filling.finish().as_deref(), Some(&b"one two"[..]));
        let read = late.collect().await.expect("complete").to_bytes();
        assert_eq!(read, "one two");
    }

    #[tokio::test]
    async fn a_break_is_seen_by_every_reader() {
        let filling = Filling::new(10, Some(8), FOREVER);
        let reader = filling.reader().expect("nothing is gone");
        filling
            .push(Bytes::from_static(b"half"))
            .await
            .expect("kept");
        filling.abort(BodyError::Cut("it broke".to_owned()));
        assert!(reader.collect().await.is_err());
    }

    #[tokio::test]
    async fn what_outgrows_its_limit_is_complete_for_its_readers_and_kept_for_nobody() {
        let filling = Filling::new(PART.len(), None, FOREVER);
        let reader = filling.reader().expect("nothing is gone");
        let source = filling.clone();
        let pushing = tokio::spawn(async move {
            for _ in 0..50 {
                source
                    .push(Bytes::from_static(PART))
                    .await
                    .expect("somebody reads");
            }
            source.finish()
        });
        let read = reader.collect().await.expect("complete").to_bytes();
        assert_eq!(read.len(), 50 * PART.len());
        assert_eq!(pushing.await.expect("no panic"), None);
        assert!(filling.reader().is_none());
    }

    #[tokio::test]
    async fn a_source_beyond_its_limit_waits_for_the_slowest_reader() {
        let filling = Filling::new(PART.len(), None, FOREVER);
        let mut slow = filling.reader().expect("nothing is gone");
        let quick = filling.reader().expect("nothing is gone");
        let source = filling.clone();
        let pushing = tokio::spawn(async move {
            for _ in 0..50 {
                source
                    .push(Bytes::from_static(PART))
                    .await
                    .expect("somebody reads");
            }
            source.finish();
        });
        let quick = tokio::spawn(quick.collect());
        // Alone on this runtime, the two go as far as they can before this task goes on.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert!(!pushing.is_finished());
        assert!(filling.state().bytes <= WINDOW + PART.len());
        while let Some(part) = slow.frame().await {
            part.expect("no break");
        }
        pushing.await.expect("no panic");
        let quick = quick.await.expect("no panic").expect("complete");
        assert_eq!(quick.to_bytes().len(), 50 * PART.len());
    }

    #[tokio::test]
    async fn nobody_reading_what_is_not_kept_ends_the_source() {
        let filling = Filling::new(1, None, FOREVER);
        drop(filling.reader());
        let part = Bytes::from_static(PART);
        assert_eq!(filling.push(part).await, Err(Abandoned));
    }

    #[tokio::test]
    async fn who_does_not_read_is_cut_off_where_others_wait() {
        let filling = Filling::new(1, None, Duration::from_millis(1));
        let stuck = filling.reader().expect("nothing is gone");
        let quick = filling.reader().expect("nothing is gone");
        let source = filling.clone();
        let pushing = tokio::spawn(async move {
            for _ in 0..10 {
                source.push(Bytes::from_static(PART)).await?;
            }
            source.finish();
            Ok::<_, Abandoned>(())
        });
        let read = quick.collect().await.expect("complete").to_bytes();
        assert_eq!(read.len(), 10 * PART.len());
        assert_eq!(pushing.await.expect("no panic"), Ok(()));
        assert!(stuck.collect().await.is_err());
    }

    #[tokio::test]
    async fn who_reads_alone_may_take_their_time() {
        let filling = Filling::new(1, None, Duration::from_millis(1));
        let mut slow = filling.reader().expect("nothing is gone");
        let source = filling.clone();
        let pushing = tokio::spawn(async move {
            for _ in 0..10 {
                source.push(Bytes::from_static(PART)).await?;
            }
            source.finish();
            Ok::<_, Abandoned>(())
        });
        let mut read = 0;
        while let Some(part) = slow.frame().await {
            read += part.expect("no break").data_ref().map_or(0, Bytes::len);
            // Longer than the patience, several times.
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        assert_eq!(read, 10 * PART.len());
        assert_eq!(pushing.await.expect("no panic"), Ok(()));
    }
}
