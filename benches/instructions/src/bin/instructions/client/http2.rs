//! No more of HTTP/2 (RFC 9113) than a benchmark's servers answer: the same GET on one stream after the other, and
//! nothing of the answers but their status and their ends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// Of a frame: length, kind, flags, stream.
const FRAME_HEAD: usize = 9;

/// Field lines of HPACK (RFC 7541): an indexed one; names of the static table with a value that enters the dynamic one.
const METHOD_GET: u8 = 0x82;
const SCHEME_HTTP: u8 = 0x86;
const STATUS_200: u8 = 0x88;
const AUTHORITY: u8 = 0x41;
const PATH: u8 = 0x44;
const ACCEPT: u8 = 0x53;
const USER_AGENT: u8 = 0x7a;
/// The four that entered, in the order in which they did.
const ENTERED: [u8; 4] = [0xc1, 0xc0, 0xbf, 0xbe];

pub(super) struct Connection {
    stream: TcpStream,
    next: u32,
    /// What was read and is no whole frame yet.
    rest: Vec<u8>,
}

impl Connection {
    pub(super) fn to(address: SocketAddr) -> Connection {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a connected stream");
        let mut connection = Connection {
            stream,
            next: 1,
            rest: Vec::new(),
        };
        let mut start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        start.extend(frame(SETTINGS, 0, 0, &[]));
        // Room for all answers there will be.
        let room = (1_u32 << 31) - (1 << 16);
        start.extend(frame(WINDOW_UPDATE, 0, 0, &room.to_be_bytes()));
        connection.write(&start);
        connection
    }

    /// Sends so many requests for a target, the same each time.
    pub(super) fn send(&mut self, target: &str, streams: usize) {
        let mut frames = Vec::new();
        for _ in 0..streams {
            let mut fields = vec![METHOD_GET, SCHEME_HTTP];
            if self.next == 1 {
                for (name, value) in [
                    (PATH, target),
                    (AUTHORITY, "127.0.0.1:8080"),
                    (USER_AGENT, "load"),
                    (ACCEPT, "*/*"),
                ] {
                    fields.push(name);
                    fields.push(u8::try_from(value.len()).expect("a short value"));
                    fields.extend(value.as_bytes());
                }
            } else {
                fields.extend(ENTERED);
            }
            let flags = END_STREAM | END_HEADERS;
            frames.extend(frame(HEADERS, flags, self.next, &fields));
            self.next += 2;
        }
        self.write(&frames);
    }

    /// Reads until so many streams have ended.
    pub(super) fn receive(&mut self, streams: usize) {
        let mut ended = 0;
        while ended < streams {
            let mut part = [0; 64 << 10];
            let count = self.stream.read(&mut part).expect("the server answers");
            assert_ne!(count, 0, "the server closed the connection");
            self.rest.extend(&part[..count]);
            while let Some((kind, flags, payload)) = self.take_frame() {
                match kind {
                    SETTINGS if flags & ACK == 0 => self.write(&frame(SETTINGS, ACK, 0, &[])),
                    HEADERS => assert_eq!(payload.first(), Some(&STATUS_200), "no 200"),
                    RST_STREAM | GOAWAY => panic!("the server gave up: {kind} {payload:?}"),
                    _ => {}
                }
                if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                    ended += 1;
                }
            }
        }
    }

    /// The kind, flags and payload of the next frame that is whole.
    fn take_frame(&mut self) -> Option<(u8, u8, Vec<u8>)> {
        let &[high, middle, low, kind, flags, ..] = self.rest.as_slice() else {
            return None;
        };
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        if self.rest.len() < FRAME_HEAD + length {
            return None;
        }
        let payload = self.rest.drain(..FRAME_HEAD + length).skip(FRAME_HEAD);
        Some((kind, flags, payload.collect()))
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame");
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}
