//! A way to a server that a test can hold up, cut, silence, or lead to another server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tidegate_services::Redis;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The way. It runs on a thread of its own: a test may block. Dropped, it is cut.
pub(crate) struct Way {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    state: Option<watch::Sender<State>>,
    thread: Option<JoinHandle<()>>,
}

/// What becomes of bytes and connections.
#[derive(Clone, Copy)]
struct State {
    /// Where new connections lead; `None` ends them at once.
    port: Option<u16>,
    /// Bytes on their way there wait.
    holds_requests: bool,
    /// Bytes on their way back wait.
    holds_answers: bool,
    /// Connections from before as many silences let nothing through any more.
    silences: u64,
    /// Connections from before as many cuts are ended.
    cuts: u64,
}

impl Way {
    /// A way that lets everything through.
    pub(crate) fn to(redis: &Redis) -> Way {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port can be had");
        listener
            .set_nonblocking(true)
            .expect("a fresh socket takes options");
        let address = listener.local_addr().expect("a listener has an address");
        let state = watch::Sender::new(State {
            port: Some(redis.port()),
            holds_requests: false,
            holds_answers: false,
            silences: 0,
            cuts: 0,
        });
        let watched = state.subscribe();
        let connections = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&connections);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be built");
            runtime.block_on(serve(listener, watched, &counted));
        });
        Way {
            address,
            connections,
            state: Some(state),
            thread: Some(thread),
        }
    }

    /// The URL of a Redis at its other end.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Lets nothing more through on the connections there are, which stay open; new ones work.
    pub(crate) fn silence(&self) {
        self.change(|state| state.silences += 1);
    }

    /// Keeps all bytes back, in both directions, until [`Way::release`].
    pub(crate) fn hold(&self) {
        self.change(|state| {
            state.holds_requests = true;
            state.holds_answers = true;
        });
    }

    /// Lets through what was held.
    pub(crate) fn release(&self) {
        self.change(|state| {
            state.holds_requests = false;
            state.holds_answers = false;
        });
    }

    /// Lets through what the server has answered, and no further question.
    pub(crate) fn release_answers(&self) {
        self.change(|state| state.holds_answers = false);
    }

    /// Ends new connections at once until [`Way::lead_to`].
    pub(crate) fn close(&self) {
        self.change(|state| state.port = None);
    }

    /// Ends the connections there are too.
    pub(crate) fn cut(&self) {
        self.change(|state| {
            state.cuts += 1;
            state.port = None;
        });
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Ends the connections there are; new ones lead to this server.
    pub(crate) fn lead_to(&self, redis: &Redis) {
        self.change(|state| {
            state.cuts += 1;
            state.port = Some(redis.port());
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let state = self.state.as_ref().expect("there until it is dropped");
        state.send_modify(change);
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.state = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(
    listener: std::net::TcpListener,
    state: watch::Receiver<State>,
    connections: &AtomicUsize,
) {
    let listener = TcpListener::from_std(listener).expect("the listener is non-blocking");
    let mut ended = state.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ended.wait_for(|_| false) => return,
        };
        let Ok((client, _)) = accepted else { return };
        connections.fetch_add(1, Ordering::Relaxed);
        let now = *state.borrow();
        tokio::spawn(carry(client, now, state.clone()));
    }
}

/// Carries bytes both ways until either side ends, or the way is cut.
async fn carry(client: TcpStream, began: State, state: watch::Receiver<State>) {
    let Some(port) = began.port else { return };
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut watched = state.clone();
    tokio::select! {
        () = pump(from_client, to_server, began, state.clone(), |state| state.holds_requests) => {}
        () = pump(from_server, to_client, began, state, |state| state.holds_answers) => {}
        _ = watched.wait_for(|state| state.cuts != began.cuts) => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    began: State,
    mut state: watch::Receiver<State>,
    is_held: fn(&State) -> bool,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length) = from.read(&mut buffer).await {
        // What was held when the way was cut never comes through.
        let passes = |state: &State| {
            let is_open = state.silences == began.silences && state.cuts == began.cuts;
            is_open && !is_held(state)
        };
        let passed = state.wait_for(passes).await.is_ok();
        if length == 0 || !passed || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
