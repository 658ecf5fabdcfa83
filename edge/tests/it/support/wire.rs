//! HTTP/1 as bytes, read without any library that might be lenient in our favour.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A message's first line and fields, as they stood.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) line: String,
    pub(crate) fields: Vec<(String, String)>,
}

impl Head {
    /// The first value of a field.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let named = |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
        self.fields
            .iter()
            .find(named)
            .map(|(_, value)| value.as_str())
    }

    /// All values of a field, in order.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = move |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
        self.fields
            .iter()
            .filter(named)
            .map(|(_, value)| value.as_str())
    }
}

/// What of a body is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Bytes(usize),
    Chunks,
    UntilClose,
}

/// The connection ended before the message did.
#[derive(Debug)]
pub(crate) struct BrokenOff;

/// One side of a connection.
pub(crate) struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
    /// The fields behind the latest chunked body.
    pub(crate) trailers: Vec<(String, String)>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Wire {
        Wire {
            stream,
            unread: Vec::new(),
            trailers: Vec::new(),
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Says that nothing more will be written.
    pub(crate) async fn finish(&mut self) -> std::io::Result<()> {
        self.stream.shutdown().await
    }

    /// The next head; `None` when the connection ends before or within it.
    pub(crate) async fn head(&mut self) -> Option<Head> {
        let mut head = Head {
            line: self.line().await?,
            ..Head::default()
        };
        loop {
            match self.field().await? {
                Some(field) => head.fields.push(field),
                None => return Some(head),
            }
        }
    }

    /// The next field; `Some(None)` at the end of them.
    async fn field(&mut self) -> Option<Option<(String, String)>> {
        let line = self.line().await?;
        if line.is_empty() {
            return Some(None);
        }
        let (name, value) = line.split_once(':')?;
        Some(Some((name.to_owned(), value.trim().to_owned())))
    }

    /// The next piece of a body; `None` at its end.
    pub(crate) async fn piece(&mut self, left: &mut Left) -> Result<Option<Vec<u8>>, BrokenOff> {
        match left {
            Left::Bytes(0) => Ok(None),
            Left::Bytes(bytes) => {
                if self.unread.is_empty() && !self.more().await {
                    return Err(BrokenOff);
                }
                let taken = self.take(self.unread.len().min(*bytes));
                *bytes -= taken.len();
                Ok(Some(taken))
            }
            Left::UntilClose => {
                if self.unread.is_empty() && !self.more().await {
                    return Ok(None);
                }
                Ok(Some(self.take(self.unread.len())))
            }
            Left::Chunks => {
                let line = self.line().await.ok_or(BrokenOff)?;
                let size = line.split(';').next().unwrap_or_default().trim();
                let size = usize::from_str_radix(size, 16).map_err(|_| BrokenOff)?;
                if size == 0 {
                    self.trailers.clear();
                    while let Some(field) = self.field().await.ok_or(BrokenOff)? {
                        self.trailers.push(field);
                    }
                    *left = Left::Bytes(0);
                    return Ok(None);
                }
                while self.unread.len() < size + 2 {
                    if !self.more().await {
                        return Err(BrokenOff);
                    }
                }
                let chunk = self.take(size);
                self.take(2);
                Ok(Some(chunk))
            }
        }
    }

    /// All that is left of a body, and whether it came to its end.
    pub(crate) async fn rest(&mut self, mut left: Left) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        loop {
            match self.piece(&mut left).await {
                Ok(Some(piece)) => body.extend(piece),
                Ok(None) => return (body, true),
                Err(BrokenOff) => return (body, false),
            }
        }
    }

    /// Whether anything, or the end, has come by now.
    pub(crate) async fn has_more(&mut self) -> bool {
        let now = std::future::ready(());
        tokio::select! {
            biased;
            readable = self.stream.readable() => readable.is_ok(),
            () = now => !self.unread.is_empty(),
        }
    }

    /// Whether the other side ended the connection, with nothing left to read.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.unread.is_empty() && !self.more().await
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.take(end);
                self.take(2);
                return String::from_utf8(line).ok();
            }
            if !self.more().await {
                return None;
            }
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        self.unread.drain(..count).collect()
    }

    async fn more(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.unread).await, Ok(read) if read > 0)
    }
}
