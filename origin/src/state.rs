//! What requests and the work behind them share: the servers, and what is known of them. Each room takes what it needs.

use std::{sync::Arc, time::Duration};

use axum::extract::FromRef;
use sqlx::PgPool;

use crate::{
    clock::Clock,
    http::jwt,
    learning::{courses::search::Notes, passwords::Hashing},
    observe::{Watched, metrics::Metrics},
    postgres::{held::Background, primary::Primary, replica::Replica},
    redis::on_redis::OnRedis,
};

/// The servers that the origin stands on. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Servers {
    primary: Primary,
    /// The primary, for what no request waits for.
    background: Background,
    replica: Option<Arc<Replica>>,
    on_redis: Arc<OnRedis>,
    metrics: Arc<Metrics>,
    clock: Clock,
    notes: Notes,
    jwt_key: Option<jwt::Key>,
    request_key: [u8; 32],
    hashing: Hashing,
    watched: Arc<Watched>,
}

impl Servers {
    /// A primary without a replica, and without Redis.
    pub(crate) fn new(
        primary: Primary,
        background: Background,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Self {
        Self {
            primary,
            background,
            replica: None,
            on_redis: Arc::new(OnRedis::none(metrics.clone())),
            metrics,
            clock,
            notes: Notes::default(),
            jwt_key: None,
            request_key: [0; 32],
            hashing: Hashing::default(),
            watched: Arc::default(),
        }
    }

    /// The same with a key that tokens of users are signed with, and one that is nobody else's.
    pub(crate) fn with_secrets(self, jwt_secret: Option<&str>, service_token: &str) -> Self {
        let context = "tidegate origin idempotency request";
        Self {
            jwt_key: jwt_secret.map(jwt::Key::new),
            request_key: blake3::derive_key(context, service_token.as_bytes()),
            ..self
        }
    }

    /// The same with what lives on Redis.
    pub(crate) fn with_redis(self, on_redis: OnRedis) -> Self {
        Self {
            on_redis: Arc::new(on_redis),
            ..self
        }
    }

    /// The same with a replica, which need not be there yet, and is read once the primary is [`identify`](Self::identify)d.
    pub(crate) fn with_replica(self, pool: PgPool, deadline: Duration) -> Self {
        Self {
            replica: Some(Arc::new(Replica::new(pool, deadline))),
            ..self
        }
    }

    /// Asks the primary which cluster it is, where there is a replica to be told from others.
    ///
    /// # Errors
    /// When it does not say.
    pub(crate) async fn identify(&self) -> Result<(), sqlx::Error> {
        match &self.replica {
            Some(replica) => replica.identify(&self.background).await,
            None => Ok(()),
        }
    }

    pub(crate) fn primary(&self) -> &Primary {
        &self.primary
    }

    pub(crate) fn background(&self) -> &Background {
        &self.background
    }

    pub(crate) fn replica(&self) -> Option<&Arc<Replica>> {
        self.replica.as_ref()
    }

    pub(crate) fn on_redis(&self) -> &Arc<OnRedis> {
        &self.on_redis
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// What hashes of requests are made with, so that they tell nothing of what was in them, such as a password.
    pub(crate) fn request_key(&self) -> &[u8; 32] {
        &self.request_key
    }

    /// Where passwords are hashed.
    pub(crate) fn hashing(&self) -> &Hashing {
        &self.hashing
    }

    pub(crate) fn jwt_key(&self) -> Option<&jwt::Key> {
        self.jwt_key.as_ref()
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Where searches are noted.
    pub(crate) fn notes(&self) -> &Notes {
        &self.notes
    }

    /// What those who watch ask of the servers.
    pub(crate) fn watched(&self) -> &Watched {
        &self.watched
    }

    pub(crate) async fn close(&self) {
        let replica = async {
            if let Some(replica) = &self.replica {
                replica.close().await;
            }
        };
        tokio::join!(
            self.background.close(),
            self.primary.pool().close(),
            replica
        );
    }
}

impl FromRef<Servers> for PgPool {
    fn from_ref(servers: &Servers) -> PgPool {
        servers.primary.pool().clone()
    }
}

impl FromRef<Servers> for Clock {
    fn from_ref(servers: &Servers) -> Clock {
        servers.clock().clone()
    }
}
