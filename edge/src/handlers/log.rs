//! What a guest prints, as lines of the edge's log: so many for one exchange, so many a second for all
//! exchanges of its plugin together, and no longer ones.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::wasm::{Line, Lines};

/// How many lines one exchange may write.
const LINES: u32 = 64;
/// How long a line may be, in bytes; what is longer is cut.
const LINE: usize = 1 << 10;
/// How much is taken at a time, in bytes.
const CHUNK: usize = 4 << 10;

/// Where a guest prints to.
#[derive(Clone)]
pub(super) struct Printed(Arc<Mutex<Gathered>>);

struct Gathered {
    plugin: String,
    of_all: Arc<Lines>,
    line: Vec<u8>,
    left: u32,
}

impl Printed {
    /// What an instance of a plugin prints; `of_all` are the lines of all its instances.
    pub(super) fn of(plugin: &str, of_all: &Arc<Lines>) -> Printed {
        Printed(Arc::new(Mutex::new(Gathered {
            plugin: plugin.to_owned(),
            of_all: Arc::clone(of_all),
            line: Vec::new(),
            left: LINES,
        })))
    }

    /// Makes ready for another exchange.
    pub(super) fn begin(&self) {
        let mut gathered = self.gathered();
        gathered.end();
        gathered.left = LINES;
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gathered {
    fn take(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, is_whole) = match part.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (part, false),
            };
            let room = LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if is_whole {
                self.end_line();
            }
        }
    }

    /// Ends a line that the guest left open.
    fn end(&mut self) {
        if !self.line.is_empty() {
            self.end_line();
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let Some(left) = self.left.checked_sub(1) else {
            return self.of_all.leave_out();
        };
        self.left = left;
        let plugin = &self.plugin;
        match self.of_all.admit() {
            Line::Written => {}
            Line::FirstLeftOut => {
                tracing::warn!(target: "tidegate::plugin", plugin, "prints too much: lines are left out");
                return;
            }
            Line::LeftOut => return,
        }
        let text = String::from_utf8_lossy(&line);
        // Escaped: a guest must not forge lines of ours.
        let text = text.trim_end().escape_debug();
        tracing::info!(target: "tidegate::plugin", plugin, "{text}");
        if left == 0 {
            tracing::warn!(target: "tidegate::plugin", plugin, "prints no more in this exchange");
        }
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        self.end();
    }
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Printed {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = &bytes[..bytes.len().min(CHUNK)];
        self.gathered().take(taken);
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl OutputStream for Printed {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > CHUNK {
            return Err(StreamError::trap("printed more at once than it may"));
        }
        self.gathered().take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK)
    }
}

impl Pollable for Printed {
    fn ready<'a, 'b>(&'a mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use std::future::poll_fn;
    use std::pin::Pin;

    use bytes::Bytes;
    use tokio::io::AsyncWrite;
    use wasmtime_wasi::p2::OutputStream;

    use super::{CHUNK, LINES, Lines, Printed};

    #[tokio::test]
    async fn no_more_is_taken_at_once_than_a_guest_was_told_that_it_may_print() {
        let mut printed = Printed::of("m", &Arc::new(Lines::new("m")));
        assert!(printed.write(Bytes::from(vec![b'x'; CHUNK])).is_ok());
        assert!(printed.write(Bytes::from(vec![b'x'; CHUNK + 1])).is_err());
        let much = vec![b'x'; 10 * CHUNK];
        let taken = poll_fn(|context| Pin::new(&mut printed).poll_write(context, &much)).await;
        assert_eq!(taken.ok(), Some(CHUNK));
    }

    #[test]
    fn what_an_exchange_leaves_open_is_no_part_of_the_next_ones_lines() {
        let printed = Printed::of("m", &Arc::new(Lines::new("m")));
        printed.gathered().take(b"whole\nleft open");
        assert_eq!(printed.gathered().line, b"left open");
        printed.begin();
        assert!(printed.gathered().line.is_empty());
        assert_eq!(printed.gathered().left, LINES);
    }
}
