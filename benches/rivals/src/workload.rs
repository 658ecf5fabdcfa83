//! What is asked of the proxies.

use std::time::Duration;

/// In the order in which a proxy is given them: while it is fresh, how it fills is measured first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    Fill,
    Hit,
    Zipf,
    Hit100K,
    Hit1M,
    Pass,
    Miss,
    Burst,
    Http2,
    Paced,
    LimitFresh,
    LimitReused,
    Redis,
    RedisPaced,
}

/// How long the origin takes for an object of a burst.
pub const BURST_DELAY: Duration = Duration::from_millis(50);
/// How many ask for it at once.
pub const BURST: usize = 200;

impl Workload {
    pub const ALL: [Workload; 14] = [
        Workload::Fill,
        Workload::Hit,
        Workload::Zipf,
        Workload::Hit100K,
        Workload::Hit1M,
        Workload::Pass,
        Workload::Miss,
        Workload::Burst,
        Workload::Http2,
        Workload::Paced,
        Workload::LimitFresh,
        Workload::LimitReused,
        Workload::Redis,
        Workload::RedisPaced,
    ];

    /// What all proxies are asked.
    pub const COMMON: &[Workload] = Self::ALL.split_at(10).0;

    /// By which it is chosen.
    pub fn name(self) -> &'static str {
        match self {
            Workload::Fill => "fill",
            Workload::Zipf => "zipf",
            Workload::Hit => "hit",
            Workload::Hit100K => "hit-100k",
            Workload::Hit1M => "hit-1m",
            Workload::Pass => "pass",
            Workload::Miss => "miss",
            Workload::Burst => "burst",
            Workload::Http2 => "http2",
            Workload::Paced => "paced",
            Workload::LimitFresh => "limit-fresh",
            Workload::LimitReused => "limit-reused",
            Workload::Redis => "redis",
            Workload::RedisPaced => "redis-paced",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|workload| workload.name() == name)
    }

    pub fn title(self) -> &'static str {
        match self {
            Workload::Fill => "filling with objects of 1 KiB",
            Workload::Zipf => "hits of 1 KiB, many objects",
            Workload::Hit => "hit, 1 KiB",
            Workload::Hit100K => "hit, 100 KiB",
            Workload::Hit1M => "hit, 1 MiB",
            Workload::Pass => "pass (no-store), 1 KiB",
            Workload::Miss => "miss that is stored, 1 KiB",
            Workload::Burst => "200 at once for one cold object",
            Workload::Http2 => "hit over HTTP/2, 1 KiB",
            Workload::Paced => "hit, 1 KiB, at a fixed rate",
            Workload::LimitFresh => "hit behind the rate limit, fresh instance",
            Workload::LimitReused => "hit behind the rate limit, reused instance",
            Workload::Redis => "hit in Redis",
            Workload::RedisPaced => "hit in Redis, at a fixed rate",
        }
    }

    pub fn about(self) -> &'static str {
        match self {
            Workload::Fill => {
                "every object is asked for once; what the proxy then holds, by object"
            }
            Workload::Zipf => {
                "those objects, some far more often than others (zipf 0.99); fills first"
            }
            Workload::Hit => "one object over and over on 64 kept connections",
            Workload::Hit100K => "likewise",
            Workload::Hit1M => "likewise, 16 connections",
            Workload::Pass => "what may not be stored",
            Workload::Miss => "an object that nobody has asked for before, each time",
            Workload::Burst => {
                "200 connections ask at once for an object that takes the origin 50 ms"
            }
            Workload::Http2 => "by prior knowledge, 16 connections with 8 streams each, by h2load",
            Workload::Paced => "open loop: sent at its time, and its latency counted from then on",
            Workload::LimitFresh => {
                "Tidegate alone: builtin:rate-limit, an instance for each request"
            }
            Workload::LimitReused => "Tidegate alone: builtin:rate-limit, instances that stay",
            Workload::Redis => "Tidegate alone: in a Redis on loopback, and not yet in memory",
            Workload::RedisPaced => "likewise, open loop",
        }
    }

    /// Whether the time of requests is measured against a pace, so that a second's worth of work says nothing.
    pub fn is_paced(self) -> bool {
        matches!(self, Workload::Paced | Workload::RedisPaced)
    }

    /// Whether processor time and throughput mean something: a burst is over before they do, a pace sets them, and not
    /// everybody fills from the origin.
    pub fn has_throughput(self) -> bool {
        !self.is_paced() && !matches!(self, Workload::Burst | Workload::Fill)
    }

    /// Before the key.
    pub fn path(self) -> &'static str {
        match self {
            Workload::Hit100K => "/c/102400/",
            Workload::Hit1M => "/c/1048576/",
            Workload::Pass => "/n/1024/",
            Workload::Burst => "/w/50/1024/",
            Workload::LimitFresh => "/fresh/1024/",
            Workload::LimitReused => "/reused/1024/",
            _ => "/c/1024/",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_is_found_by_its_name() {
        for workload in Workload::ALL {
            assert_eq!(Workload::named(workload.name()), Some(workload));
        }
        assert!(Workload::ALL.is_sorted(), "in the order in which they run");
        assert_eq!(Workload::COMMON.last(), Some(&Workload::Paced));
    }

    #[test]
    fn the_path_of_a_burst_says_its_delay() {
        assert!(
            Workload::Burst
                .path()
                .contains(&format!("/{}/", BURST_DELAY.as_millis()))
        );
    }
}
