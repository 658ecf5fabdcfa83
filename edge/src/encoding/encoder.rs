//! One encoded body in the making: parts in, parts out.

use std::io;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

use async_compression::Level;
use async_compression::brotli::EncoderParams;
use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZstdEncoder};
use async_compression::zstd::CParameter;
use bytes::Bytes;
use tidegate_semantics::Coding;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How far back, in bytes as a power of two, an encoder looks for what it has seen. Every response on
/// its way has an encoder of its own, and this is most of its memory; the codings' own defaults are
/// 4 to 8 times as much, for little in what the web sends.
const WINDOW: u8 = 19;

/// So many bytes at most are encoded where they are met; more would hold up what else their worker
/// has to do.
const AT_ONCE: usize = 16 << 10;
/// The same at the levels that are many times slower than the others.
const AT_ONCE_SLOWLY: usize = 1 << 10;

/// Takes a body in parts and gives its encoded form in parts, which need not be as many.
pub struct Encoder {
    codec: Box<dyn Codec>,
    is_slow: bool,
    /// Its part of [`ROOM`], for as long as it lives.
    _room: Option<OwnedSemaphorePermit>,
}

/// MiB that all encoders of a process may take together. Clients that do not read keep theirs, and
/// over HTTP/2 nothing gives such clients up.
static ROOM: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(256)));

/// MiB that an encoder takes, about, as measured.
fn mebibytes(coding: Coding, level: i32) -> u32 {
    match (coding, level) {
        (Coding::Gzip, _) => 1,
        (Coding::Zstd, ..=6) => 2,
        (Coding::Zstd, 7..=12) => 16,
        (Coding::Zstd, _) => 80,
        (Coding::Brotli, ..=9) => 7,
        (Coding::Brotli, _) => 16,
    }
}

/// One thing that an encoder is asked to do.
pub enum Step {
    /// Take a part, and give what is ready.
    Write(Bytes),
    /// Give everything that was taken so far.
    Flush,
    /// Give the rest.
    Finish,
}

/// What writes into memory.
trait Codec: AsyncWrite + Send + Unpin {
    fn output(&mut self) -> &mut Vec<u8>;
}

impl Codec for ZstdEncoder<Vec<u8>> {
    fn output(&mut self) -> &mut Vec<u8> {
        self.get_mut()
    }
}

impl Codec for BrotliEncoder<Vec<u8>> {
    fn output(&mut self) -> &mut Vec<u8> {
        self.get_mut()
    }
}

impl Codec for GzipEncoder<Vec<u8>> {
    fn output(&mut self) -> &mut Vec<u8> {
        self.get_mut()
    }
}

/// Whether a level is one of those that are many times slower than the others.
fn is_slow(coding: Coding, level: i32) -> bool {
    match coding {
        Coding::Zstd => level >= 13,
        Coding::Brotli => level >= 10,
        Coding::Gzip => false,
    }
}

/// Whether a whole body of so many bytes may be encoded on a worker's own thread.
pub fn takes_at_once(coding: Coding, level: i32, length: usize) -> bool {
    length
        <= if is_slow(coding, level) {
            AT_ONCE_SLOWLY
        } else {
            AT_ONCE
        }
}

impl Encoder {
    /// An encoder at a level of its coding's own scale.
    pub fn new(coding: Coding, level: i32) -> Encoder {
        let is_slow = is_slow(coding, level);
        let level = Level::Precise(level);
        let codec: Box<dyn Codec> = match coding {
            Coding::Zstd => {
                let window = CParameter::window_log(WINDOW.into());
                let encoder = ZstdEncoder::with_quality_and_params(Vec::new(), level, &[window]);
                Box::new(encoder)
            }
            Coding::Brotli => {
                let params = EncoderParams::default().quality(level);
                let params = params.window_size(WINDOW.into());
                Box::new(BrotliEncoder::with_params(Vec::new(), params))
            }
            Coding::Gzip => Box::new(GzipEncoder::with_quality(Vec::new(), level)),
        };
        Encoder {
            codec,
            is_slow,
            _room: None,
        }
    }

    /// One that is to live as long as its reader likes; `None` where too many do already.
    pub fn if_there_is_room(coding: Coding, level: i32) -> Option<Encoder> {
        let room = Arc::clone(&ROOM).try_acquire_many_owned(mebibytes(coding, level));
        Some(Encoder {
            _room: Some(room.ok()?),
            ..Encoder::new(coding, level)
        })
    }

