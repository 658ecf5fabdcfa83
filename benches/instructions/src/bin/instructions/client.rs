//! The load: kept connections, on which requests are sent together and their answers awaited.
//!
//! That is how a loaded server sees its clients: one wait of the server brings it many requests. And it is the same in
//! each run, which one request after the other would not be on a machine that does other things too.

mod http1;
mod http2;

use std::net::SocketAddr;

use crate::paths::{Path, Protocol};

/// Connections, each with a request under way at a time, or several of HTTP/2.
pub(crate) const CONNECTIONS: usize = 16;
const STREAMS: usize = 8;

pub(crate) struct Clients {
    connections: Vec<Connection>,
    asked: usize,
}

enum Connection {
    Http1(http1::Connection),
    Http2(http2::Connection),
}

/// Requests that are sent together on a path.
pub(crate) fn together(path: &Path) -> usize {
    match path.protocol {
        Protocol::Http1 => CONNECTIONS,
        Protocol::Http2 => CONNECTIONS * STREAMS,
    }
}

impl Clients {
    pub(crate) fn connect(address: SocketAddr, protocol: Protocol) -> Clients {
        let connections = (0..CONNECTIONS).map(|_| match protocol {
            Protocol::Http1 => Connection::Http1(http1::Connection::to(address)),
            Protocol::Http2 => Connection::Http2(http2::Connection::to(address)),
        });
        Clients {
            connections: connections.collect(),
            asked: 0,
        }
    }

    /// Sends one request and waits for its answer.
    pub(crate) fn ask(&mut self, path: &Path) {
        self.send(path, 0, 1);
        self.connections[0].receive(path, 1);
    }

    /// Sends requests on each connection, and waits for the answers. The head of the last.
    pub(crate) fn burst(&mut self, path: &Path) -> String {
        let streams = together(path) / CONNECTIONS;
        for number in 0..CONNECTIONS {
            self.send(path, number, streams);
        }
        let heads = self.connections.iter_mut();
        let heads = heads.map(|connection| connection.receive(path, streams));
        heads.last().unwrap_or_default()
    }

    fn send(&mut self, path: &Path, connection: usize, streams: usize) {
        let target = path.targets.target(self.asked);
        self.asked += 1;
        match &mut self.connections[connection] {
            Connection::Http1(connection) => connection.send(&target, path.fields),
            Connection::Http2(connection) => connection.send(&target, streams),
        }
    }
}

impl Connection {
    /// Reads the answers; the head of the last, as far as it can be read.
    fn receive(&mut self, path: &Path, streams: usize) -> String {
        match self {
            Connection::Http1(connection) => connection.receive(path.status),
            Connection::Http2(connection) => {
                connection.receive(streams);
                path.shows.to_owned()
            }
        }
    }
}
