//! Watching an edge for the moment from which it does not answer from what it had stored.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::client::Client;

/// A thread that asks an edge for one page, again and again.
pub(crate) struct Watcher {
    rounds: Sender<()>,
    fallen: Receiver<Instant>,
    thread: JoinHandle<()>,
}

impl Watcher {
    pub(crate) fn of(edge: SocketAddr, path: &'static str) -> Watcher {
        let (rounds, waiting) = channel();
        let (told, fallen) = channel();
        let thread = std::thread::spawn(move || {
            let mut client = Client::connect(edge);
            while waiting.recv().is_ok() {
                while !client.get(path).contains("; hit") {}
                // The time until it is ready counts for nobody.
                told.send(Instant::now()).expect("the benchmark waits");
                loop {
                    // A request that begins now is the first that is not answered from the cache.
                    let begun = Instant::now();
                    if !client.get(path).contains("; hit") {
                        told.send(begun).expect("the benchmark waits");
                        break;
                    }
                }
            }
        });
        Watcher {
            rounds,
            fallen,
            thread,
        }
    }

    /// How long it took, from the moment that `purge` returns, until what was stored has fallen.
    pub(crate) fn time(&self, purge: impl FnOnce() -> Instant) -> Duration {
        self.rounds.send(()).expect("the watcher waits");
        self.next();
        let since = purge();
        // In force before we heard that it was asked for: at once.
        self.next().saturating_duration_since(since)
    }

    fn next(&self) -> Instant {
        self.fallen
            .recv_timeout(Duration::from_secs(60))
            .expect("what is purged falls")
    }

    pub(crate) fn end(self) {
        drop(self.rounds);
        self.thread.join().expect("the watcher ends");
    }
}
