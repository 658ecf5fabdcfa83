//! One exchange with a guest: admitted, driven by a task of its own, and ended.

use std::fmt::Debug;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use http::header::{CONTENT_LENGTH, HOST};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use wasmtime_wasi_http::p2::bindings::http::types::Scheme as ClassicScheme;
use wasmtime_wasi_http::{WasiBody, WasiHttpView, p3};

use super::component::Guest;
use super::course::{Answer, Course, Head, Parting, Question};
use super::next::Next;
use super::prepared::{Instance, Prepared};
use super::reach::Reach;
use super::told;
use crate::body::{Arriving, Body};
use crate::config::OnFailure;
use crate::error::Failure;
use crate::exchange::FORWARDED_PROTO;
use crate::upstream::{self, Answers};
use crate::wasm::{self, Exceeded, FailureKind, Line};

/// How long a guest goes on when whoever asked has left.
const AFTER_LEAVING: Duration = Duration::from_secs(1);

/// What a guest is asked, and what comes behind it.
struct Asked {
    request: Request<WasiBody>,
    next: Option<Arc<dyn Next>>,
    began: Instant,
}

/// A middleware of a route, as one worker asks it.
pub struct Middleware(pub(super) Handler);

impl Middleware {
    /// Has the guest answer a request in absolute form, with `next` behind it.
    ///
    /// # Errors
    /// [`Failure::Plugin`]: there was no room for it in time, or the guest ended without a head,
    /// or took too long.
    pub async fn answer(
        &self,
        request: Request<Body>,
        next: Arc<dyn Next>,
    ) -> Result<Response<Arriving>, Failure> {
        let answer = self.0.exchange(request, Some(next)).await;
        answer.map_err(into_plugin)
    }

    /// How long it may be silent.
    pub fn timeout(&self) -> Duration {
        Answers::timeout(&self.0)
    }

    /// Whether requests go on without it where it fails.
    pub fn is_fail_open(&self) -> bool {
        self.0.prepared.used.on_failure == OnFailure::Open
    }

    /// Counts an answer that is no response.
    pub fn wrong(&self, reason: &str) -> Failure {
        into_plugin(Answers::wrong(&self.0, reason))
    }
}

fn into_plugin(failure: Failure) -> Failure {
    match failure {
        Failure::Handler { plugin, kind } => {
            let kind = kind.name();
            Failure::Plugin { plugin, kind }
        }
        other => other,
    }
}

/// A route's handler, as one worker asks it. Cheap to clone.
#[derive(Clone)]
pub struct Handler {
    pub(super) prepared: Prepared,
    pub(super) reach: Arc<Reach>,
}

impl Answers for Handler {
    fn name(&self) -> &str {
        &self.prepared.used.name
    }

    fn timeout(&self) -> Duration {
        self.prepared.used.handler_timeout()
    }

    fn answer(&self, request: Request<Body>) -> upstream::Answer<'_> {
        Box::pin(self.call(request))
    }

    fn wrong(&self, reason: &str) -> Failure {
        self.count(FailureKind::Answer, reason);
        self.failure(FailureKind::Answer)
    }
}

impl Handler {
    /// Has the guest answer a request in origin form. The response comes with its head; the body
    /// follows while the guest runs on, in a task of its own.
    ///
    /// # Errors
    /// [`Failure::Handler`]: there was no room for it in time, or the guest ended without a head,
    /// or took too long.
    pub async fn call(&self, request: Request<Body>) -> Result<Response<Arriving>, Failure> {
        self.exchange(into_absolute(request), None).await
    }

