//! What an exchange holds while it has a filter's instance to itself.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::Capabilities;
use super::chain::{Instance, Step};
use super::engine::ROOM;
use crate::wasm::{Exceeded, is_exhausted, pool};

/// An instance in an exchange's hands. The place that it takes is free when it is dropped or
/// [given back](Step::give_back).
pub(super) struct Held {
    pub(super) instance: Box<Instance>,
    place: OwnedSemaphorePermit,
}

impl Step {
    /// An instance for an exchange: one that has served others, or a new one, which may run for
    /// `slices` ticks while it starts. Where there is none, waits as long as the plugin's
    /// configuration says.
    ///
    /// # Errors
    /// There was none in that time, or the guest failed while it started.
    pub(super) async fn take(
        &self,
        capabilities: &Arc<Capabilities>,
        slices: u64,
    ) -> wasmtime::Result<Held> {
        let place = match self.quota.try_enter() {
            Some(place) => match self.instance_for(capabilities, slices).await {
                Ok(instance) => return Ok(Held { instance, place }),
                Err(error) if !is_exhausted(&error) => return Err(error),
                Err(_) => Some(place),
            },
            None => None,
        };
        let taken = async {
            let place = match place {
                Some(place) => place,
                None => self.quota.enter().await,
            };
            let make = || self.instance_for(capabilities, slices);
            let instance = pool::make_in(&ROOM, make).await?;
            Ok(Held { instance, place })
        };
        tokio::time::timeout(self.quota.wait, taken)
            .await
            .unwrap_or_else(|_| Err(wasmtime::Error::new(Exceeded::Instances)))
    }

    /// Takes an instance back after the exchange's last hook, for the next exchange or for good.
    pub(super) fn give_back(&self, held: Held) {
        let Held {
            mut instance,
            place,
        } = held;
        instance.served += 1;
        match &self.pool {
            Some(pool) if instance.served < self.quota.reuse => {
                instance.store.data_mut().rest();
                pool.put(instance);
            }
            _ => drop(instance),
        }
        // Whoever waits for the place finds the instance.
        drop(place);
    }

    /// An instance for an exchange that has a place.
    async fn instance_for(
        &self,
        capabilities: &Arc<Capabilities>,
        slices: u64,
    ) -> wasmtime::Result<Box<Instance>> {
        if let Some(mut instance) = self.pool.as_ref().and_then(|pool| pool.take()) {
            instance.store.data_mut().assign(Arc::clone(capabilities));
            return Ok(instance);
        }
        if self.quota.is_full() {
            // One that is idle elsewhere, since this exchange's place is not taken yet: in another
            // worker's shard that is locked, or of the version before a reload.
            pool::evict_of(&self.quota);
        }
        let made = self.instance(Some(Arc::clone(capabilities)), slices).await;
        made.map(Box::new)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::net::Ipv4Addr;
    use std::pin::Pin;
    use std::sync::Arc;

    use super::super::{
        Capabilities, Chain, Filters, Flow, LocalLimits, Plugins, Purge, PurgeOrder, Source,
        Subject,
    };
    use crate::clock::Clock;
    use crate::egress::Egress;
    use crate::keyvalue::KeyValue;
    use crate::telemetry::GuestMetrics;
    use crate::wasm::{FailureKind, pool};
    use http::HeaderValue;

    struct NoPurge;

    impl Purge for NoPurge {
        fn purge<'a>(
            &'a self,
            _: PurgeOrder,
        ) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + 'a>> {
            Box::pin(std::future::ready(Ok(String::new())))
        }
    }

    fn capabilities() -> Arc<Capabilities> {
        Arc::new(Capabilities {
            limits: Arc::new(LocalLimits::new(1, || 0)),
            purge: Arc::new(NoPurge),
            keyvalue: KeyValue::in_memory(1, Clock::system()),
            egress: Arc::new(Egress::new(HeaderValue::from_static("1.1 test"))),
            metrics: GuestMetrics::default(),
            clock: Clock::system(),
        })
    }

    fn chain(settings: &str) -> Chain {
        let source: Source =
            toml::from_str(&format!("file = \"builtin:misbehaving\"\n{settings}")).unwrap();
        let line = "name = \"m\"\ngrants = [\"clock\", \"log\"]\ndeadline = \"5s\"";
        let sources = [("m".to_owned(), source)].into();
        let plugins = Plugins::load(&sources, tidegate_plugins::WITH_FIXTURES).unwrap();
        plugins.chain(&[toml::from_str(line).unwrap()]).unwrap()
    }

    async fn begin(chain: &Chain, capabilities: &Arc<Capabilities>) -> (Filters, Flow) {
        let mut subject = Subject {
            client: Ipv4Addr::LOCALHOST.into(),
            ..Subject::default()
        };
        let mut filters = chain.begin(capabilities);
        let flow = filters.on_request(&mut subject).await;
        (filters, flow)
    }

    #[tokio::test]
    async fn what_has_been_idle_for_a_minute_is_dropped() {
        let capabilities = capabilities();
        let chain = chain("reuse = 10\nwait = \"1h\"");
        let version = chain.route().version.load();
        let pool = version.steps[0].pool.as_ref().unwrap();
        drop(begin(&chain, &capabilities).await);
        let idle = pool.take().expect("it is idle");
        pool.put(idle);
        for _ in 0..=pool::LONGEST_IDLE {
            pool::sweep();
        }
        assert!(pool.take().is_none());
    }

    /// All room of the engine is taken, which is why this is no test beside others.
    #[tokio::test]
    async fn who_finds_the_engine_full_waits_for_room() {
        let capabilities = capabilities();
        let idle = chain("instances = 1000000\nreuse = 10");
        drop(begin(&idle, &capabilities).await);
        // What its exchanges give back is kept, and makes room all the same.
        let greedy = chain("instances = 1000000\nreuse = 10\nwait = \"10ms\"");
        let patient = chain("wait = \"1h\"");
        let mut held = Vec::new();
        let failure = loop {
            let (filters, flow) = begin(&greedy, &capabilities).await;
            match flow {
                Flow::Continue => held.push(filters),
                Flow::Failed(failure) => break failure,
                Flow::Respond(reply) => panic!("{reply:?}"),
            }
            assert!(held.len() < 10_000, "there is no end");
        };
        assert_eq!(failure.kind, FailureKind::Refused);
        // What was idle has made room as well; other tests may have a few.
        assert!(held.len() > 3_900, "{}", held.len());
        let mut waiting = std::pin::pin!(begin(&patient, &capabilities));
        tokio::select! {
            biased;
            (_, flow) = &mut waiting => panic!("{flow:?}"),
            () = tokio::task::yield_now() => {}
        }
        held.pop();
        let (_, flow) = waiting.await;
        assert!(matches!(flow, Flow::Continue), "{flow:?}");
    }
}
