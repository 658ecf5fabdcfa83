//! The way to one origin: connections that are kept, and requests that are repeated only where
//! that is safe.
//!
//! The pool is our own on hyper's connections, because a safe retry must know whether a
//! connection was reused and how many bytes went each way; hyper-util's client tells neither.

mod destination;
mod framing;
mod idle;
mod lent;
mod replicas;
mod tunnel;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use idle::Idle;
use lent::Lent;
use tokio::net::TcpStream;
use wire::{Counted, Traffic};

pub use destination::{Answer, Answers, Destination};
pub use framing::UnknownCoding;
pub(crate) use replicas::strip as strip_lsn;
pub use replicas::{LSN, ToldLsn};
pub use tunnel::Tunnel;

use crate::body::{Arriving, Body};
use crate::config;
use crate::error::Failure;
use crate::trailers;

/// The head of a response may be this large.
const MAX_HEAD: usize = 64 << 10;

/// For how long a connection is taken for what it was left as, by a request that may be sent again: no
/// server gives one up, or says so, any sooner.
const BELIEVED: Duration = Duration::from_secs(1);

/// One origin, as one worker reaches it.
pub struct Upstream {
    name: String,
    authority: Authority,
    host: Option<HeaderValue>,
    fields: Vec<(HeaderName, HeaderValue)>,
    connect_timeout: Duration,
    timeout: Duration,
    tunnel_timeout: Duration,
    has_replicas: bool,
    idle: Mutex<Idle<Connection>>,
}

struct Connection {
    sender: SendRequest<Body>,
    traffic: Arc<Traffic>,
}

impl Upstream {
    /// The origin that `config` describes under `name`.
    ///
    /// # Errors
    /// What is wrong with the description.
    pub fn new(name: &str, config: &config::Origin) -> Result<Upstream, String> {
        let field = |(name, value): (&String, &config::Secret)| {
            let parsed = (
                HeaderName::try_from(name),
                HeaderValue::try_from(value.expose()),
            );
            let (Ok(field), Ok(mut content)) = parsed else {
                return Err(format!("headers: {name:?} or its value is not a field"));
            };
            content.set_sensitive(true);
            Ok((field, content))
        };
        Ok(Upstream {
            name: name.to_owned(),
            authority: config.authority()?,
            host: match &config.host {
                Some(host) => Some(HeaderValue::try_from(host).map_err(|error| error.to_string())?),
                None => None,
            },
            fields: config.headers.iter().map(field).collect::<Result<_, _>>()?,
            connect_timeout: config.connect_timeout,
            timeout: config.timeout,
            tunnel_timeout: config.tunnel_timeout,
            has_replicas: config.replicas,
            idle: Mutex::new(Idle::new(config.idle_connections)),
        })
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long it may be silent.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether it reads from replicas, and wants to know how far they must be.
    pub fn has_replicas(&self) -> bool {
        self.has_replicas
    }

    /// Sends a request in origin form and waits for the head of the response. `make` makes it, each
    /// time that it is needed: again only without a body.
    ///
    /// A connection that died while it was idle is replaced without a word: for any request that
    /// was not sent, and once for an idempotent one without a body that was (RFC 9110 §9.2.2).
    /// The origin sees a request at most twice.
    ///
    /// # Errors
    /// A [`Failure`] that names the origin.
    pub async fn send(
        self: &Arc<Self>,
        mut make: impl FnMut() -> Request<Body>,
    ) -> Result<Response<Arriving>, Failure> {
        let mut make = || {
            let mut request = make();
            self.set_fields(&mut request);
            request
        };
        let mut request = make();
        let is_repeatable = is_repeatable(&request);
        let mut was_sent = false;
        loop {
            // What was sent once is repeated over a connection that cannot have died of idleness.
            let reused = match was_sent {
                true => None,
                false => self.take_idle(is_repeatable),
            };
            let is_reused = reused.is_some();
            let Connection {
                mut sender,
                traffic,
            } = match reused {
                Some(connection) => connection,
                None => Box::pin(self.connect()).await?,
            };
            let before = traffic.now();
            let answer = sender.try_send_request(request);
            let error = match self.wait(answer, &traffic).await? {
                Ok(response) => return self.accept(response, Connection { sender, traffic }),
                Err(error) => error,
            };
            let mut error = error;
            let unsent = error.take_message();
            let error = error.into_error();
            was_sent = unsent.is_none();
            request = match unsent {
                Some(request) if is_reused => request,
                None if is_reused
                    && is_repeatable
                    && traffic.was_cut_before_answer(before, &error) =>
                {
                    make()
                }
                _ => return Err(self.broken(&error)),
            };
        }
    }

    /// Sends a request that offers other protocols (RFC 9110 §7.8), over a connection of its own:
    /// with a tunnel where the origin switches to one of them, with an ordinary response where it
    /// does not.
    ///
    /// # Errors
    /// A [`Failure`] that names the origin.
    pub async fn switch(
        self: &Arc<Self>,
        mut request: Request<Body>,
    ) -> Result<(Response<Arriving>, Option<Tunnel>), Failure> {
        self.set_fields(&mut request);
        let offered = request.headers().get(UPGRADE).cloned();
        let Connection {
            mut sender,
            traffic,
        } = self.connect().await?;
        let answer = sender.try_send_request(request);
        let mut response = match self.wait(answer, &traffic).await? {
            Ok(response) => response,
            Err(error) => return Err(self.broken(&error.into_error())),
        };
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let response = self.accept(response, Connection { sender, traffic })?;
            return Ok((response, None));
        }
        let chosen = response.headers().get(UPGRADE);
        if !tunnel::was_offered(chosen, offered.as_ref()) {
            return Err(self.wrong(format!("101 to {chosen:?}, which was not offered")));
        }
        replicas::take(&mut response);
        traffic.become_tunnel();
        let tunnel = Tunnel {
            origin: hyper::upgrade::on(&mut response),
            traffic,
            patience: self.tunnel_timeout,
        };
        Ok((response.map(Arriving::from), Some(tunnel)))
    }