    /// Has the guest answer a request in absolute form, with `next` behind it.
    async fn exchange(
        &self,
        request: Request<Body>,
        next: Option<Arc<dyn Next>>,
    ) -> Result<Response<Arriving>, Failure> {
        let began = Instant::now();
        let Some(place) = self.prepared.enter().await else {
            self.count(FailureKind::Refused, "as many instances as may be are busy");
            return Err(self.failure(FailureKind::Refused));
        };
        let (course, head) = Course::begin(&self.prepared.used);
        let (parting, parted) = oneshot::channel();
        let (mut parts, body) = request.into_parts();
        told::tell(&mut parts, &self.prepared.path);
        let (request, moved) = watched(Request::from_parts(parts, body));
        let asked = Asked {
            request,
            next,
            began,
        };
        let drive = self
            .clone()
            .drive(asked, Arc::clone(&course), parted, place);
        tokio::spawn(drive);
        match self.wait(head, &moved).await {
            Some(Ok(response)) => {
                Ok(response.map(|body| Arriving::guest(Answer::new(body, course, parting))))
            }
            Some(Err(kind)) => Err(self.failure(kind)),
            None => {
                if course.fail(FailureKind::Deadline) {
                    self.count(FailureKind::Deadline, "silent for too long");
                }
                let _ = parting.send(Parting::GaveUp);
                Err(self.failure(FailureKind::Deadline))
            }
        }
    }

    /// Waits for the head, as long as the request moves on.
    async fn wait(&self, head: oneshot::Receiver<Head>, moved: &Mutex<Instant>) -> Option<Head> {
        let mut head = pin!(head);
        let mut patience = self.timeout();
        loop {
            if let Ok(head) = tokio::time::timeout(patience, &mut head).await {
                // A driver that vanished has panicked.
                return Some(head.unwrap_or(Err(FailureKind::Trap)));
            }
            let moved = *moved.lock().unwrap_or_else(PoisonError::into_inner);
            patience = self.timeout().saturating_sub(moved.elapsed());
            if patience.is_zero() {
                return None;
            }
        }
    }

    /// Runs the guest until it has served the request, failed, or is not wanted any more.
    async fn drive(
        self,
        asked: Asked,
        course: Arc<Course>,
        parted: oneshot::Receiver<Parting>,
        place: OwnedSemaphorePermit,
    ) {
        let used = &self.prepared.used;
        let mut instance = None;
        let ended = {
            let served = self.serve(&mut instance, asked, &course);
            let served = within(used.handler_deadline(), served);
            tokio::select! {
                // What has ended just in time has ended.
                biased;
                served = served => Some(served),
                () = unwanted(parted) => None,
                () = tokio::time::sleep(used.handler_lifetime()) => {
                    Some(Err(wasmtime::Error::new(Exceeded::Deadline)))
                }
            }
        };
        match ended {
            Some(Ok(())) => {
                if let Some(instance) = instance.take() {
                    self.prepared.give_back(instance);
                }
            }
            Some(Err(error)) => {
                let kind = FailureKind::of(&error);
                if course.fail(kind) {
                    self.count(kind, &error.root_cause().to_string());
                }
            }
            None => {
                course.fail(FailureKind::Deadline);
            }
        }
        // Whoever waits for the place finds room for an instance, or this one.
        drop(instance);
        drop(place);
    }

    /// Has an instance serve the request, to the end of all that it does for it.
    async fn serve(
        &self,
        slot: &mut Option<Box<Instance>>,
        asked: Asked,
        course: &Arc<Course>,
    ) -> wasmtime::Result<()> {
        let Asked {
            request,
            next,
            began,
        } = asked;
        let instance = slot.insert(self.prepared.take(&self.reach, began).await?);
        let Instance { store, guest, .. } = &mut **instance;
        store.data_mut().next = next;
        store.set_epoch_deadline(1);
        match guest {
            Guest::Current(service) => {
                let hooks = store.data_mut().http().hooks;
                let (request, sent) = p3::Request::from_http(hooks, request);
                let served = store.run_concurrent(async |accessor| {
                    let response = match service.handle(accessor, request).await? {
                        Ok(response) => response,
                        Err(code) => return Err(answered_with(&code)),
                    };
                    course.answer(accessor.with(|store| response.into_http(store, sent))?);
                    // The body, and whatever the guest does behind it.
                    poll_fn(|context| accessor.poll_no_interesting_tasks(context)).await;
                    Ok(())
                });
                served.await?
            }
            Guest::Classic(proxy) => {
                let scheme = match request.uri().scheme_str() {
                    Some("https") => ClassicScheme::Https,
                    _ => ClassicScheme::Http,
                };
                let mut http = store.data_mut().http();
                let request = http.new_incoming_request(scheme, request)?;
                let answers = Arc::clone(course);
                let (refuse, refused) = std::sync::mpsc::channel();
                let answer =
                    http.new_response_outparam_from_callback(move |answer| match answer {
                        Ok(response) => answers.answer(response),
                        Err(code) => drop(refuse.send(code)),
                    })?;
                proxy
                    .wasi_http_incoming_handler()
                    .call_handle(store, request, answer)
                    .await?;
                match refused.try_recv() {
                    Ok(code) => Err(answered_with(&code)),
                    Err(_) if course.has_answered() => Ok(()),
                    Err(_) => Err(wasmtime::Error::new(Exceeded::Answer)),
                }
            }
        }
    }

