//! A scripted origin: a real server on a port of its own that answers as the test says, step by
//! step, and remembers what it was asked. It runs on a thread of its own: a test may block.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::answer::{Answer, answer};
use super::wire::{Head, Left, Wire};
use super::{PATIENCE, wait_until};

/// What the origin was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    /// The fields behind the body.
    pub(crate) trailers: Vec<(String, String)>,
    /// Which connection brought it, from 0.
    pub(crate) connection: usize,
}

impl Asked {
    /// The first value of a field.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.head.get(name)
    }
}

type Rule = Box<dyn Fn(&Asked) -> Answer + Send>;

/// The origin. Dropped, it is gone.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<watch::Sender<bool>>,
    thread: Option<JoinHandle<()>>,
    /// Holds the port of an origin that is down, so that nobody else answers there.
    down: Option<Socket>,
}

struct Shared {
    script: Mutex<Script>,
    asked: Mutex<Vec<Asked>>,
    cut_off: AtomicUsize,
}

struct Script {
    /// Answers for the next requests, one each.
    next: VecDeque<Answer>,
    always: Always,
}

enum Always {
    Same(Answer),
    By(Rule),
}

impl Origin {
    /// Answers every request with 200 and this body.
    pub(crate) fn answers(body: &str) -> Origin {
        Origin::start(Always::Same(answer(body)))
    }

    /// Answers each request as the rule says.
    pub(crate) fn by(rule: impl Fn(&Asked) -> Answer + Send + 'static) -> Origin {
        Origin::start(Always::By(Box::new(rule)))
    }

    /// Answers every request with this.
    pub(crate) fn always(answer: Answer) -> Origin {
        Origin::start(Always::Same(answer))
    }

    /// One field more on what every request is answered with.
    pub(crate) fn with(self, name: &str, value: &str) -> Origin {
        if let Always::Same(answer) = &mut self.script().always {
            *answer = answer.clone().with(name, value);
        }
        self
    }

    /// The next request that nobody has answered yet gets this instead.
    pub(crate) fn next(&self, answer: Answer) {
        self.script().next.push_back(answer);
    }

    /// From now on every request gets this.
    pub(crate) fn now(&self, answer: Answer) {
        self.script().always = Always::Same(answer);
    }

    /// From now on each request gets what the rule says.
    pub(crate) fn now_by(&self, rule: impl Fn(&Asked) -> Answer + Send + 'static) {
        self.script().always = Always::By(Box::new(rule));
    }

    /// How many requests have come.
    pub(crate) fn requests(&self) -> usize {
        self.asked().len()
    }

    /// How many answers found nobody to read them to their end.
    pub(crate) fn cut_off(&self) -> usize {
        self.shared.cut_off.load(Ordering::Relaxed)
    }

    /// The request that came as number `index`, from 0.
    pub(crate) fn request(&self, index: usize) -> Asked {
        self.asked()[index].clone()
    }

    /// The latest request.
    pub(crate) fn last(&self) -> Asked {
        self.asked().last().expect("the origin was asked").clone()
    }

    /// Waits until so many requests have come.
    pub(crate) async fn asked_for(&self, requests: usize) {
        let what = format!("{requests} requests at the origin");
        wait_until(&what, || self.requests() >= requests).await;
    }

    /// Ends every connection and refuses new ones.
    pub(crate) fn go_down(&mut self) {
        self.halt();
        // Somebody's connection may go out from this very port for a moment.
        let until = Instant::now() + PATIENCE;
        self.down = loop {
            match try_bound(self.address) {
                Ok(socket) => break Some(socket),
                Err(error) if Instant::now() > until => panic!("the port is lost: {error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        };
    }

    fn start(always: Always) -> Origin {
        let socket = bound(SocketAddr::from(([127, 0, 0, 1], 0)));
        socket.listen(1024).expect("a fresh socket can listen");
        let listener: std::net::TcpListener = socket.into();
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared {
            script: Mutex::new(Script {
                next: VecDeque::new(),
                always,
            }),
            asked: Mutex::default(),
            cut_off: AtomicUsize::new(0),
        });
        let (stop, stopped) = watch::channel(false);
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be built");
            runtime.block_on(serve(listener, serving, stopped));
        });
        Origin {
            address,
            shared,
            stop: Some(stop),
            thread: Some(thread),
            down: None,
        }
    }

    fn halt(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.shared
            .script
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.shared
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.halt();
    }
}

fn bound(address: SocketAddr) -> Socket {
    try_bound(address).expect("the address can be had")
}

fn try_bound(address: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

async fn serve(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) {
    let listener = TcpListener::from_std(listener).expect("the listener is non-blocking");
    for connection in 0.. {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => return,
        };
        let Ok((stream, _)) = stream else { return };
        tokio::spawn(converse(stream, connection, Arc::clone(&shared)));
    }
}

async fn converse(stream: TcpStream, connection: usize, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let mut wire = Wire::new(stream);
    while let Some(head) = wire.head().await {
        let mut words = head.line.split(' ').map(str::to_owned);
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return;
        };
        let length = head
            .get("content-length")
            .and_then(|length| length.parse().ok());
        let left = match head.get("transfer-encoding") {
            Some(_) => Left::Chunks,
            None => Left::Bytes(length.unwrap_or_default()),
        };
        let (body, true) = wire.rest(left).await else {
            return;
        };
        let is_head = method == "HEAD";
        let asked = Asked {
            method,
            target,
            head,
            body,
            trailers: std::mem::take(&mut wire.trailers),
            connection,
        };
        let answer = {
            let mut script = shared.script.lock().unwrap_or_else(PoisonError::into_inner);
            let next = script.next.pop_front();
            let answer = next.unwrap_or_else(|| match &script.always {
                Always::Same(answer) => answer.clone(),
                Always::By(rule) => rule(&asked),
            });
            shared
                .asked
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(asked);
            answer
        };
        match answer.play(&mut wire, is_head).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(_) => {
                shared.cut_off.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
    }
}