    fn set_fields(&self, request: &mut Request<Body>) {
        let headers = request.headers_mut();
        if let Some(host) = &self.host {
            headers.insert(HOST, host.clone());
        }
        for (name, value) in &self.fields {
            headers.insert(name, value.clone());
        }
        trailers::prefer_head(headers);
    }

    /// Waits until the answer is there, as long as the request moves on.
    async fn wait<T>(
        &self,
        answer: impl Future<Output = T>,
        traffic: &Traffic,
    ) -> Result<T, Failure> {
        let mut answer = std::pin::pin!(answer);
        traffic.begin_wait();
        let mut patience = self.timeout;
        loop {
            if let Ok(answer) = tokio::time::timeout(patience, &mut answer).await {
                return Ok(answer);
            }
            // An upload under way is no silence. What comes in, interim responses or half a head,
            // is no answer.
            patience = self.timeout.saturating_sub(traffic.silence());
            if patience.is_zero() {
                return Err(Failure::Timeout {
                    origin: self.name.clone(),
                    seconds: self.timeout.as_secs(),
                });
            }
        }
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let refused = |reason: String| Failure::Connect {
            origin: self.name.clone(),
            reason,
        };
        let port = self.authority.port_u16().unwrap_or(80);
        let host = self.authority.host().trim_matches(['[', ']']);
        let stream = tokio::time::timeout(self.connect_timeout, TcpStream::connect((host, port)))
            .await
            .map_err(|_| refused(format!("no connection within {:?}", self.connect_timeout)))?
            .map_err(|error| refused(error.to_string()))?;
        stream
            .set_nodelay(true)
            .map_err(|error| refused(error.to_string()))?;
        let (io, traffic) = Counted::new(stream).map_err(|error| refused(error.to_string()))?;
        let (sender, connection) = http1::Builder::new()
            .max_header_size(MAX_HEAD)
            .allow_obsolete_multiline_headers_in_responses(true)
            .handshake(TokioIo::new(io))
            .await
            .map_err(|error| refused(error.to_string()))?;
        tokio::spawn(async move {
            // What goes wrong here is also told to whoever waits for the response.
            let _ = connection.with_upgrades().await;
        });
        Ok(Connection { sender, traffic })
    }

    /// A connection that was used before.
    fn take_idle(&self, is_repeatable: bool) -> Option<Connection> {
        loop {
            let (connection, waited) = self.idle().take(Instant::now())?;
            // What lies in the socket of an idle connection is an end, or an answer to nothing.
            let is_believed = is_repeatable && waited < BELIEVED;
            if connection.sender.is_ready() && (is_believed || connection.traffic.is_quiet()) {
                return Some(connection);
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks what hyper lets through, and keeps the connection unless it cannot be trusted.
    fn accept(
        self: &Arc<Self>,
        mut response: Response<Incoming>,
        connection: Connection,
    ) -> Result<Response<Arriving>, Failure> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(self.wrong("101 without an upgrade being asked for".to_owned()));
        }
        replicas::take(&mut response);
        let headers = response.headers_mut();
        framing::unite_lengths(headers).map_err(|reason| self.wrong(reason))?;
        let unknown = framing::check_codings(headers).map_err(|reason| self.wrong(reason))?;
        // Whoever sends both may mean either (RFC 9112 §6.3).
        let framed_twice =
            headers.contains_key(TRANSFER_ENCODING) && headers.remove(CONTENT_LENGTH).is_some();
        if let Some(unknown) = unknown {
            response.extensions_mut().insert(unknown);
        } else if !framed_twice {
            let lent = Lent::new(Arc::clone(self), connection);
            return Ok(match response.body().is_end_stream() {
                true => response.map(Arriving::from),
                false => response.map(|body| Arriving::over(body, lent)),
            });
        }
        Ok(response.map(Arriving::from))
    }

    fn wrong(&self, reason: String) -> Failure {
        Failure::Protocol {
            origin: self.name.clone(),
            reason,
        }
    }

    fn broken(&self, error: &hyper::Error) -> Failure {
        let origin = self.name.clone();
        let reason = match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        if error.is_parse() {
            Failure::Protocol { origin, reason }
        } else {
            Failure::Terminated { origin, reason }
        }
    }
}

/// Whether a request may be sent twice (RFC 9110 §9.2.2).
fn is_repeatable(request: &Request<Body>) -> bool {
    request.method().is_idempotent() && matches!(request.body(), Body::Empty)
}

/// A request, and then copies of it: with its body the first time, without any after that.
pub fn copies(mut request: Request<Body>) -> impl FnMut() -> Request<Body> {
    move || {
        let mut copy = Request::new(std::mem::take(request.body_mut()));
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.headers_mut() = request.headers().clone();
        *copy.extensions_mut() = request.extensions().clone();
        copy
    }
}
