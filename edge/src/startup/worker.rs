//! One worker's half of the edge: what it has for itself, and how it answers its connections.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::Shared;
use crate::admin::Explains;
use crate::cache::{KeyPolicy, Regional};
use crate::config::{self, Ranges};
use crate::egress::Egress;
use crate::encoding::Compression;
use crate::exchange::Connection;
use crate::explanation::{Explanation, Question};
use crate::filters::{Capabilities, Chain, Limits, Purge, PurgeOrder, RedisLimits};
use crate::interim::Informer;
use crate::keyvalue::KeyValue;
use crate::proxy::{Proxy, Route, Yours};
use crate::purge::{Order, Orders, Patience};
use crate::redis::Redis;
use crate::router::Router;
use crate::server::{Answering, Handler};
use crate::upstream::{Destination, Upstream};

/// Between two looks at whether a drained worker has work left.
const FINISH_INTERVAL: Duration = Duration::from_millis(5);

impl Shared {
    /// A worker's own half of the edge. Runs on the worker's runtime.
    pub(super) async fn worker(&self) -> Result<Worker, String> {
        let connect = async |config: &config::Redis| {
            let redis = Redis::connect(config.url.expose(), config.deadline)
                .map_err(|error| format!("redis.url: {error}"))?;
            redis.warm_up().await;
            Ok::<_, String>(redis)
        };
        let (limits, regional): (Arc<dyn Limits>, _) = match &self.config.redis {
            None => (Arc::clone(&self.local_limits) as _, None),
            Some(config) => {
                // A connection each: a count does not wait behind a large body.
                let local = Arc::clone(&self.local_limits);
                let limits =
                    RedisLimits::new(connect(config).await?, local).with_prefix(&config.prefix);
                let redis = Arc::new(connect(config).await?);
                let regional = Regional::new(redis, &config.prefix, config.max_entry)
                    .with_leases_of(config.lease);
                (Arc::new(limits), Some(regional))
            }
        };
        let keyvalue = match &self.config.redis {
            Some(config) if !self.config.plugins.is_empty() => {
                KeyValue::in_redis(connect(config).await?, &config.prefix)
            }
            _ => self.local_keyvalue.clone(),
        };
        // Routes to one origin share its connections.
        let upstreams = self.config.origins.iter().map(|(name, origin)| {
            let upstream =
                Upstream::new(name, origin).map_err(|error| format!("origin {name:?}: {error}"))?;
            Ok((name.as_str(), Arc::new(upstream)))
        });
        let upstreams = upstreams.collect::<Result<BTreeMap<_, _>, String>>()?;
        let capabilities = Arc::new(Capabilities {
            limits,
            purge: Arc::new(LogPurge(Arc::clone(&self.orders))),
            keyvalue,
            egress: Arc::new(Egress::new(self.settings.via.clone())),
            metrics: self.metrics.guests.clone(),
            clock: self.clock.clone(),
        });
        let ready = self.guests.chains.iter().zip(&self.key_policies);
        let ready = ready.zip(&self.guests.handlers);
        let routes = self.config.routes.iter().zip(ready);
        let routes = routes.map(|(route, ((chain, key_policy), guests))| {
            let destination = match (&guests.handler, &route.origin) {
                (Some(handler), _) => {
                    let handler = handler.on_worker(Arc::clone(&capabilities), self.clock.clone());
                    Destination::Handler(Arc::new(handler))
                }
                (None, Some(origin)) if upstreams.contains_key(origin.as_str()) => {
                    Destination::Origin(Arc::clone(&upstreams[origin.as_str()]))
                }
                (None, origin) => {
                    let name = route.name();
                    return Err(format!("route {name:?}: no origin named {origin:?}"));
                }
            };
            let middleware = guests.middleware.iter();
            let middleware = middleware.map(|prepared| {
                prepared.as_middleware(Arc::clone(&capabilities), self.clock.clone())
            });
            let mut ready = Route {
                middleware: middleware.collect(),
                ..self.route(route, chain, key_policy, destination)
            };
            let others = route.origins.iter().map(|name| {
                let upstream = upstreams
                    .get(name.as_str())
                    .ok_or_else(|| format!("route {:?}: no origin named {name:?}", route.name()))?;
                let upstream = Destination::Origin(Arc::clone(upstream));
                Ok::<_, String>(Arc::new(Route {
                    upstream,
                    ..ready.clone()
                }))
            });
            ready.others = others.collect::<Result<_, _>>()?;
            Ok((route.host.clone(), route.path.clone(), Arc::new(ready)))
        });
        let header = self.config.server.client_address_header.as_deref();
        Ok(Worker {
            proxy: Arc::new(Proxy {
                settings: self.settings.clone(),
                router: Router::new(routes.collect::<Result<Vec<_>, String>>()?),
                clock: self.clock.clone(),
                cache: self.cache.with_regional(regional),
                log: self.log.clone(),
                orders: Arc::clone(&self.orders),
                capabilities: Arc::clone(&capabilities),
                metrics: self.metrics.clone(),
            }),
            client_address_header: header.and_then(|name| HeaderName::try_from(name).ok()),
            relays_interim: self.config.server.interim_responses,
        })
    }

