//! The socket to an origin, counted: what went out, what came in, what lies in it unread.

use std::io::{self, ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use socket2::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes each way over one connection.
pub(super) struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
    opened: Instant,
    /// When the last byte was sent, or a wait began, in milliseconds since `opened`.
    moved: AtomicU64,
    /// The connection has left HTTP behind.
    is_tunnel: AtomicBool,
    /// A second handle on the socket, to look into it while hyper owns the first.
    socket: Socket,
}

impl Traffic {
    /// Bytes sent and received so far.
    pub(super) fn now(&self) -> (u64, u64) {
        (
            self.sent.load(Ordering::Relaxed),
            self.received.load(Ordering::Relaxed),
        )
    }

    /// Something was sent, or a wait for an answer begins.
    pub(super) fn begin_wait(&self) {
        let now = self.opened.elapsed().as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        self.moved.store(now, Ordering::Relaxed);
    }

    /// For how long nothing was sent, since the wait began at most.
    pub(super) fn silence(&self) -> Duration {
        let moved = Duration::from_millis(self.moved.load(Ordering::Relaxed));
        self.opened.elapsed().saturating_sub(moved)
    }

    /// From now on an end is an end, whichever side it is seen on: there is no answer left to read.
    pub(super) fn become_tunnel(&self) {
        self.is_tunnel.store(true, Ordering::Relaxed);
    }

    /// Whether an open connection has nothing unread and was not closed.
    pub(super) fn is_quiet(&self) -> bool {
        let mut byte = [MaybeUninit::uninit(); 1];
        // The socket is non-blocking: the flag belongs to the open socket, not to the handle.
        matches!(self.socket.peek(&mut byte), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Whether the connection ended without a byte of an answer since `before`.
    pub(super) fn was_cut_before_answer(&self, before: (u64, u64), error: &hyper::Error) -> bool {
        let cut = error.is_canceled()
            || error.is_closed()
            || error.is_incomplete_message()
            || matches!(
                io_kind(error),
                Some(
                    ErrorKind::ConnectionReset
                        | ErrorKind::BrokenPipe
                        | ErrorKind::ConnectionAborted
                        | ErrorKind::NotConnected
                )
            );
        cut && self.now().1 == before.1
    }
}

fn io_kind(error: &hyper::Error) -> Option<ErrorKind> {
    let source = std::error::Error::source(error)?;
    Some(source.downcast_ref::<io::Error>()?.kind())
}

/// A socket that counts, and leaves the end of a connection to its reading side: an origin that
/// answers early and closes (413, say) resets what we still write, but its answer is there to read.
pub(super) struct Counted {
    stream: TcpStream,
    traffic: Arc<Traffic>,
}

impl Counted {
    /// Wraps a connected stream.
    pub(super) fn new(stream: TcpStream) -> io::Result<(Counted, Arc<Traffic>)> {
        let traffic = Arc::new(Traffic {
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            opened: Instant::now(),
            moved: AtomicU64::new(0),
            is_tunnel: AtomicBool::new(false),
            socket: Socket::from(stream.as_fd().try_clone_to_owned()?),
        });
        let counted = Counted {
            stream,
            traffic: Arc::clone(&traffic),
        };
        Ok((counted, traffic))
    }

    fn count(&self, written: Poll<io::Result<usize>>, offered: usize) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(written)) => {
                self.traffic
                    .sent
                    .fetch_add(written as u64, Ordering::Relaxed);
                self.traffic.begin_wait();
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error))
                if matches!(
                    error.kind(),
                    ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
                ) && !self.traffic.is_tunnel.load(Ordering::Relaxed) =>
            {
                Poll::Ready(Ok(offered))
            }
            other => other,
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let received = buffer.filled().len() - before;
        self.traffic
            .received
            .fetch_add(received as u64, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.count(written, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let offered = slices.iter().map(|slice| slice.len()).sum();
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.count(written, offered)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
