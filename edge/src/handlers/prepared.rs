//! A plugin as one route has it for a handler or a middleware, and where an exchange's instance comes
//! from: one that has served others, or a new one, as soon as there is room.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::Store;

use super::component::{Compiled, Guest, Handling};
use super::drive::{Handler, Middleware};
use super::engine::ROOM;
use super::reach::Reach;
use super::spin::Servers;
use super::state::State;
use crate::clock::Clock;
use crate::config::Use;
use crate::filters::Capabilities;
use crate::wasm::pool::{self, Pool};
use crate::wasm::{Alive, Exceeded, Quota};

/// A route's handler. Cheap to clone.
#[derive(Clone)]
pub struct Prepared {
    pub(super) used: Arc<Use>,
    /// The path of the route.
    pub(super) path: Arc<str>,
    handling: Arc<Handling>,
    quota: Arc<Quota>,
    /// Where instances wait for their next exchange, if they serve more than one.
    pool: Option<Arc<Pool<Instance>>>,
}

/// A guest with its store.
pub(super) struct Instance {
    pub(super) store: Store<State>,
    pub(super) guest: Guest,
    /// The version that it is of.
    compiled: Arc<Compiled>,
    /// How many exchanges it has served.
    served: u32,
    /// Last, so that there is room for another when this is dropped.
    _alive: Alive,
}

impl Prepared {
    pub(super) fn new(
        path: &str,
        used: Use,
        handling: Arc<Handling>,
        quota: Arc<Quota>,
    ) -> Prepared {
        Prepared {
            used: Arc::new(used),
            path: path.into(),
            pool: (quota.reuse > 1).then(|| Pool::new(&quota)),
            quota,
            handling,
        }
    }

    /// The handler as one worker asks it: `capabilities` are that worker's.
    pub fn on_worker(&self, capabilities: Arc<Capabilities>, clock: Clock) -> Handler {
        Handler {
            reach: Arc::new(Reach {
                used: Arc::clone(&self.used),
                capabilities,
                servers: Servers::new(self.used.redis.clone(), self.used.redis_timeout()),
                clock,
                lines: Arc::clone(&self.handling.lines),
            }),
            prepared: self.clone(),
        }
    }

    /// The same as a middleware.
    pub fn as_middleware(&self, capabilities: Arc<Capabilities>, clock: Clock) -> Middleware {
        Middleware(self.on_worker(capabilities, clock))
    }

