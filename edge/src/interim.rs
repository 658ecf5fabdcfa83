//! Interim responses (RFC 9110 §15.2) over hyper's HTTP/1 server, which has no way to send them:
//! an I/O wrapper that writes them, and a handle that queues them.
//!
//! hyper calls `poll_flush` on its I/O only when its own write buffer is empty, and does so after
//! every poll of the service. Bytes written inside `poll_flush` therefore never split a message,
//! provided that the service returns its response only after they are out, which
//! [`Informer::drive`] sees to. `pipeline_flush` must stay off: with it hyper skips the flush.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use http::{HeaderMap, StatusCode};
use hyper::rt::{Read, ReadBufCursor, Write};

/// A client that does not read must not let an origin's flood pile up.
const MAX_QUEUED: usize = 16 * 1024;

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    written: usize,
    waker: Option<Waker>,
}

#[derive(Default)]
struct Shared {
    pending: AtomicBool,
    queue: Mutex<Queue>,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Queues interim responses for one connection. Cheap to clone.
#[derive(Clone, Default)]
pub struct Informer(Arc<Shared>);

/// The connection's I/O, which writes what its [`Informer`] queues.
pub struct InterimIo<T> {
    io: T,
    shared: Arc<Shared>,
}

impl<T> InterimIo<T> {
    /// Wraps a connection's I/O.
    pub fn new(io: T) -> (InterimIo<T>, Informer) {
        let shared = Arc::new(Shared::default());
        let informer = Informer(Arc::clone(&shared));
        (InterimIo { io, shared }, informer)
    }

    /// What it wraps.
    pub fn into_inner(self) -> T {
        self.io
    }
}

impl Informer {
    /// Queues one interim response. 100 is hyper's own business, 101 is final; what does not fit
    /// the queue is dropped. `headers` are without hop-by-hop fields.
    pub fn push(&self, status: StatusCode, headers: &HeaderMap) {
        if !status.is_informational() || matches!(status.as_u16(), 100 | 101) {
            return;
        }
        let mut queue = self.0.queue();
        if queue.bytes.len() - queue.written > MAX_QUEUED {
            return;
        }
        let reason = status.canonical_reason().unwrap_or("");
        let bytes = &mut queue.bytes;
        bytes.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).as_bytes());
        for (name, value) in headers {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        self.0.pending.store(true, Ordering::Release);
        if let Some(waker) = queue.waker.take() {
            waker.wake();
        }
    }

    /// Runs `answer`; what is queued meanwhile goes out at once, and all of it before this ends.
    pub async fn drive<F: Future>(&self, mut answer: Pin<&mut F>) -> F::Output {
        let output = poll_fn(|context| {
            self.wake_with(context);
            answer.as_mut().poll(context)
        })
        .await;
        poll_fn(|context| {
            if !self.0.pending.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            self.wake_with(context);
            // The queue may have been written while we took its lock.
            if self.0.pending.load(Ordering::Acquire) {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
        self.0.queue().waker = None;
        output
    }

    fn wake_with(&self, context: &Context<'_>) {
        let mut queue = self.0.queue();
        match &queue.waker {
            Some(waker) if waker.will_wake(context.waker()) => {}
            _ => queue.waker = Some(context.waker().clone()),
        }
    }
}

impl<T: Write + Unpin> InterimIo<T> {
    #[cold]
    fn write_queued(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut queue = self.shared.queue();
        while queue.written < queue.bytes.len() {
            let bytes = &queue.bytes[queue.written..];
            let written = ready!(Pin::new(&mut self.io).poll_write(context, bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            queue.written += written;
        }
        queue.bytes = Vec::new();
        queue.written = 0;
        self.shared.pending.store(false, Ordering::Release);
        if let Some(waker) = queue.waker.take() {
            waker.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Read + Unpin> Read for InterimIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<T: Write + Unpin> Write for InterimIo<T> {
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
        // The one load is all that a hit pays.
        if self.shared.pending.load(Ordering::Relaxed) {
            ready!(self.write_queued(context))?;
        }
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
