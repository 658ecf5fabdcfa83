//! A client that writes and reads the bytes itself.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::patiently;
use super::wire::{BrokenOff, Head, Left, Wire};

/// The host that requests name unless they say otherwise.
pub(crate) const HOST: &str = "edge.test";

/// A request to be sent over a connection of its own.
pub(crate) struct Request {
    to: SocketAddr,
    method: String,
    path: String,
    fields: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn new(to: SocketAddr, method: &str, path: &str) -> Request {
        Request {
            to,
            method: method.to_owned(),
            path: path.to_owned(),
            fields: vec![("host".to_owned(), HOST.to_owned())],
            body: None,
        }
    }

    /// With one more field; another `host` takes the place of ours.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Request {
        if name == "host" {
            self.fields.clear();
        }
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With all of these.
    pub(crate) fn with_all(self, fields: &[(&str, &str)]) -> Request {
        fields
            .iter()
            .fold(self, |request, (name, value)| request.with(name, value))
    }

    pub(crate) fn body(mut self, body: &str) -> Request {
        self.body = Some(body.as_bytes().to_vec());
        self
    }

    /// Sends it and reads the answer to its end.
    pub(crate) async fn send(self) -> Response {
        let method = self.method.clone();
        let mut connection = self.begin().await;
        connection.response_to(&method).await
    }

    /// Sends it and leaves the answer to be read.
    pub(crate) async fn begin(self) -> Connection {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = &self.body {
            text.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        let mut connection = Connection::open(self.to).await;
        let bytes = [text.as_bytes(), &self.body.unwrap_or_default()].concat();
        connection.write(&bytes).await;
        connection
    }
}

/// A connection to the edge.
pub(crate) struct Connection {
    wire: Wire,
    left: Left,
}

impl Connection {
    pub(crate) async fn open(to: SocketAddr) -> Connection {
        let stream = patiently("a connection", TcpStream::connect(to)).await;
        let stream = stream.expect("the edge takes connections");
        stream
            .set_nodelay(true)
            .expect("a fresh socket takes options");
        Connection {
            wire: Wire::new(stream),
            left: Left::Bytes(0),
        }
    }

    /// Writes; an edge that has closed meanwhile has its say in what is read next.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        let _ = self.is_taken(bytes).await;
    }

    /// Writes; whether all of it was taken.
    pub(crate) async fn is_taken(&mut self, bytes: &[u8]) -> bool {
        patiently("what is sent to be taken", self.wire.write(bytes))
            .await
            .is_ok()
    }

    /// Says that nothing more will be written.
    pub(crate) async fn finish(&mut self) {
        let _ = self.wire.finish().await;
    }

    /// The next answer to a GET, whole.
    pub(crate) async fn response(&mut self) -> Response {
        self.response_to("GET").await
    }

    /// The next answer, whole.
    pub(crate) async fn response_to(&mut self, method: &str) -> Response {
        let mut response = self.head_of(method).await;
        let rest = patiently("the rest of a response", self.wire.rest(self.left)).await;
        (response.body, response.is_complete) = rest;
        response.trailers = std::mem::take(&mut self.wire.trailers);
        self.left = Left::Bytes(0);
        response
    }

    /// The next answer; `None` when the connection ends before it begins.
    pub(crate) async fn answer_to(&mut self, method: &str) -> Option<Response> {
        if patiently("an answer or the end", self.wire.is_closed()).await {
            return None;
        }
        Some(self.response_to(method).await)
    }

    /// The head of the next answer to a GET; its body is still to be read.
    pub(crate) async fn head(&mut self) -> Response {
        self.head_of("GET").await
    }

    async fn head_of(&mut self, method: &str) -> Response {
        let mut interim = Vec::new();
        let (status, head) = loop {
            let head = patiently("the head of a response", self.wire.head()).await;
            let head = head.expect("the edge answers before it ends the connection");
            let status = head
                .line
                .split(' ')
                .nth(1)
                .and_then(|status| status.parse().ok());
            let status: u16 = status.expect("a status line has a status");
            if status >= 200 || status == 101 {
                break (status, head);
            }
            interim.push((status, head));
        };
        let length = head.get("content-length").map(|length| length.parse());
        self.left = if status == 101 {
            Left::UntilClose
        } else if method == "HEAD" || matches!(status, 204 | 304) {
            Left::Bytes(0)
        } else if head.get("transfer-encoding").is_some() {
            Left::Chunks
        } else if let Some(length) = length {
            Left::Bytes(length.expect("a length is a number"))
        } else {
            Left::UntilClose
        };
        Response {
            status,
            head,
            interim,
            body: Vec::new(),
            is_complete: false,
            trailers: Vec::new(),
        }
    }

    /// Reads on until `length` more bytes of the body are there.
    pub(crate) async fn body(&mut self, length: usize) -> String {
        let mut body = Vec::new();
        while body.len() < length {
            let piece = patiently("a part of a body", self.wire.piece(&mut self.left)).await;
            match piece {
                Ok(Some(piece)) => body.extend(piece),
                Ok(None) | Err(BrokenOff) => break,
            }
        }
        String::from_utf8(body).expect("bodies are text here")
    }

    /// The next piece of the body, as bytes; `None` at its end.
    pub(crate) async fn piece(&mut self) -> Option<Vec<u8>> {
        let piece = self.wire.piece(&mut self.left);
        let piece = patiently("a part of a body", piece).await;
        piece.expect("the body goes on, or comes to its end")
    }

    /// How many bytes are left of the body, and whether it came to its end: they are not kept.
    pub(crate) async fn drained(&mut self) -> (usize, bool) {
        let mut length = 0;
        loop {
            let piece = patiently("a part of a body", self.wire.piece(&mut self.left)).await;
            match piece {
                Ok(Some(piece)) => length += piece.len(),
                Ok(None) => return (length, true),
                Err(BrokenOff) => return (length, false),
            }
        }
    }

    /// What is left of the body, and whether it came to its end.
    pub(crate) async fn rest(&mut self) -> (String, bool) {
        let (body, is_complete) = patiently("the rest", self.wire.rest(self.left)).await;
        (
            String::from_utf8(body).expect("bodies are text here"),
            is_complete,
        )
    }

    /// Whether there is something to read, or the end, without waiting for it.
    pub(crate) async fn has_more(&mut self) -> bool {
        self.wire.has_more().await
    }

    /// Whether the edge ends the connection without another byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        patiently("the end of a connection", self.wire.is_closed()).await
    }
}

/// What the edge answered.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: Head,
    /// The interim responses before it.
    pub(crate) interim: Vec<(u16, Head)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its end.
    pub(crate) is_complete: bool,
    /// The fields behind the body.
    pub(crate) trailers: Vec<(String, String)>,
}

impl Response {
    /// The first value of a field.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.head.get(name)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("bodies are text here")
    }

    /// What our own member of `Cache-Status` begins with: `hit`, or why it was forwarded.
    pub(crate) fn cache_status(&self) -> &str {
        self.cache_parameters().next().unwrap_or_default()
    }

    /// A parameter of our own member of `Cache-Status`.
    pub(crate) fn cache(&self, name: &str) -> Option<&str> {
        self.cache_parameters().find_map(|parameter| {
            let (found, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (found == name).then_some(value)
        })
    }

    fn cache_parameters(&self) -> impl Iterator<Item = &str> {
        let ours = self.head.all("cache-status").last().unwrap_or_default();
        ours.split("; ").skip(1)
    }
}
