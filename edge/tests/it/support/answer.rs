//! One answer of the origin, as a script of what it sends and what it waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::gate::Gate;
use super::wire::{Left, Wire};

/// One answer, as a script.
#[derive(Clone)]
pub(crate) struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
    framing: Framing,
    before: Vec<Step>,
    body: Vec<Step>,
    closes: bool,
    /// Behind a chunked body.
    trailers: String,
}

#[derive(Clone, Copy)]
enum Framing {
    /// The length of the whole body.
    Length,
    /// A length, whatever the body's is.
    Announced(usize),
    Chunked,
    UntilClose,
    /// No head: the body is everything that is sent.
    Raw,
}

#[derive(Clone)]
enum Step {
    Wait(Gate),
    Send(Vec<u8>),
    Count(Arc<AtomicUsize>),
    /// So many parts of 64 KiB, counted.
    Flood(usize, Arc<AtomicUsize>),
    /// What comes goes back, until nothing comes.
    Echo,
}

/// Bytes of one part of a flood.
const PART: usize = 64 << 10;

/// A 200 with this body.
pub(crate) fn answer(body: impl Into<Vec<u8>>) -> Answer {
    Answer {
        status: 200,
        fields: Vec::new(),
        framing: Framing::Length,
        before: Vec::new(),
        body: vec![Step::Send(body.into())],
        closes: false,
        trailers: String::new(),
    }
}

/// A 200 with this body that is fresh for a minute.
pub(crate) fn fresh(body: impl AsRef<[u8]>) -> Answer {
    answer(body.as_ref()).with("cache-control", "max-age=60")
}

impl Answer {
    /// No answer at all: the connection ends.
    pub(crate) fn hang_up() -> Answer {
        Answer::raw("")
    }

    /// These bytes and the end of the connection.
    pub(crate) fn raw(bytes: &str) -> Answer {
        Answer {
            framing: Framing::Raw,
            closes: true,
            ..answer(bytes)
        }
    }

    /// Switches protocols and says this: from then on whatever comes goes back. `ended` counts
    /// those of whom nothing more came.
    pub(crate) fn switching(protocol: &str, first: &str, ended: &Arc<AtomicUsize>) -> Answer {
        let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade";
        let mut answer = Answer::raw(&format!("{head}\r\nupgrade: {protocol}\r\n\r\n{first}"));
        answer
            .body
            .extend([Step::Echo, Step::Count(Arc::clone(ended))]);
        answer
    }

    pub(crate) fn status(mut self, status: u16) -> Answer {
        self.status = status;
        self
    }

    /// With one more field.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Answer {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With all of these.
    pub(crate) fn with_all(self, fields: &[(&str, &str)]) -> Answer {
        fields
            .iter()
            .fold(self, |answer, (name, value)| answer.with(name, value))
    }

    /// Nothing is sent before the gate is open.
    pub(crate) fn after(mut self, gate: &Gate) -> Answer {
        self.before.push(Step::Wait(gate.clone()));
        self
    }

    /// An interim response before the answer.
    pub(crate) fn informing(mut self, status: u16, name: &str, value: &str) -> Answer {
        let interim = format!("HTTP/1.1 {status} Interim\r\n{name}: {value}\r\n\r\n");
        self.before.push(Step::Send(interim.into_bytes()));
        self
    }

    /// A further part of the body, sent once the gate is open.
    pub(crate) fn then(mut self, gate: &Gate, part: impl Into<Vec<u8>>) -> Answer {
        self.body
            .extend([Step::Wait(gate.clone()), Step::Send(part.into())]);
        self
    }

    /// So many further parts of 64 KiB; `sent` counts those that the connection took.
    pub(crate) fn flooding(mut self, parts: usize, sent: &Arc<AtomicUsize>) -> Answer {
        self.body.push(Step::Flood(parts, Arc::clone(sent)));
        self
    }

    /// One more field behind a chunked body.
    pub(crate) fn trailing(mut self, name: &str, value: &str) -> Answer {
        self.trailers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    pub(crate) fn chunked(mut self) -> Answer {
        self.framing = Framing::Chunked;
        self
    }

    pub(crate) fn until_close(mut self) -> Answer {
        self.framing = Framing::UntilClose;
        self.closes = true;
        self
    }

    /// Announces a length that the body may not have.
    pub(crate) fn announcing(mut self, length: usize) -> Answer {
        self.framing = Framing::Announced(length);
        self
    }

    /// The connection stays open behind what was sent.
    pub(crate) fn staying(mut self) -> Answer {
        self.closes = false;
        self
    }

    /// The connection ends behind what was sent, without the end of a chunked body.
    pub(crate) fn breaking_off(mut self) -> Answer {
        self.closes = true;
        self
    }

    fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", self.status);
        for (name, value) in &self.fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let sizes = self.body.iter().map(|step| match step {
            Step::Send(part) => part.len(),
            Step::Flood(parts, _) => parts * PART,
            Step::Wait(_) | Step::Count(_) | Step::Echo => 0,
        });
        match self.framing {
            _ if matches!(self.status, 204 | 304) => {}
            Framing::Length => {
                head.push_str(&format!("content-length: {}\r\n", sizes.sum::<usize>()))
            }
            Framing::Announced(length) => head.push_str(&format!("content-length: {length}\r\n")),
            Framing::Chunked => head.push_str("transfer-encoding: chunked\r\n"),
            Framing::UntilClose | Framing::Raw => {}
        }
        head + "\r\n"
    }

    fn encode(&self, part: &[u8]) -> Vec<u8> {
        match self.framing {
            Framing::Chunked if part.is_empty() => Vec::new(),
            Framing::Chunked => {
                [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat()
            }
            _ => part.to_vec(),
        }
    }

    /// Plays the script; whether the connection goes on.
    pub(super) async fn play(self, wire: &mut Wire, is_head: bool) -> std::io::Result<bool> {
        play(wire, &self.before, <[u8]>::to_vec).await?;
        if !matches!(self.framing, Framing::Raw) {
            wire.write(self.head().as_bytes()).await?;
        }
        let has_body = !is_head && !matches!(self.status, 204 | 304);
        if has_body || matches!(self.framing, Framing::Raw) {
            play(wire, &self.body, |part| self.encode(part)).await?;
            if matches!(self.framing, Framing::Chunked) && !self.closes {
                let end = format!("0\r\n{}\r\n", self.trailers);
                wire.write(end.as_bytes()).await?;
            }
        }
        Ok(!self.closes)
    }
}

async fn play(
    wire: &mut Wire,
    steps: &[Step],
    encode: impl Fn(&[u8]) -> Vec<u8>,
) -> std::io::Result<()> {
    for step in steps {
        match step {
            Step::Wait(gate) => gate.passed().await,
            Step::Send(part) => wire.write(&encode(part)).await?,
            Step::Count(count) => {
                count.fetch_add(1, Ordering::Relaxed);
            }
            Step::Flood(parts, sent) => {
                let part = encode(&[b'x'; PART]);
                for _ in 0..*parts {
                    wire.write(&part).await?;
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            }
            Step::Echo => {
                while let Ok(Some(piece)) = wire.piece(&mut Left::UntilClose).await {
                    wire.write(&piece).await?;
                }
            }
        }
    }
    Ok(())
}
