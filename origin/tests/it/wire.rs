//! A wire to a server, on which a connection can fall silent: nothing of it goes through any more, in neither direction,
//! and it stays open. So it is where a machine is gone without a word.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Wire {
    url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Each silences the next connection that says it, once.
    words: Mutex<Vec<&'static str>>,
    /// New connections hear nothing.
    is_down: AtomicBool,
    caught: watch::Sender<usize>,
}

impl Wire {
    /// A wire to the server of a URL.
    pub(crate) async fn to(server: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let here = listener.local_addr().unwrap().to_string();
        let there = server.split(['@', '/']).nth(3).unwrap().to_owned();
        let url = server.replace(&there, &here);
        let state = Arc::new(State::default());
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, there.clone(), shared.clone()));
            }
        });
        Self { url, state }
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// For each of the words the next connection that says it falls silent.
    pub(crate) fn catch(&self, words: impl IntoIterator<Item = &'static str>) {
        self.state.words.lock().unwrap().extend(words);
    }

    /// Whether new connections hear anything.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.state.is_down.store(is_down, Ordering::Release);
    }

    /// Waits until so many connections have fallen silent.
    pub(crate) async fn caught(&self, count: usize) {
        let mut caught = self.state.caught.subscribe();
        let waiting = caught.wait_for(|caught| *caught >= count);
        assert!(
            timeout(PATIENCE, waiting).await.is_ok(),
            "not said: {:?}",
            self.state.words.lock().unwrap()
        );
    }
}

impl State {
    /// Whether what has been said silences the connection.
    fn silences(&self, said: &[u8]) -> bool {
        let mut words = self.words.lock().unwrap();
        let says = |word: &&str| said.windows(word.len()).any(|part| part == word.as_bytes());
        let Some(place) = words.iter().position(says) else {
            return false;
        };
        words.remove(place);
        self.caught.send_modify(|caught| *caught += 1);
        true
    }
}

async fn carry(mut client: TcpStream, there: String, state: Arc<State>) {
    if state.is_down.load(Ordering::Acquire) {
        std::future::pending::<()>().await;
    }
    let Ok(mut server) = TcpStream::connect(&there).await else {
        return;
    };
    let (mut asked, mut answered) = ([0; 8192], [0; 8192]);
    // A word may come in two parts.
    let mut said = Vec::new();
    loop {
        tokio::select! {
            read = client.read(&mut asked) => match read {
                Ok(length @ 1..) => {
                    said.extend_from_slice(&asked[..length]);
                    if state.silences(&said) {
                        std::future::pending::<()>().await;
                    }
                    said.drain(..said.len().saturating_sub(64));
                    if server.write_all(&asked[..length]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
            read = server.read(&mut answered) => match read {
                Ok(length @ 1..) => {
                    if client.write_all(&answered[..length]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}
