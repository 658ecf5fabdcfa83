//! A client that costs little: one blocking connection, and no more of HTTP/1.1 than is needed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// The largest answer that is read.
const LARGEST: usize = 16 << 10;

/// A kept connection.
pub(crate) struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Box<[u8; LARGEST]>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a connected stream");
        Client {
            stream,
            request: Vec::new(),
            answer: Box::new([0; LARGEST]),
        }
    }

    /// Asks for `path`, reads the whole answer, and returns its head.
    pub(crate) fn get(&mut self, path: &str) -> &str {
        self.ask("GET", path, "")
    }

    /// The same with another method and more fields, each with its line's end.
    pub(crate) fn ask(&mut self, method: &str, path: &str, fields: &str) -> &str {
        self.request.clear();
        let version = " HTTP/1.1\r\nhost: learn.example\r\n";
        for part in [method, " ", path, version, fields, "\r\n"] {
            self.request.extend(part.as_bytes());
        }
        self.stream
            .write_all(&self.request)
            .expect("the server reads");
        let mut read = 0;
        let head = loop {
            read += self.read(read);
            if let Some(end) = find(&self.answer[..read], b"\r\n\r\n") {
                break end;
            }
        };
        match self.body_length(head) {
            Some(length) => {
                while read < head + 4 + length {
                    read += self.read(read);
                }
            }
            // In chunks, of which the last is empty.
            None => {
                while !self.answer[..read].ends_with(b"\r\n0\r\n\r\n") {
                    read += self.read(read);
                }
            }
        }
        self.head(head)
    }

    fn read(&mut self, from: usize) -> usize {
        let count = self
            .stream
            .read(&mut self.answer[from..])
            .expect("the server answers");
        assert_ne!(count, 0, "the server closed the connection");
        count
    }

    fn head(&self, end: usize) -> &str {
        let head = std::str::from_utf8(&self.answer[..end]).expect("these servers send ASCII");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        head
    }

    fn body_length(&self, end: usize) -> Option<usize> {
        let head = self.head(end);
        let value = |name| head.lines().find_map(|line| line.strip_prefix(name));
        let length = value("content-length: ").map(|length| length.parse());
        let is_chunked = value("transfer-encoding: ") == Some("chunked");
        assert!(length.is_some() || is_chunked, "no length: {head}");
        length.map(|length| length.expect("a length is a number"))
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}
