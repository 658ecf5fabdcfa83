//! What the edge counts. Names are `tidegate_*`; no label holds a URL.

mod guests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use tidegate_semantics::Forwarded;

pub use guests::{GuestMetrics, SeriesError};

/// All metrics of a process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    upstream: Family<UpstreamLabels, Counter>,
    /// Requests that were answered by another one's fetch.
    pub collapsed: Counter,
    /// Background refreshes begun.
    pub refreshes: Counter,
    /// Objects of the memory tier that lost what was purged of them.
    pub swept: Counter,
    /// Lookups and writes in Redis that did not come back in time, by reason.
    pub regional_unavailable: Family<Reason, Counter>,
    regional_leases: Family<ResultLabel, Counter>,
    /// Requests that went on to an origin, by the reason that `Cache-Status` gives (RFC 9211 §2.2).
    forwarded: Family<Reason, Counter>,
    /// Responses not stored, by reason.
    pub not_stored: Family<Reason, Counter>,
    encodings: Family<CodingLabel, Counter>,
    encoding_saved: Family<CodingLabel, Counter>,
    /// Purge records accepted, and those that could not be recorded.
    purges: Counter,
    purges_not_recorded: Counter,
    /// Tokens that clients brought of their writes, by what came of them.
    pub seen_tokens: Family<Reason, Counter>,
    purge_requests: Family<OutcomeLabel, Counter>,
    /// From a record to the acknowledgement of this edge, by the clock of the log's Redis.
    pub purge_apply: Durations,
    log_silence: Gauge<f64, AtomicU64>,
    memory_bytes: Gauge<u64, AtomicU64>,
    memory_objects: Gauge<u64, AtomicU64>,
    plugin_failures: Family<PluginLabels, Gauge<u64, AtomicU64>>,
    plugin_reloads: Family<ReloadLabels, Counter>,
    /// What plugins count themselves.
    pub guests: GuestMetrics,
    limits: Family<LimitLabels, Counter>,
    plugin_lines_left_out: Family<PluginLabel, Gauge<u64, AtomicU64>>,
}

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    HitHot,
    HitMemory,
    HitRegional,
    Stale,
    Revalidated,
    Miss,
    Pass,
    Filtered,
    Failed,
}

impl Outcome {
    const ALL: [Outcome; 9] = [
        Outcome::HitHot,
        Outcome::HitMemory,
        Outcome::HitRegional,
        Outcome::Stale,
        Outcome::Revalidated,
        Outcome::Miss,
        Outcome::Pass,
        Outcome::Filtered,
        Outcome::Failed,
    ];

