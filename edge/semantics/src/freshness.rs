//! How long a response is fresh and how old it already is (RFC 9111 §4.2).

use std::time::Duration;

use http::StatusCode;
use http::header;

use crate::basis::Basis;
use crate::directives::{Directives, Seconds, delta_seconds};
use crate::exchange::Exchange;
use crate::fields;
use crate::policy::Policy;
use crate::step::seconds;
use crate::targeted::Governing;
use crate::time::{Timestamp, parse_date_at};

/// The terms under which a stored response may be used. Plain values, so that tiers can encode them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// When the response was as good as generated: its age is the time since then (RFC 9111 §4.2.3).
    pub born: Timestamp,
    /// The freshness lifetime; zero is stale at once (RFC 9111 §4.2.1).
    pub lifetime: Duration,
    /// For how long past its lifetime it may be served while it is refreshed (RFC 5861 §3).
    pub stale_while_revalidate: Duration,
    /// For how long past its lifetime it may be served when the origin fails (RFC 5861 §4).
    pub stale_if_error: Duration,
    /// `must-revalidate`, `proxy-revalidate` or `s-maxage`: never used stale, whatever the two windows say
    /// (RFC 9111 §4.2.4).
    pub must_revalidate: bool,
    /// `no-cache` without fields: never used unvalidated (RFC 9111 §5.2.2.4).
    pub always_validate: bool,
    /// What the lifetime rests on.
    pub basis: Basis,
}

impl Terms {
    /// The age at `now`, which `Age` shows in whole seconds; never negative.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Duration {
        now.since(self.born)
    }

    /// The remaining freshness at `now` in seconds, zero or negative when stale: `lifetime - Age`, as in `Cache-Status`
    /// (RFC 9211 §2.4).
    #[must_use]
    pub fn ttl(&self, now: Timestamp) -> i64 {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        seconds(self.lifetime) - seconds(self.age(now))
    }

    /// Whether the lifetime is not over at `now`; says nothing of purges or `no-cache`.
    #[must_use]
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        self.lifetime > self.age(now)
    }

    /// When the lifetime ends.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.born.plus(self.lifetime)
    }

    /// The longest time past its lifetime for which the response may be served at all.
    #[must_use]
    pub fn grace(&self) -> Duration {
        if self.must_revalidate || self.always_validate {
            Duration::ZERO
        } else {
            self.stale_while_revalidate.max(self.stale_if_error)
        }
    }

    /// In which ways it may be used once its lifetime is over, in a few words.
    pub(crate) fn stale_use(&self) -> String {
        if self.always_validate {
            return "none, no-cache: validated before each use".to_owned();
        }
        if self.must_revalidate {
            return "none, must-revalidate".to_owned();
        }
        let behind = seconds(self.stale_while_revalidate);
        let failing = seconds(self.stale_if_error);
        format!("{behind} while it is refreshed, {failing} if the origin fails")
    }

    /// When a tier may drop it: past its lifetime and its grace, and a day later when it has a validator, for a 304
    /// costs less than a new body.
    #[must_use]
    pub fn useless_after(&self, validatable: bool) -> Timestamp {
        let validation = if validatable {
            Duration::from_secs(86_400)
        } else {
            Duration::ZERO
        };
        self.expires().plus(self.grace()).plus(validation)
    }
}

/// The terms of a response, and what its lifetime would rest on if the route gave it none: that decides whether the
/// response may be stored, for `ttl` replaces a lifetime and no permission.
pub(crate) fn terms(
    exchange: &Exchange<'_>,
    governing: &Governing,
    policy: &Policy,
) -> (Terms, Basis) {
    let directives = &governing.directives;
    let (own, own_basis) = lifetime(exchange, governing, policy);
    let (lifetime, basis) = match policy.ttl {
        Some(ttl) if !is_kept_for_its_status(exchange.status, directives, own_basis) => {
            (ttl, Basis::Ttl)
        }
        _ => (own, own_basis),
    };
    let age = initial_age(exchange);
    // An age that reaches back before the epoch cannot be written as a birth: what is missing is taken off the lifetime.
    let missing = age.saturating_sub(exchange.received_at.since(Timestamp(0)));
    // The route's windows are there for lack of something better; an error that was kept for a moment is not that.
    let lasting = basis != Basis::StatusTtl || !exchange.status.is_server_error();
    let window = |stated: Option<Seconds>, route: Option<Duration>| {
        let route = route.filter(|_| lasting);
        stated.map_or(route.unwrap_or_default(), Seconds::or_zero)
    };
    let terms = Terms {
        born: exchange.received_at.minus(age),
        lifetime: lifetime.saturating_sub(missing),
        stale_while_revalidate: window(
            directives.stale_while_revalidate,
            policy.stale_while_revalidate,
        ),
        stale_if_error: window(directives.stale_if_error, policy.stale_if_error),
        must_revalidate: directives.forbids_stale(),
        always_validate: directives.no_cache,
        basis,
    };
    (terms, own_basis)
}

