//! The load: kept connections, on each of which one request is under way.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::paths::Path;

/// Connections, and requests that are sent at once.
pub(crate) const CONNECTIONS: usize = 16;

pub(crate) struct Clients {
    connections: Vec<Connection>,
    asked: usize,
}

struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Clients {
    pub(crate) fn connect(address: SocketAddr) -> Clients {
        let connections = (0..CONNECTIONS).map(|_| {
            let stream = TcpStream::connect(address).expect("the server listens");
            stream.set_nodelay(true).expect("a connected stream");
            let answer = vec![0; 256 << 10];
            Connection { stream, answer }
        });
        Clients {
            connections: connections.collect(),
            asked: 0,
        }
    }

    /// Sends a request on one connection, and waits for its answer.
    pub(crate) fn ask(&mut self, path: &Path) {
        self.send(path, 0);
        self.connections[0].receive(path.status);
    }

    /// Sends a request on each connection, and waits for the answers; the head of the last.
    pub(crate) fn burst(&mut self, path: &Path) -> String {
        for number in 0..CONNECTIONS {
            self.send(path, number);
        }
        let mut head = 0;
        for connection in &mut self.connections {
            head = connection.receive(path.status);
        }
        let last = &self.connections[CONNECTIONS - 1];
        String::from_utf8_lossy(&last.answer[..head]).to_lowercase()
    }

    fn send(&mut self, path: &Path, connection: usize) {
        let request = format!(
            "GET {} HTTP/1.1\r\nhost: 127.0.0.1:8080\r\nuser-agent: load\r\naccept: */*\r\n{}\r\n",
            path.targets.target(self.asked),
            path.fields
        );
        self.asked += 1;
        self.connections[connection]
            .stream
            .write_all(request.as_bytes())
            .expect("the server reads");
    }
}

impl Connection {
    /// Reads one answer; the length of its head.
    fn receive(&mut self, status: u16) -> usize {
        let mut read = 0;
        let head = loop {
            read += self.read(read);
            let found = self.answer[..read]
                .windows(4)
                .position(|end| end == b"\r\n\r\n");
            if let Some(end) = found {
                break end + 4;
            }
        };
        let text = std::str::from_utf8(&self.answer[..head]).expect("these servers send ASCII");
        assert_eq!(text.get(9..12), Some(status.to_string().as_str()), "{text}");
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let body: usize = match length {
            Some(length) if status == 200 => length.parse().expect("a length is a number"),
            _ => 0,
        };
        while read < head + body {
            read += self.read(read);
        }
        head
    }

    fn read(&mut self, from: usize) -> usize {
        let count = self
            .stream
            .read(&mut self.answer[from..])
            .expect("the server answers");
        assert_ne!(count, 0, "the server closed the connection");
        count
    }
}
