//! A socket that, once it has said its last, reads on for a while before it closes.
//!
//! A socket that is closed with unread bytes in it resets the connection, and the reset may
//! overtake the answer in the client's own buffers (RFC 9112 §9.6): whoever still sends the body
//! that a 413 is about would never see the 413.

use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How long a client may go on sending what nobody reads.
const PATIENCE: Duration = Duration::from_secs(2);

const NOTHING: u8 = 0;
const SOMETHING: u8 = 1;
const NEVER: u8 = 2;

/// Whether a client may be sending still what its requests announced.
#[derive(Clone, Default)]
pub(super) struct Unread(Arc<AtomicU8>);

impl Unread {
    /// A request was read up to its body.
    pub(super) fn request(&self, has_body: bool) {
        if self.0.load(Ordering::Relaxed) != NEVER {
            let left = if has_body { SOMETHING } else { NOTHING };
            self.0.store(left, Ordering::Relaxed);
        }
    }

    /// The connection is not, or no longer, one of requests after one another.
    pub(super) fn never(&self) {
        self.0.store(NEVER, Ordering::Relaxed);
    }

    fn bytes(&self) {
        if self.0.load(Ordering::Relaxed) == NOTHING {
            self.0.store(SOMETHING, Ordering::Relaxed);
        }
    }

    fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed) == SOMETHING
    }
}

/// See the module.
pub(super) struct Lingering<T> {
    io: T,
    unread: Unread,
    /// Runs once our side is closed.
    closing: Option<Pin<Box<Sleep>>>,
}

impl<T> Lingering<T> {
    /// Wraps a socket; the second half is told what is read from it.
    pub(super) fn new(io: T) -> (Lingering<T>, Unread) {
        let unread = Unread::default();
        let lingering = Lingering {
            io,
            unread: unread.clone(),
            closing: None,
        };
        (lingering, unread)
    }

    /// What it wraps.
    pub(super) fn into_inner(self) -> T {
        self.io
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Lingering<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.unread.bytes();
        }
        polled
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.closing.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(context))?;
            if !this.unread.is_there() {
                return Poll::Ready(Ok(()));
            }
        }
        let closing = this
            .closing
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(PATIENCE)));
        if closing.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut space = [0; 8 << 10];
        loop {
            let mut buffer = ReadBuf::new(&mut space);
            let read = ready!(Pin::new(&mut this.io).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn what_a_client_still_sends_is_read_before_the_end() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let (mut ours, unread) = Lingering::new(ours);
        unread.request(true);
        let closing = tokio::spawn(async move { ours.shutdown().await });
        theirs.write_all(&[7; 64]).await.expect("it is read");
        let mut nothing = Vec::new();
        theirs.read_to_end(&mut nothing).await.expect("an end");
        drop(theirs);
        closing.await.expect("no panic").expect("closed");
    }

    #[tokio::test]
    async fn a_client_that_owes_nothing_is_not_waited_for() {
        for (name, has_switched) in [("between requests", false), ("a tunnel", true)] {
            let (ours, mut theirs) = tokio::io::duplex(16);
            let (mut ours, unread) = Lingering::new(ours);
            theirs.write_all(b"GET").await.expect("room");
            ours.read_exact(&mut [0; 3]).await.expect("a request");
            unread.request(has_switched);
            if has_switched {
                unread.never();
            }
            ours.shutdown().await.expect(name);
            theirs.write_all(b"more").await.expect("room");
            let mut more = [0; 4];
            ours.read_exact(&mut more).await.expect(name);
            assert_eq!(&more, b"more", "{name}");
        }
    }
}