    fn route(
        &self,
        config: &config::Route,
        chain: &Chain,
        key_policy: &Option<Arc<KeyPolicy>>,
        upstream: Destination,
    ) -> Route {
        let counters = self.metrics.route(config.name(), upstream.name());
        Route {
            name: config.name().to_owned(),
            pattern: format!("{} {}", config.host, config.path).into(),
            policy: config.policy(),
            key_policy: key_policy.clone(),
            caches: config.cache,
            compression: config
                .compression
                .as_ref()
                .map(|settings| Arc::new(Compression::new(settings, &self.metrics))),
            on_partition: config.on_partition,
            yours: config
                .read_your_writes
                .zip(self.seal.clone())
                .map(|(by, seal)| Yours { by, seal }),
            forwards_ranges: config.ranges == Ranges::Forward,
            others: Vec::new(),
            origins: std::iter::once(upstream.name().to_owned())
                .chain(config.origins.iter().cloned())
                .collect(),
            upstream,
            chain: chain.clone(),
            middleware: Arc::default(),
            counters,
        }
    }
}

/// What serves the connections of one worker.
pub(super) struct Worker {
    proxy: Arc<Proxy>,
    client_address_header: Option<HeaderName>,
    relays_interim: bool,
}

impl Worker {
    /// Waits until what goes on without a client has ended: writes that are still to invalidate,
    /// fills, refreshes. All of it holds the proxy.
    pub(super) async fn finished(&self) {
        while Arc::strong_count(&self.proxy) > 1 {
            tokio::time::sleep(FINISH_INTERVAL).await;
        }
    }
}

impl Explains for Worker {
    fn explain<'a>(
        &'a self,
        question: &'a Question,
    ) -> Pin<Box<dyn Future<Output = Result<Explanation, String>> + Send + 'a>> {
        Box::pin(self.proxy.explain(question))
    }
}

impl Handler for Worker {
    type Connection = Connection;

    fn accept(&self, peer: SocketAddr, informer: Option<Informer>) -> Connection {
        Connection {
            client: peer.ip().to_canonical(),
            informer: informer.filter(|_| self.relays_interim),
            client_address_header: self.client_address_header.clone(),
        }
    }

    fn handle(
        self: &Arc<Self>,
        request: http::Request<hyper::body::Incoming>,
        connection: &Connection,
    ) -> Answering {
        self.proxy.handle(request, connection)
    }
}

/// The purge log as a plugin's capability.
struct LogPurge(Arc<Orders>);

impl Purge for LogPurge {
    fn purge<'a>(
        &'a self,
        order: PurgeOrder,
    ) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + 'a>> {
        Box::pin(async move {
            let order = Order {
                urls: order.urls,
                tags: order.tags,
                soft: order.soft,
                lsn: order.lsn,
                ..Order::default()
            };
            let records = order.into_records()?;
            let carried_out = self.0.carry_out(&records, Patience::default()).await;
            carried_out
                .map(|receipt| receipt.position)
                .map_err(|error| error.to_string())
        })
    }
}
