//! The origin that all proxies stand before: one thread, the kernel, no library.
//!
//!     rivals-origin PORT
//!
//! `/c/SIZE/KEY` may be cached for ten minutes, `/fresh/…` and `/reused/…` likewise; `/n/SIZE/KEY` is no-store;
//! `/w/MILLISECONDS/SIZE/KEY` may be cached and takes its time. `/_count` tells how many of these came.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use tidegate_rivals::epoll::{CLOSED, EDGES, Epoll, Event, READABLE, WRITABLE, listen};
use tidegate_rivals::head;

/// The key of the listener; connections have their place.
const LISTENER: u64 = u64::MAX;
/// A longer body is written from one shared filler.
const COPIED: usize = 16 * 1024;

fn main() -> ExitCode {
    let Some(port) = std::env::args().nth(1).and_then(|port| port.parse().ok()) else {
        eprintln!("rivals-origin: say the port");
        return ExitCode::from(2);
    };
    match Origin::new(port).map(Origin::serve) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("rivals-origin: cannot listen on port {port}: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// Tells it from those that had its place before.
    number: u64,
    received: Vec<u8>,
    head: Vec<u8>,
    written: usize,
    /// How many bytes of filler are still to be written behind the head.
    body: usize,
    /// Nothing is written before its time has come.
    waits: bool,
    closes: bool,
}

impl Connection {
    /// Writes what the socket takes.
    fn flush(&mut self, filler: &[u8]) -> io::Result<()> {
        while self.written < self.head.len() || self.body > 0 {
            let head = &self.head[self.written..];
            let body = &filler[..self.body.min(filler.len())];
            match self
                .stream
                .write_vectored(&[IoSlice::new(head), IoSlice::new(body)])
            {
                Ok(count) => {
                    let of_head = count.min(head.len());
                    self.written += of_head;
                    self.body -= count - of_head;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.head.clear();
        self.written = 0;
        if self.closes {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

enum Never {}

struct Origin {
    listener: TcpListener,
    epoll: Epoll,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    accepted: u64,
    /// When which place's answer is due, and whose it is.
    due: BinaryHeap<Reverse<(Instant, usize, u64)>>,
    count: u64,
    date: String,
    date_of: u64,
    filler: Vec<u8>,
    buffer: Vec<u8>,
}

impl Origin {
    fn new(port: u16) -> io::Result<Self> {
        let listener = listen(port)?;
        let epoll = Epoll::new()?;
        epoll.add(&listener, LISTENER, READABLE)?;
        Ok(Self {
            listener,
            epoll,
            connections: Vec::new(),
            free: Vec::new(),
            accepted: 0,
            due: BinaryHeap::new(),
            count: 0,
            date: String::new(),
            date_of: 0,
            filler: vec![b'x'; 1 << 20],
            buffer: vec![0; 1 << 16],
        })
    }

    fn serve(mut self) -> Never {
        let mut happened: Vec<Event> = Vec::new();
        loop {
            let limit = self
                .due
                .peek()
                .map(|Reverse((at, ..))| at.saturating_duration_since(Instant::now()));
            self.epoll.wait(&mut happened, limit);
            self.look_at_the_clock();
            self.answer_what_is_due();
            for event in &happened {
                match event.key {
                    LISTENER => self.accept(),
                    place => self.attend(place as usize, event.what),
                }
            }
        }
    }

    fn look_at_the_clock(&mut self) {
        let now = SystemTime::now();
        let second = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        if second != self.date_of {
            self.date_of = second;
            self.date = httpdate::fmt_http_date(now);
        }
    }

    fn answer_what_is_due(&mut self) {
        while let Some(Reverse((at, place, number))) = self.due.peek().copied() {
            if at > Instant::now() {
                return;
            }
            self.due.pop();
            let waiting = self.connections[place].as_mut();
            if let Some(connection) = waiting.filter(|connection| connection.number == number) {
                connection.waits = false;
                if connection.flush(&self.filler).is_err() {
                    self.drop_connection(place);
                }
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let place = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let _ = stream.set_nodelay(true);
            let added = stream.set_nonblocking(true).and_then(|()| {
                self.epoll
                    .add(&stream, place as u64, READABLE | WRITABLE | CLOSED | EDGES)
            });
            if added.is_err() {
                self.free.push(place);
                continue;
            }
            self.accepted += 1;
            self.connections[place] = Some(Connection {
                stream,
                number: self.accepted,
                received: Vec::new(),
                head: Vec::new(),
                written: 0,
                body: 0,
                waits: false,
                closes: false,
            });
        }
    }

    fn attend(&mut self, place: usize, what: u32) {
        let Some(mut connection) = self.connections[place].take() else {
            return;
        };
        let mut alive = true;
        if what & WRITABLE != 0 && !connection.waits && !connection.head.is_empty() {
            alive = connection.flush(&self.filler).is_ok();
        }
        if alive && what & READABLE != 0 {
            alive = self.read(&mut connection, place).is_ok();
        }
        if !alive || what & CLOSED != 0 {
            drop(connection);
            self.free.push(place);
        } else {
            self.connections[place] = Some(connection);
        }
    }

    fn drop_connection(&mut self, place: usize) {
        self.connections[place] = None;
        self.free.push(place);
    }

    /// Reads until nothing is left, and answers each request.
    fn read(&mut self, connection: &mut Connection, place: usize) -> io::Result<()> {
        loop {
            let count = match connection.stream.read(&mut self.buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            connection.received.extend_from_slice(&self.buffer[..count]);
            while let Some(end) = head::end(&connection.received) {
                let request: Vec<u8> = connection.received.drain(..end).collect();
                connection.closes |= head::closes(&request);
                match self.answer(connection, head::path(&request)) {
                    Some(delay) => {
                        connection.waits = true;
                        let due = (Instant::now() + delay, place, connection.number);
                        self.due.push(Reverse(due));
                    }
                    None => connection.flush(&self.filler)?,
                }
            }
            // What does not fill the buffer was all there was.
            if count < self.buffer.len() {
                return Ok(());
            }
        }
    }

    /// Puts the answer on the connection; tells for how long it must wait, if it must.
    fn answer(&mut self, connection: &mut Connection, path: &str) -> Option<Duration> {
        let mut parts = path.split('/').skip(1);
        let kind = parts.next().unwrap_or_default();
        let mut number = || parts.next().and_then(|part| part.parse::<usize>().ok());
        let (storing, delay) = match kind {
            "c" | "fresh" | "reused" => ("public, max-age=600", None),
            "n" => ("no-store", None),
            "w" => ("public, max-age=600", number()),
            _ => {
                self.tell_count(connection);
                return None;
            }
        };
        let size = number().unwrap_or(0);
        self.count += 1;
        // Writing to a vector cannot fail.
        let _ = write!(
            connection.head,
            "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: {}\r\nContent-Type: application/octet-stream\r\n\
             Content-Length: {size}\r\nCache-Control: {storing}\r\nLast-Modified: Sat, 01 Nov 2025 00:00:00 GMT\r\n\
             ETag: \"v1-{size}\"\r\n\r\n",
            self.date
        );
        if size <= COPIED {
            let length = connection.head.len() + size;
            connection.head.resize(length, b'x');
        } else {
            connection.body = size;
        }
        delay.map(|delay| Duration::from_millis(delay as u64))
    }

    fn tell_count(&self, connection: &mut Connection) {
        let count = self.count.to_string();
        let _ = write!(
            connection.head,
            "HTTP/1.1 200 OK\r\nDate: {}\r\nCache-Control: no-store\r\nContent-Length: {}\r\n\r\n{count}",
            self.date,
            count.len()
        );
    }
}
