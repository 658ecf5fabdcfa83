//! What the resources on Redis share: the connection and the stream of events, or the answer that there is none.

use std::sync::Arc;

use axum::extract::FromRef;
use redis::RedisError;
use time::Duration;

use crate::{
    activity::stream::Stream, config::Activity, http::error::Problem, observe::metrics::Metrics,
    postgres::replicas::Servers, redis::client::Redis,
};

/// Redis, where it is configured.
pub(crate) struct OnRedis {
    kept: Option<(Arc<Redis>, Arc<Stream>)>,
    retention: Duration,
    metrics: Arc<Metrics>,
}

impl OnRedis {
    /// Touches no network.
    ///
    /// # Errors
    /// When the URL is none of Redis.
    pub(crate) fn new(settings: &Activity, metrics: Arc<Metrics>) -> Result<Self, RedisError> {
        let kept = match &settings.redis_url {
            None => None,
            Some(url) => {
                let redis = Arc::new(Redis::new(url, settings.redis_deadline)?);
                let (limit, memory) = (settings.events_limit, settings.events_memory);
                let stream = Arc::new(Stream::new(redis.clone(), limit, memory));
                Some((redis, stream))
            }
        };
        Ok(Self {
            kept,
            retention: Duration::days(settings.events_retention_days.into()),
            metrics,
        })
    }

    /// Without Redis.
    pub(crate) fn none(metrics: Arc<Metrics>) -> Self {
        Self {
            kept: None,
            retention: Duration::ZERO,
            metrics,
        }
    }

    pub(crate) fn redis(&self) -> Result<&Arc<Redis>, Problem> {
        self.kept.as_ref().map(|(redis, _)| redis).ok_or_else(away)
    }

    pub(crate) fn stream(&self) -> Result<&Arc<Stream>, Problem> {
        self.kept
            .as_ref()
            .map(|(_, stream)| stream)
            .ok_or_else(away)
    }

    /// How long events are kept.
    pub(crate) fn retention(&self) -> Duration {
        self.retention
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

fn away() -> Problem {
    Problem::later(
        "urn:tidegate:redis-unavailable",
        "Redis is not available",
        "the origin has no redis: REDIS_URL is not set",
    )
}

impl FromRef<Servers> for Arc<OnRedis> {
    fn from_ref(servers: &Servers) -> Self {
        servers.on_redis().clone()
    }
}
