//! A machine that is suspended and resumed: an edge that was stopped while purges were recorded.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tidegate_services::Redis;

use crate::command::tidegate;
use crate::http::{get, send};

/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// The edges' own `log.trust`.
const TRUST: Duration = Duration::from_secs(1);

/// An edge in a process of its own. Dropped, it is killed.
struct Edge {
    child: Child,
    address: String,
    admin: String,
}

impl Edge {
    fn start(folder: &Path, name: &str, origin: &str, redis: &Redis) -> Edge {
        let [address, admin] = [(); 2].map(|()| free_address());
        let file = folder.join(name);
        let text = format!(
            "[server]\nlisten = {address:?}\nadmin = {admin:?}\nworkers = 1\n\
             [log]\nurl = {:?}\ntrust = \"{}ms\"\ndeadline = \"10s\"\n\
             [origins.app]\nurl = \"http://{origin}\"\n\
             [[routes]]\norigin = \"app\"\n",
            redis.url(),
            TRUST.as_millis(),
        );
        fs::write(&file, text).expect("a temporary file can be written");
        let mut command = tidegate();
        let command = command.arg("run").arg("-c").arg(&file);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let edge = Edge {
            child: child.expect("the binary can be started"),
            address,
            admin,
        };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(&edge.address).is_err()
            || get(&edge.admin, "/readyz").status != 200
        {
            assert!(Instant::now() < until, "the edge does not get ready");
            std::thread::sleep(Duration::from_millis(10));
        }
        edge
    }

    fn signal(&self, signal: libc::c_int) {
        let id = libc::pid_t::try_from(self.child.id()).expect("a process number fits");
        // SAFETY: kill takes two integers, and the child has not been waited for.
        unsafe { libc::kill(id, signal) };
    }

    fn purge(&self, order: &str) {
        let receipt = send(&self.admin, "POST", "/purge", &[], order);
        assert_eq!(receipt.status, 200, "{}", receipt.body);
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port can be had");
    listener.local_addr().expect("it is bound").to_string()
}

/// An origin that answers with the number it is given, fresh for an hour and tagged.
fn origin(version: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port can be had");
    let address = listener.local_addr().expect("it is bound").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let version = Arc::clone(&version);
            let mut stream = stream.expect("connections can be taken");
            std::thread::spawn(move || {
                let lines = BufReader::new(stream.try_clone().expect("it can be read")).lines();
                let _ = lines
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                    .count();
                let body = version.load(Ordering::SeqCst).to_string();
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\
                     cache-control: max-age=3600\r\nsurrogate-key: t\r\n\r\n{body}",
                    body.len()
                );
            });
        }
    });
    address
}

#[test]
fn an_edge_that_was_suspended_serves_nothing_that_was_purged_meanwhile() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let redis = Redis::ephemeral().expect("redis-server is installed");
    let version = Arc::<AtomicUsize>::default();
    let origin = origin(Arc::clone(&version));
    let suspended = Edge::start(folder.path(), "suspended.toml", &origin, &redis);
    let other = Edge::start(folder.path(), "other.toml", &origin, &redis);
    for round in 0..5 {
        // Hot, and judged at the latest position.
        for _ in 0..3 {
            assert_eq!(get(&suspended.address, "/").body, round.to_string());
        }
        suspended.signal(libc::SIGSTOP);
        // The first may be in the edge's own hands already, and waits there with it.
        other.purge(r#"{"tags": ["other"]}"#);
        other.purge(r#"{"tags": ["t"]}"#);
        version.fetch_add(1, Ordering::SeqCst);
        // A suspension is a time in which nothing happens.
        std::thread::sleep(TRUST + TRUST / 5);
        // Asked while it stands still: answered before the edge has heard anything, it may be.
        let address = suspended.address.clone();
        let asking = std::thread::spawn(move || get(&address, "/"));
        suspended.signal(libc::SIGCONT);
        let expected = (round + 1).to_string();
        assert_eq!(
            asking.join().expect("it is answered").body,
            expected,
            "{round}"
        );
        for _ in 0..20 {
            assert_eq!(get(&suspended.address, "/").body, expected, "{round}");
        }
    }
    // It is trusted again.
    let until = Instant::now() + PATIENCE;
    while !get(&suspended.address, "/").is_hit() {
        assert!(Instant::now() < until, "the cache is never used again");
    }
}