    /// A place among those that the plugin may have on this route; `None` when there was none in time.
    pub(super) async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        let quota = &self.quota;
        match quota.try_enter() {
            Some(place) => Some(place),
            None => tokio::time::timeout(quota.wait, quota.enter()).await.ok(),
        }
    }

    /// An instance for an exchange that has a place. Where the engine has no room for a new one, one
    /// that is idle makes it, whose ever that is, or the exchange waits for as long as the plugin's
    /// configuration says, counted from when it `began`.
    ///
    /// # Errors
    /// There was none in that time, or the guest failed while it started.
    pub(super) async fn take(
        &self,
        reach: &Arc<Reach>,
        began: Instant,
    ) -> wasmtime::Result<Box<Instance>> {
        while let Some(mut instance) = self.pool.as_ref().and_then(|pool| pool.take()) {
            if self.is_current(&instance) {
                instance.store.data_mut().begin(Arc::clone(reach));
                return Ok(instance);
            }
        }
        let quota = &self.quota;
        if quota.is_full() {
            // One that is idle elsewhere, since this exchange's place is not taken yet: in another
            // worker's shard that is locked.
            pool::evict_of(quota);
        }
        let made = pool::make_in(&ROOM, || self.instance(reach));
        let left = quota.wait.saturating_sub(began.elapsed());
        tokio::time::timeout(left, made)
            .await
            .unwrap_or_else(|_| Err(wasmtime::Error::new(Exceeded::Instances)))
            .map(Box::new)
    }

    /// Takes back an instance that has served well, for the next exchange or for good.
    pub(super) fn give_back(&self, mut instance: Box<Instance>) {
        instance.served += 1;
        if let Some(pool) = &self.pool
            && instance.served < self.quota.reuse
            && self.is_current(&instance)
        {
            instance.store.data_mut().next = None;
            pool.put(instance);
        }
    }

    async fn instance(&self, reach: &Arc<Reach>) -> wasmtime::Result<Instance> {
        let compiled = Arc::clone(&self.handling.loaded.load().compiled);
        let mut alive = Alive::count(&self.quota);
        let mut store = compiled.machine.store(State::new(Arc::clone(reach)));
        let guest = compiled.instantiate(&mut store).await;
        let guest = guest.inspect_err(|error| alive.failed(error))?;
        Ok(Instance {
            store,
            guest,
            compiled,
            served: 0,
            _alive: alive,
        })
    }

    /// Whether an instance is of the version for exchanges that begin now.
    fn is_current(&self, instance: &Instance) -> bool {
        Arc::ptr_eq(&instance.compiled, &self.handling.loaded.load().compiled)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::pin::Pin;
    use std::sync::Arc;

    use http::{HeaderValue, Request, Response};
    use http_body_util::BodyExt as _;

    use super::super::{Handler, Handlers};
    use crate::body::{Arriving, Body};
    use crate::clock::Clock;
    use crate::config::Source;
    use crate::egress::Egress;
    use crate::error::Failure;
    use crate::filters::{Capabilities, LocalLimits, Purge, PurgeOrder};
    use crate::keyvalue::KeyValue;
    use crate::telemetry::GuestMetrics;
    use crate::wasm::{FailureKind, pool};

    struct NoPurge;

    impl Purge for NoPurge {
        fn purge<'a>(
            &'a self,
            _: PurgeOrder,
        ) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + 'a>> {
            Box::pin(std::future::ready(Ok(String::new())))
        }
    }

    fn handler(settings: &str) -> Handler {
        let source: Source =
            toml::from_str(&format!("file = \"builtin:misfit\"\n{settings}")).unwrap();
        let sources = [("m".to_owned(), source)];
        let sources = sources.iter().map(|(name, source)| (name, source));
        let handlers = Handlers::load(sources, tidegate_plugins::WITH_FIXTURES).unwrap();
        let used = toml::from_str("name = \"m\"\ndeadline = \"20s\"").unwrap();
        let capabilities = Capabilities {
            limits: Arc::new(LocalLimits::new(1, || 0)),
            purge: Arc::new(NoPurge),
            keyvalue: KeyValue::in_memory(1, Clock::system()),
            egress: Arc::new(Egress::new(HeaderValue::from_static("1.1 test"))),
            metrics: GuestMetrics::default(),
            clock: Clock::system(),
        };
        let prepared = handlers
            .prepare(&toml::from_str("").unwrap(), &used)
            .unwrap();
        prepared.on_worker(Arc::new(capabilities), Clock::system())
    }

    async fn ask(handler: &Handler, path: &str) -> Result<Response<Arriving>, Failure> {
        let request = Request::get(path).header("host", "edge.test");
        handler.call(request.body(Body::Empty).unwrap()).await
    }

    async fn serve(handler: &Handler) {
        let response = ask(handler, "/").await.unwrap();
        response.into_body().collect().await.unwrap();
        let pool = handler.prepared.pool.as_ref().unwrap();
        loop {
            if let Some(idle) = pool.take() {
                pool.put(idle);
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_has_been_idle_for_a_minute_is_dropped() {
        let handler = handler("reuse = 10");
        serve(&handler).await;
        for _ in 0..=pool::LONGEST_IDLE {
            pool::sweep();
        }
        assert!(handler.prepared.pool.unwrap().take().is_none());
    }

    /// All room of the engine is taken, which is why this is no test beside others.
    #[tokio::test]
    async fn who_finds_the_engine_full_waits_for_room() {
        let idle = handler("instances = 1000000\nreuse = 10");
        serve(&idle).await;
        let greedy = handler("instances = 1000000\nwait = \"10ms\"");
        let patient = handler("wait = \"1h\"");
        let mut held = Vec::new();
        let failure = loop {
            match ask(&greedy, "/stall-after-head").await {
                Ok(response) => held.push(response),
                Err(failure) => break failure,
            }
            assert!(held.len() < 10_000, "there is no end");
        };
        let Failure::Handler { kind, .. } = failure else {
            panic!("{failure}");
        };
        assert_eq!(kind, FailureKind::Refused);
        // What was idle has made room as well; another test may have one.
        assert!(held.len() >= 1_999, "{}", held.len());
        assert!(idle.prepared.pool.as_ref().unwrap().take().is_none());
        let mut waiting = std::pin::pin!(ask(&patient, "/"));
        tokio::select! {
            biased;
            answer = &mut waiting => panic!("{:?}", answer.map(|_| ())),
            () = tokio::task::yield_now() => {}
        }
        held.pop();
        assert!(waiting.await.is_ok());
    }
}
