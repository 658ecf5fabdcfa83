//! The origin behind what is counted. It can hold requests back until there are as many as were sent at once, and
//! answers them together: then the server waits for its upstream connections equally often in each run.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use tidegate_semantics::{Timestamp, format_date};

/// What waits for an answer.
struct Held {
    together: usize,
    requests: Vec<(TcpStream, Vec<u8>)>,
}

/// `/stored/SIZE/…` may be stored, `/unstored/SIZE/…` may not.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    held: Arc<Mutex<Held>>,
}

impl Origin {
    /// Starts it, for as long as the process lives.
    pub(crate) fn start() -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
        let origin = Origin {
            address: listener.local_addr().expect("a bound listener"),
            held: Arc::new(Mutex::new(Held {
                together: 1,
                requests: Vec::new(),
            })),
        };
        let accepting = origin.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = accepting.clone();
                // A connection that breaks ends the benchmark at its other end.
                std::thread::spawn(move || drop(serving.serve(stream)));
            }
        });
        origin
    }

    /// From now on answers so many requests at once.
    pub(crate) fn answer_together(&self, together: usize) {
        self.held.lock().expect("no holder panics").together = together;
    }

    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut request = Vec::new();
        let mut part = [0; 4 << 10];
        loop {
            let count = stream.read(&mut part)?;
            if count == 0 {
                return Ok(());
            }
            request.extend(&part[..count]);
            if !request.ends_with(b"\r\n\r\n") {
                continue;
            }
            let answer = answer(&String::from_utf8_lossy(&request));
            request.clear();
            let mut held = self.held.lock().expect("no holder panics");
            held.requests.push((stream.try_clone()?, answer));
            if held.requests.len() >= held.together {
                for (mut stream, answer) in held.requests.drain(..) {
                    stream.write_all(&answer)?;
                }
            }
        }
    }
}

fn answer(request: &str) -> Vec<u8> {
    let target = request.split(' ').nth(1).unwrap_or_default();
    let mut segments = target.split('/').skip(1);
    let cache_control = match segments.next() {
        Some("stored") => "public, max-age=3600",
        _ => "no-store",
    };
    let size = segments.next().and_then(|size| size.parse().ok());
    let size: usize = size.unwrap_or_default();
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\n\
         server: origin\r\n\
         date: {now}\r\n\
         content-type: application/octet-stream\r\n\
         content-length: {size}\r\n\
         cache-control: {cache_control}\r\n\
         last-modified: Sat, 01 Nov 2025 00:00:00 GMT\r\n\
         etag: \"v1\"\r\n\r\n",
        now = format_date(Timestamp::from_system(std::time::SystemTime::now()))
            .to_str()
            .unwrap_or_default(),
    )
    .into_bytes();
    answer.resize(answer.len() + size, b'x');
    answer
}
