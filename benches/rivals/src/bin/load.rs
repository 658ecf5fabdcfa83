//! The load generator: one thread, the kernel, connections of HTTP/1.1.
//!
//!     rivals-load JSON
//!
//! The JSON is a `tidegate_rivals::load::Load`.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tidegate_rivals::epoll::{Epoll, Event, READABLE};
use tidegate_rivals::head;
use tidegate_rivals::load::histogram::Histogram;
use tidegate_rivals::load::zipf::Zipf;
use tidegate_rivals::load::{Keys, Load, Outcome};

/// Answers on different connections are looked for this often at least, so that the end is seen.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    match run() {
        Ok(outcome) => {
            println!("{outcome}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("rivals-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, String> {
    let load = std::env::args().nth(1).ok_or("say the load, in JSON")?;
    let load: Load = serde_json::from_str(&load).map_err(|error| format!("no load: {error}"))?;
    // Sleeping is to end on time; the kernel lets threads sleep 50 µs longer.
    // SAFETY: takes two numbers and changes this thread's timers alone.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000_u64) };
    let port = load.port;
    let outcome = Generator::connect(load)
        .and_then(Generator::run)
        .map_err(|error| format!("port {port}: {error}"))?;
    serde_json::to_string(&outcome).map_err(|error| error.to_string())
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Idle,
    /// Waits for the end of a head.
    Head,
    /// So many bytes of a body are to come; whether it counts.
    Body(usize, bool),
}

struct Connection {
    stream: TcpStream,
    state: State,
    /// The beginning of a head that came in parts.
    held: Vec<u8>,
    /// When its request was sent, or should have been.
    began: Instant,
}

/// What writes requests, one after the other.
struct Requests {
    path: String,
    keys: Keys,
    zipf: Option<Zipf>,
    rest: String,
    buffer: Vec<u8>,
}

impl Requests {
    fn new(load: &Load) -> Self {
        Self {
            path: format!("GET {}", load.path),
            keys: load.keys.clone(),
            zipf: match load.keys {
                Keys::Zipf(count) => Some(Zipf::new(count)),
                _ => None,
            },
            rest: format!(
                " HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n",
                load.port
            ),
            buffer: Vec::new(),
        }
    }

    fn next(&mut self) -> &[u8] {
        let key = match (&mut self.keys, &mut self.zipf) {
            (Keys::From(next), _) => {
                *next += 1;
                *next - 1
            }
            // Spread over the keys (7919 is a prime), so that popular ones are no neighbours.
            (Keys::Zipf(count), Some(zipf)) => {
                u64::from(zipf.next_rank()) * 7919 % u64::from(*count)
            }
            (Keys::Zipf(_), None) => 0,
            (Keys::One(key), _) => *key,
        };
        self.buffer.clear();
        // Writing to a vector cannot fail.
        let _ = write!(self.buffer, "{}{key}{}", self.path, self.rest);
        &self.buffer
    }
}

struct Generator {
    port: u16,
    seconds: f64,
    limit: u64,
    /// Nanoseconds between two requests of an open loop.
    gap: Option<f64>,
    requests: Requests,
    epoll: Epoll,
    connections: Vec<Connection>,
    idle: VecDeque<usize>,
    issued: u64,
    errors: u64,
    histogram: Histogram,
    buffer: Vec<u8>,
}

impl Generator {
    fn connect(load: Load) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        let connections = (0..load.connections)
            .map(|place| connect(load.port, &epoll, place))
            .collect::<io::Result<Vec<_>>>()?;
        // Until the proxy has accepted them all.
        std::thread::sleep(Duration::from_millis(50));
        Ok(Self {
            port: load.port,
            seconds: load.seconds,
            limit: load.requests.unwrap_or(u64::MAX),
            gap: load.rate.map(|rate| 1e9 / rate),
            requests: Requests::new(&load),
            epoll,
            idle: (0..connections.len()).collect(),
            connections,
            issued: 0,
            errors: 0,
            histogram: Histogram::default(),
            buffer: vec![0; 1 << 18],
        })
    }

    fn run(mut self) -> io::Result<Outcome> {
        let start = Instant::now();
        let end = start + Duration::from_secs_f64(self.seconds);
        let mut happened: Vec<Event> = Vec::new();
        while Instant::now() < end && self.histogram.count() + self.errors < self.limit {
            self.send(start)?;
            self.epoll.wait(&mut happened, Some(self.sleep(start)));
            for event in &happened {
                self.receive(event.key as usize)?;
            }
        }
        Ok(Outcome {
            requests: self.histogram.count(),
            errors: self.errors,
            seconds: start.elapsed().as_secs_f64(),
            latency: self.histogram.latency(),
        })
    }

    /// When the next request should be sent.
    fn due(&self, start: Instant) -> Option<Instant> {
        let gap = self.gap?;
        Some(start + Duration::from_nanos((self.issued as f64 * gap) as u64))
    }

    fn sleep(&self, start: Instant) -> Duration {
        let due = self.due(start).filter(|_| !self.idle.is_empty());
        due.map_or(LONGEST_WAIT, |due| {
            due.saturating_duration_since(Instant::now())
                .min(LONGEST_WAIT)
        })
    }

    /// Sends on idle connections: on all of them in a closed loop, what is due in an open one.
    fn send(&mut self, start: Instant) -> io::Result<()> {
        while self.issued < self.limit {
            let now = Instant::now();
            let began = self.due(start).unwrap_or(now);
            if began > now {
                break;
            }
            let Some(place) = self.idle.pop_front() else {
                break;
            };
            self.issued += 1;
            let request = self.requests.next();
            let connection = &mut self.connections[place];
            connection.state = State::Head;
            connection.began = began;
            if connection.stream.write(request).ok() != Some(request.len()) {
                self.replace(place)?;
            }
        }
        Ok(())
    }

    /// A connection that failed, or was closed, makes room for another.
    fn replace(&mut self, place: usize) -> io::Result<()> {
        if self.connections[place].state != State::Idle {
            self.errors += 1;
            self.idle.push_back(place);
        }
        self.connections[place] = connect(self.port, &self.epoll, place)?;
        Ok(())
    }

    fn receive(&mut self, place: usize) -> io::Result<()> {
        let connection = &mut self.connections[place];
        let count = match connection.stream.read(&mut self.buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Ok(0) | Err(_) => return self.replace(place),
            Ok(count) => count,
        };
        let received = &self.buffer[..count];
        let next = match connection.state {
            // Nothing was asked for.
            State::Idle => None,
            State::Body(left, counts) => Some(State::Body(left.saturating_sub(count), counts)),
            State::Head if connection.held.is_empty() => {
                let next = after_head(received);
                if next == Some(State::Head) {
                    connection.held.extend_from_slice(received);
                }
                next
            }
            State::Head => {
                connection.held.extend_from_slice(received);
                after_head(&connection.held)
            }
        };
        match next {
            None => {
                self.errors += u64::from(connection.state == State::Idle);
                return self.replace(place);
            }
            Some(State::Body(0, counts)) => {
                connection.state = State::Idle;
                connection.held.clear();
                if counts {
                    self.histogram.add(connection.began.elapsed());
                } else {
                    self.errors += 1;
                }
                self.idle.push_back(place);
            }
            Some(next) => connection.state = next,
        }
        Ok(())
    }
}

/// What is still to come of an answer of which this was received; `None` of one that cannot be understood.
fn after_head(received: &[u8]) -> Option<State> {
    let Some(end) = head::end(received) else {
        return Some(State::Head);
    };
    let head = &received[..end];
    let length = head::content_length(head)?;
    let left = length.saturating_sub(received.len() - end);
    Some(State::Body(left, head::status(head) == Some(200)))
}

fn connect(port: u16, epoll: &Epoll, place: usize) -> io::Result<Connection> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    epoll.add(&stream, place as u64, READABLE)?;
    Ok(Connection {
        stream,
        state: State::Idle,
        held: Vec::with_capacity(4096),
        began: Instant::now(),
    })
}