    /// One as soon as there is room for it.
    pub async fn in_turn(coding: Coding, level: i32) -> Encoder {
        let room = Arc::clone(&ROOM).acquire_many_owned(mebibytes(coding, level));
        Encoder {
            // It is never closed.
            _room: room.await.ok(),
            ..Encoder::new(coding, level)
        }
    }

    /// Whether so many bytes more may be encoded on a worker's own thread, where so many were taken
    /// since the last flush: an encoder works in blocks, and one that is slow makes who ends a block
    /// wait for all of it.
    pub fn takes_at_once(&self, more: usize, owed: usize) -> bool {
        if self.is_slow {
            more + owed <= AT_ONCE_SLOWLY
        } else {
            more <= AT_ONCE
        }
    }

    /// Does one step; the encoder goes with the last.
    ///
    /// # Errors
    /// When the encoder fails, which nothing in a body makes it do.
    pub fn step(mut self, step: Step) -> io::Result<(Option<Encoder>, Bytes)> {
        let encoded = match step {
            Step::Write(part) => self.write(&part)?,
            Step::Flush => self.flush()?,
            Step::Finish => return Ok((None, self.finish()?)),
        };
        Ok((Some(self), encoded))
    }

    /// Takes a part, and gives what is ready; often nothing.
    ///
    /// # Errors
    /// When the encoder fails, which nothing in a body makes it do.
    pub fn write(&mut self, part: &[u8]) -> io::Result<Bytes> {
        at_once(self.codec.write_all(part))?;
        Ok(self.take())
    }

    /// Gives everything that was taken so far, so that it can be decoded.
    ///
    /// # Errors
    /// As [`Encoder::write`].
    pub fn flush(&mut self) -> io::Result<Bytes> {
        at_once(self.codec.flush())?;
        Ok(self.take())
    }

    /// Ends the encoded form, and gives the rest of it.
    ///
    /// # Errors
    /// As [`Encoder::write`].
    pub fn finish(mut self) -> io::Result<Bytes> {
        at_once(self.codec.shutdown())?;
        Ok(self.take())
    }

    fn take(&mut self) -> Bytes {
        Bytes::from(std::mem::take(self.codec.output()))
    }
}

/// The outcome of writing into memory, which never waits.
fn at_once(writing: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    match pin!(writing).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err(io::Error::other("the encoder waits for nothing")),
    }
}

#[cfg(test)]
mod tests {
    use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZstdDecoder};
    use tidegate_semantics::Coding;
    use tokio::io::{AsyncRead, AsyncReadExt};

    use super::Encoder;

    async fn decoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut decoder: Box<dyn AsyncRead + Unpin + '_> = match coding {
            Coding::Zstd => Box::new(ZstdDecoder::new(bytes)),
            Coding::Brotli => Box::new(BrotliDecoder::new(bytes)),
            Coding::Gzip => Box::new(GzipDecoder::new(bytes)),
        };
        let mut text = Vec::new();
        // A form that is cut behind a flush decodes as far as it goes, and then fails.
        let _ = decoder.read_to_end(&mut text).await;
        text
    }

    #[tokio::test]
    async fn what_was_flushed_can_be_decoded_and_the_whole_is_the_whole() {
        for coding in Coding::ALL {
            let mut encoder = Encoder::new(coding, 1);
            let mut sent = encoder
                .write(b"one, ")
                .expect("memory takes everything")
                .to_vec();
            sent.extend(encoder.flush().expect("memory takes everything"));
            assert_eq!(decoded(coding, &sent).await, b"one, ", "{coding:?}");
            sent.extend(encoder.write(b"two").expect("memory takes everything"));
            sent.extend(encoder.finish().expect("memory takes everything"));
            assert_eq!(decoded(coding, &sent).await, b"one, two", "{coding:?}");
        }
    }

    #[tokio::test]
    async fn text_becomes_smaller_at_every_level() {
        let text = b"the same again and again, ".repeat(10_000);
        for (coding, levels) in [
            (Coding::Zstd, 1..=19),
            (Coding::Brotli, 0..=5),
            (Coding::Gzip, 1..=9),
        ] {
            for level in levels {
                let mut encoder = Encoder::new(coding, level);
                let mut sent = encoder
                    .write(&text)
                    .expect("memory takes everything")
                    .to_vec();
                sent.extend(encoder.finish().expect("memory takes everything"));
                assert!(sent.len() < text.len() / 50, "{coding:?} at {level}");
                assert_eq!(decoded(coding, &sent).await, text, "{coding:?} at {level}");
            }
        }
    }
}
