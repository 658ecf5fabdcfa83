//! Counting in Redis, for all edges of a region.

use std::fmt::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::Script;

use super::script::{self, Counted};
use super::view::Step;
use super::views::Place;
use super::{Counting, Identity, Limits, LocalLimits, NotCounted, Take, Window, identity};
use crate::redis::{Redis, Unavailable};

/// How long what was let through without asking may wait for company before it is settled.
const SETTLE_AFTER: Duration = Duration::from_millis(10);
/// How long what Redis has said of a key may be gone by without asking again.
const OLDEST: Duration = Duration::from_millis(100);

/// Counters in Redis, and in this process while Redis does not answer: each edge then allows the
/// whole limit by itself. Cheap to clone.
#[derive(Clone)]
pub struct RedisLimits {
    redis: Arc<Redis>,
    local: Arc<LocalLimits>,
    script: Arc<Script>,
    prefix: Arc<str>,
    now: Option<Arc<dyn Fn() -> u64 + Send + Sync>>,
    settle_after: Duration,
}

impl RedisLimits {
    /// Counts in `redis`, and in `local` where that fails.
    pub fn new(redis: Redis, local: Arc<LocalLimits>) -> RedisLimits {
        RedisLimits {
            redis: Arc::new(redis),
            local,
            script: Arc::new(script::take()),
            prefix: "tidegate".into(),
            now: None,
            settle_after: SETTLE_AFTER,
        }
    }

    /// Begins every key with `prefix` instead of `tidegate`.
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> RedisLimits {
        self.prefix = prefix.into();
        self
    }

    /// Takes the time, in milliseconds, from `now` instead of from Redis: for tests, which move it.
    #[must_use]
    pub fn with_clock(mut self, now: impl Fn() -> u64 + Send + Sync + 'static) -> RedisLimits {
        self.now = Some(Arc::new(now));
        self
    }

    async fn exactly(&self, take: &Take<'_>) -> Counting {
        let counter = identity(take.name, take.key);
        match self.ask(&counter, take.windows, &[], take.cost).await {
            Ok(counted) => Ok(counted?.verdict),
            Err(unavailable) => {
                tracing::debug!(
                    limit = take.name,
                    reason = unavailable.name(),
                    "counted locally"
                );
                self.local.take_now(take)
            }
        }
    }

    async fn asynchronously(&self, take: &Take<'_>) -> Counting {
        let counter = identity(take.name, take.key);
        let place = Place::of(take, &counter);
        let (step, settles) = self.local.views().with(place, take.windows, |view| {
            let step = view.decide(take.cost, self.local.micros(), Instant::now(), OLDEST);
            (step, view.begin_settling())
        });
        if settles {
            tokio::spawn(self.clone().settle(place, counter, Arc::from(take.windows)));
        }
        if let Step::Decided(verdict) = step {
            return Ok(verdict);
        }
        let asked = self.ask(&counter, take.windows, &[], take.cost).await;
        self.local
            .views()
            .with(place, take.windows, |view| match asked {
                Ok(counted) => {
                    let counted = counted?;
                    view.adopt(&counted, self.local.micros(), Instant::now());
                    Ok(counted.verdict)
                }
                Err(unavailable) => {
                    tracing::debug!(
                        limit = take.name,
                        reason = unavailable.name(),
                        "counted locally"
                    );
                    Ok(view.decide_alone(take.cost, self.local.micros()))
                }
            })
    }

    /// Tells Redis what was let through without asking, until nothing is owed.
    async fn settle(self, place: Place, counter: Identity, windows: Arc<[Window]>) {
        let views = self.local.views();
        loop {
            tokio::time::sleep(self.settle_after).await;
            let owed = views.with(place, &windows, |view| view.send(self.local.micros()));
            let asked = self.ask(&counter, &windows, &owed, 0).await;
            let goes_on = views.with(place, &windows, |view| match asked {
                Ok(Ok(counted)) => view.settled(&counted, self.local.micros(), Instant::now()),
                Ok(Err(_)) => {
                    view.not_settled(false);
                    false
                }
                Err(unavailable) => {
                    view.not_settled(!matches!(unavailable, Unavailable::Open));
                    false
                }
            });
            if !goes_on {
                return;
            }
        }
    }

    /// The one call. Nothing is owed where `owed` is empty.
    async fn ask(
        &self,
        counter: &Identity,
        windows: &[Window],
        owed: &[u64],
        cost: u32,
    ) -> Result<Result<Counted, NotCounted>, Unavailable> {
        let now = self.now.as_ref().map_or(0, |now| now());
        let now = now.saturating_mul(1_000);
        let call = script::call(&self.script, self.key(counter), windows, owed, cost, now);
        let answer: Vec<i64> = self.redis.script(&call).await?;
        script::read(&answer, windows.len()).ok_or_else(|| {
            let reason = "a limit was answered with something else";
            tracing::warn!("redis: {reason}; counted locally");
            Unavailable::Server((redis::ErrorKind::UnexpectedReturnType, reason).into())
        })
    }

    fn key(&self, counter: &Identity) -> String {
        let mut text = format!("{}:limit:", self.prefix);
        for byte in counter {
            write!(text, "{byte:02x}").expect("writing to a string does not fail");
        }
        text
    }
}

impl Limits for RedisLimits {
    fn take<'a>(&'a self, take: Take<'a>) -> Pin<Box<dyn Future<Output = Counting> + Send + 'a>> {
        Box::pin(async move {
            take.check()?;
            if take.is_asynchronous {
                self.asynchronously(&take).await
            } else {
                self.exactly(&take).await
            }
        })
    }
}