    /// The name in metrics and log.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::HitHot => "hit-hot",
            Outcome::HitMemory => "hit-memory",
            Outcome::HitRegional => "hit-redis",
            Outcome::Stale => "stale",
            Outcome::Revalidated => "revalidated",
            Outcome::Miss => "miss",
            Outcome::Pass => "pass",
            Outcome::Filtered => "filtered",
            Outcome::Failed => "failed",
        }
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.name(), encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    origin: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PluginLabels {
    plugin: String,
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    plugin: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PluginLabel {
    plugin: String,
}

/// A named reason, as a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    pub reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodingLabel {
    coding: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// Durations, from a millisecond to a minute.
#[derive(Clone)]
pub struct Durations(Histogram);

impl Default for Durations {
    fn default() -> Durations {
        Durations(Histogram::new([
            0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0,
        ]))
    }
}

impl Durations {
    /// Counts one.
    pub fn observe(&self, duration: Duration) {
        self.0.observe(duration.as_secs_f64());
    }
}

/// What is counted of one content coding.
#[derive(Clone)]
pub struct CodingCounters {
    made: Counter,
    saved: Counter,
}

impl CodingCounters {
    /// Counts one encoded form that was made.
    pub fn count_made(&self) {
        self.made.inc();
    }

    /// Counts one answer of `encoded` bytes in place of `identity` bytes.
    pub fn count_sent(&self, identity: u64, encoded: u64) {
        self.saved.inc_by(identity.saturating_sub(encoded));
    }
}

/// The counters of one route, found once, so that a request looks nothing up.
#[derive(Clone)]
pub struct RouteCounters {
    outcomes: [Counter; Outcome::ALL.len()],
    forwarded: [Counter; Forwarded::ALL.len()],
    /// Requests that its origin has answered.
    pub answered: Counter,
}

impl RouteCounters {
    /// Counts one request, and why it went on to an origin, if it did.
    pub fn count(&self, outcome: Outcome, forwarded: Option<Forwarded>) {
        self.outcomes[outcome as usize].inc();
        if let Some(reason) = forwarded {
            self.forwarded[reason as usize].inc();
        }
    }
}

impl Metrics {
    /// The counters of a route to an origin.
    pub fn route(&self, name: &str, origin: &str) -> RouteCounters {
        let outcomes = Outcome::ALL.map(|outcome| {
            let labels = RequestLabels {
                route: name.to_owned(),
                outcome,
            };
            self.requests.get_or_create_owned(&labels)
        });
        let forwarded = Forwarded::ALL.map(|reason| {
            let reason = Reason {
                reason: reason.name(),
            };
            self.forwarded.get_or_create_owned(&reason)
        });
        let answered = UpstreamLabels {
            origin: origin.to_owned(),
            result: "ok",
        };
        RouteCounters {
            outcomes,
            forwarded,
            answered: self.upstream.get_or_create_owned(&answered),
        }
    }

    /// The counters of a content coding.
    pub fn coding(&self, coding: &'static str) -> CodingCounters {
        let labels = CodingLabel { coding };
        CodingCounters {
            made: self.encodings.get_or_create_owned(&labels),
            saved: self.encoding_saved.get_or_create_owned(&labels),
        }
    }

    /// Counts one request that an origin has not answered, by the name of the failure.
    pub fn count_upstream(&self, origin: &str, result: &'static str) {
        let labels = UpstreamLabels {
            origin: origin.to_owned(),
            result,
        };
        self.upstream.get_or_create(&labels).inc();
    }

    /// Counts records of one purge, and whether they were recorded.
    pub fn count_purges(&self, records: usize, are_recorded: bool) {
        self.purges.inc_by(records as u64);
        if !are_recorded {
            self.purges_not_recorded.inc_by(records as u64);
        }
    }

    /// Counts one request to purge, by what came of it.
    pub fn count_purge_request(&self, outcome: &'static str) {
        let labels = OutcomeLabel { outcome };
        self.purge_requests.get_or_create(&labels).inc();
    }

    /// Notes for how long nothing was heard from the purge log.
    pub fn note_log_silence(&self, silence: Duration) {
        self.log_silence.set(silence.as_secs_f64());
    }

    /// Notes what rate limits have done so far: limit, outcome, count.
    pub fn note_limits(&self, taken: impl IntoIterator<Item = (String, &'static str, u64)>) {
        for (limit, outcome, count) in taken {
            let labels = LimitLabels { limit, outcome };
            let counter = self.limits.get_or_create(&labels);
            counter.inner().store(count, Ordering::Relaxed);
        }
    }

    /// Counts what came of asking for a lease of fetching for the region.
    pub fn count_lease(&self, result: &'static str) {
        self.regional_leases
            .get_or_create(&ResultLabel { result })
            .inc();
    }

    /// Counts a new version of a plugin: "changed" where it is used now, or "refused".
    pub fn count_reload(&self, plugin: &str, outcome: &'static str) {
        let labels = ReloadLabels {
            plugin: plugin.to_owned(),
            outcome,
        };
        self.plugin_reloads.get_or_create(&labels).inc();
    }

    /// Counts under a reason.
    pub fn count_reason(family: &Family<Reason, Counter>, reason: &'static str) {
        family.get_or_create(&Reason { reason }).inc();
    }

    /// Notes how many log lines of each plugin have been left out.
    pub fn note_lines_left_out(&self, counts: impl IntoIterator<Item = (String, u64)>) {
        for (plugin, count) in counts {
            let family = &self.plugin_lines_left_out;
            family.get_or_create(&PluginLabel { plugin }).set(count);
        }
    }

    /// The metrics as text, in the OpenMetrics format. `usage` is bytes and objects in memory.
    pub fn encode(
        &self,
        usage: (u64, u64),
        plugin_failures: impl IntoIterator<Item = (String, String, u64)>,
    ) -> String {
        self.memory_bytes.set(usage.0);
        self.memory_objects.set(usage.1);
        for (plugin, kind, count) in plugin_failures {
            self.plugin_failures
                .get_or_create(&PluginLabels { plugin, kind })
                .set(count);
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry())
            .expect("a String takes everything");
        text
    }

    fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("tidegate");
        let all = self.clone();
        registry.register(
            "requests",
            "Requests answered, by route and outcome",
            all.requests,
        );
        registry.register(
            "upstream_requests",
            "Requests to origins, by result",
            all.upstream,
        );
        registry.register(
            "collapsed",
            "Requests answered by another one's fetch",
            all.collapsed,
        );
        registry.register("refreshes", "Background refreshes begun", all.refreshes);
        registry.register(
            "swept",
            "Objects whose purged bytes went back to the memory tier",
            all.swept,
        );
        registry.register(
            "redis_unavailable",
            "Uses of the regional tier that got no answer, by reason",
            all.regional_unavailable,
        );
        registry.register(
            "regional_leases",
            "Fetches for which the region was asked first, by what came of it",
            all.regional_leases,
        );
        registry.register(
            "forwarded",
            "Requests that went on to an origin, by reason",
            all.forwarded,
        );
        registry.register(
            "not_stored",
            "Responses not stored, by reason",
            all.not_stored,
        );
        registry.register(
            "encodings",
            "Encoded forms of bodies made, by coding",
            all.encodings,
        );
        registry.register(
            "encoding_saved_bytes",
            "Bytes that clients were spared by encoded forms, by coding",
            all.encoding_saved,
        );
        registry.register("purges", "Purge records accepted", all.purges);
        registry.register(
            "purges_not_recorded",
            "Purge records in force here that the log did not take",
            all.purges_not_recorded,
        );
        registry.register(
            "seen_tokens",
            "Tokens of clients that read their own writes, by what came of them",
            all.seen_tokens,
        );
        registry.register(
            "purge_requests",
            "Requests to purge, by outcome",
            all.purge_requests,
        );
        registry.register(
            "purge_apply_seconds",
            "From the newest purge record to its being applied and acknowledged here",
            all.purge_apply.0,
        );
        registry.register(
            "purge_log_silence_seconds",
            "Since the purge log was last heard",
            all.log_silence,
        );
        registry.register(
            "memory_bytes",
            "Bytes held by the memory tier",
            all.memory_bytes,
        );
        registry.register(
            "memory_objects",
            "Keys held by the memory tier",
            all.memory_objects,
        );
        registry.register(
            "plugin_failures",
            "Plugin calls that failed, by kind",
            all.plugin_failures,
        );
        all.guests.register(&mut registry);
        registry.register(
            "plugin_reloads",
            "New versions of plugins, by outcome",
            all.plugin_reloads,
        );
        registry.register(
            "limited_requests",
            "Requests that a rate limit looked at, by limit and outcome",
            all.limits,
        );
        registry.register(
            "plugin_log_lines_left_out",
            "Log lines of plugins left out, those of an exchange or a second with too many",
            all.plugin_lines_left_out,
        );
        registry
    }
}