    fn failure(&self, kind: FailureKind) -> Failure {
        Failure::Handler {
            plugin: self.prepared.used.name.clone(),
            kind,
        }
    }

    fn count(&self, kind: FailureKind, reason: &str) {
        let plugin = &self.prepared.used.name;
        wasm::count(plugin, kind);
        match self.reach.lines.admit() {
            Line::Written => {
                // The guest may have said it.
                let reason = wasm::words(reason);
                tracing::warn!(plugin, kind = kind.name(), reason, "handler failed");
            }
            Line::FirstLeftOut => tracing::warn!(plugin, "handler fails often: lines are left out"),
            Line::LeftOut => {}
        }
    }
}

/// A guest that answered with an error, which is for the log.
fn answered_with(code: &impl Debug) -> wasmtime::Error {
    wasmtime::format_err!("it answered with {code:?}").context(Exceeded::Answer)
}

/// The request as a guest sees it: by the client's scheme and authority.
fn into_absolute(request: Request<Body>) -> Request<Body> {
    let (mut head, body) = request.into_parts();
    let is_https = head
        .headers
        .get(FORWARDED_PROTO)
        .is_some_and(|proto| proto == "https");
    let scheme = if is_https {
        Scheme::HTTPS
    } else {
        Scheme::HTTP
    };
    let host = head.headers.get(HOST).map(HeaderValue::as_bytes);
    let authority = host.and_then(|host| Authority::try_from(host).ok());
    let mut uri = std::mem::take(&mut head.uri).into_parts();
    if let Some(authority) = authority {
        uri.scheme = Some(scheme);
        uri.authority = Some(authority);
    }
    // That of `OPTIONS *` is an empty one in a URL (RFC 9112 §3.2.4), for which guests have "/".
    if uri.path_and_query.as_ref().is_some_and(|path| path == "*") {
        uri.path_and_query = Some(PathAndQuery::from_static("/"));
    }
    if let Ok(uri) = Uri::from_parts(uri) {
        head.uri = uri;
    }
    Request::from_parts(head, body)
}

/// The request with its body's length told, and when something of the body has last moved.
fn watched(request: Request<Body>) -> (Request<WasiBody>, Arc<Mutex<Instant>>) {
    let (mut head, body) = request.into_parts();
    if let Some(length) = body.size_hint().exact().filter(|length| *length > 0) {
        head.headers
            .insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    let (question, moved) = Question::new(body);
    (Request::from_parts(head, question.boxed_unsync()), moved)
}

/// Waits until the guest is not wanted any more.
async fn unwanted(parted: oneshot::Receiver<Parting>) {
    match parted.await {
        // It may have more to do, for nobody.
        Ok(Parting::Served) => std::future::pending().await,
        Ok(Parting::GaveUp) => {}
        Err(_) => tokio::time::sleep(AFTER_LEAVING).await,
    }
}

/// Lets a guest run for so long; its waiting does not count.
///
/// # Errors
/// What the guest failed with, or that it has run for longer.
async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = wasmtime::Result<T>>,
) -> wasmtime::Result<T> {
    let mut work = pin!(work);
    let mut spent = Duration::ZERO;
    poll_fn(|context| {
        let began = Instant::now();
        let polled = work.as_mut().poll(context);
        spent += began.elapsed();
        match polled {
            Poll::Pending if spent > deadline => {
                Poll::Ready(Err(wasmtime::Error::new(Exceeded::Deadline)))
            }
            polled => polled,
        }
    })
    .await
}
