//! No more of HTTP/1.1 than a benchmark's servers answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// The largest answer that is read.
const LARGEST: usize = 256 << 10;

pub(super) struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    pub(super) fn to(address: SocketAddr) -> Connection {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a connected stream");
        Connection {
            stream,
            answer: vec![0; LARGEST],
        }
    }

    pub(super) fn send(&mut self, target: &str, fields: &str) {
        let request = format!(
            "GET {target} HTTP/1.1\r\nhost: 127.0.0.1:8080\r\nuser-agent: load\r\naccept: */*\r\n{fields}\r\n",
        );
        let sent = self.stream.write_all(request.as_bytes());
        sent.expect("the server reads");
    }

    /// Reads one answer; its head, in lower case.
    pub(super) fn receive(&mut self, status: u16) -> String {
        let mut read = 0;
        let head = loop {
            read += self.read(read);
            let mut ends = self.answer[..read].windows(4);
            if let Some(end) = ends.position(|end| end == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let text = String::from_utf8_lossy(&self.answer[..head]).to_lowercase();
        assert_eq!(text.get(9..12), Some(status.to_string().as_str()), "{text}");
        let mut lines = text.lines();
        let length = lines.find_map(|line| line.strip_prefix("content-length: "));
        let body: usize = match length {
            Some(length) if status == 200 => length.parse().expect("a length is a number"),
            _ => 0,
        };
        while read < head + body {
            read += self.read(read);
        }
        text
    }

    fn read(&mut self, from: usize) -> usize {
        let count = self.stream.read(&mut self.answer[from..]);
        let count = count.expect("the server answers");
        assert_ne!(count, 0, "the server closed the connection");
        count
    }
}