/// Statuses whose responses may be given a heuristic lifetime (RFC 9110 §15.1).
#[must_use]
pub fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// Whether a lifetime may be assumed for a response that states none (RFC 9111 §4.2.2).
pub(crate) fn may_be_assumed_fresh(status: StatusCode, directives: &Directives) -> bool {
    is_heuristically_cacheable(status) || directives.public
}

/// Whether nothing but the route's lifetime for its status lets a response be stored.
pub(crate) fn is_kept_for_its_status(
    status: StatusCode,
    directives: &Directives,
    basis: Basis,
) -> bool {
    basis == Basis::StatusTtl && !may_be_assumed_fresh(status, directives)
}

/// RFC 9111 §4.2.1: `s-maxage`, else `max-age`, else `Expires`, else what the route has for it, else a guess.
fn lifetime(exchange: &Exchange<'_>, governing: &Governing, policy: &Policy) -> (Duration, Basis) {
    let directives = &governing.directives;
    if let Some(seconds) = directives.s_maxage {
        return (seconds.or_zero(), Basis::SMaxage);
    }
    if let Some(seconds) = directives.max_age {
        return (seconds.or_zero(), Basis::MaxAge);
    }
    if !governing.targeted && exchange.response.contains_key(header::EXPIRES) {
        return (until_expires(exchange).unwrap_or_default(), Basis::Expires);
    }
    if let Some(lifetime) = policy.ttl_of(exchange.status) {
        return (lifetime, Basis::StatusTtl);
    }
    if !may_be_assumed_fresh(exchange.status, directives) {
        return (Duration::ZERO, Basis::Nothing);
    }
    if let Some(lifetime) = policy.default_ttl {
        return (lifetime, Basis::DefaultTtl);
    }
    match since_modified(exchange) {
        Some(time) => {
            let tenth = Duration::from_secs(time.as_secs() / 10);
            let limit = policy.heuristic_limit.unwrap_or(Duration::MAX);
            (tenth.min(limit), Basis::Heuristic)
        }
        None => (Duration::ZERO, Basis::Nothing),
    }
}

/// Whether the response itself states that it is fresh: no default, no guess and no route says so in its place.
pub(crate) fn is_explicitly_fresh(
    exchange: &Exchange<'_>,
    governing: &Governing,
    policy: &Policy,
) -> bool {
    let (lifetime, basis) = lifetime(exchange, governing, policy);
    basis.is_stated() && !lifetime.is_zero()
}

/// `Expires - Date`; `None` when `Expires` is invalid or repeated, which means already expired (RFC 9111 §5.3).
fn until_expires(exchange: &Exchange<'_>) -> Option<Duration> {
    let value = fields::only(exchange.response, &header::EXPIRES)?;
    let expires = parse_date_at(value, exchange.received_at)?;
    Some(expires.since(date(exchange)))
}

fn since_modified(exchange: &Exchange<'_>) -> Option<Duration> {
    let value = fields::only(exchange.response, &header::LAST_MODIFIED)?;
    let modified = parse_date_at(value, exchange.received_at)?;
    Some(date(exchange).since(modified))
}

/// When the response was generated: its `Date`, or the time of receipt when that is missing or invalid
/// (RFC 9110 §6.6.1). In whole seconds, so that a fresh `Date` does not look up to a second old.
fn date(exchange: &Exchange<'_>) -> Timestamp {
    fields::only(exchange.response, &header::DATE)
        .and_then(|value| parse_date_at(value, exchange.received_at))
        .unwrap_or(exchange.received_at.whole_seconds())
}

/// `corrected_initial_age` of RFC 9111 §4.2.3.
fn initial_age(exchange: &Exchange<'_>) -> Duration {
    let apparent = exchange.received_at.whole_seconds().since(date(exchange));
    let response_delay = exchange.received_at.since(exchange.requested_at);
    apparent.max(stated_age(exchange).saturating_add(response_delay))
}

/// The first member of `Age`; anything but a number is ignored (RFC 9111 §5.1).
fn stated_age(exchange: &Exchange<'_>) -> Duration {
    fields::list(exchange.response, &header::AGE)
        .next()
        .and_then(delta_seconds)
        .unwrap_or_default()
}
