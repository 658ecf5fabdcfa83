//! What may be done with a stored response for a request (RFC 9111 §4).

use std::fmt;
use std::time::Duration;

use http::header::{self, HeaderMap};

use crate::directives::{RequestDirectives, Seconds};
use crate::freshness::Terms;
use crate::policy::Policy;
use crate::step::{Step, Witness, seconds};
use crate::time::Timestamp;

/// What the purge log says about an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// No purge matches it.
    Valid,
    /// Softly purged at that time: stale from then on.
    SoftPurged(Timestamp),
    /// Its position in the log is unknown: it may be validated, not served stale.
    BelowFloor,
}

/// What may be done with a stored response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reuse {
    /// Serve it: it is fresh, or stale within what the client accepts by `max-stale`.
    Fresh,
    /// Serve it, and refresh it behind the client's back (RFC 5861 §3).
    StaleWhileRevalidate,
    /// Ask the origin; when that fails, the stored response may still be served if `stale_if_error` (RFC 5861 §4).
    Validate { reason: Stale, stale_if_error: bool },
    /// The client wants nothing but a stored response and none is usable: 504 (RFC 9111 §5.2.1.7).
    Unsatisfiable,
}

/// Why a stored response is not used as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Stale {
    /// Its lifetime is over (RFC 9111 §4.2).
    Expired,
    /// It says `no-cache` (RFC 9111 §5.2.2.4).
    NoCache,
    /// The request asks for something fresher (RFC 9111 §5.2.1).
    RequestDirective,
    /// It was softly purged.
    SoftPurged,
    /// Its position in the purge log is unknown.
    BelowFloor,
}

impl Stale {
    /// All of them.
    pub const ALL: &[Stale] = &[
        Self::Expired,
        Self::NoCache,
        Self::RequestDirective,
        Self::SoftPurged,
        Self::BelowFloor,
    ];

    /// The one word for it in `Cache-Status`, the log and the metric.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NoCache => "no-cache",
            Self::RequestDirective => "request-directive",
            Self::SoftPurged => "soft-purged",
            Self::BelowFloor => "below-floor",
        }
    }
}

/// What may be done at `now` with a stored response that is selected for `request` (RFC 9111 §4).
#[must_use]
pub fn reuse(
    request: &HeaderMap,
    terms: &Terms,
    now: Timestamp,
    standing: Standing,
    policy: &Policy,
) -> Reuse {
    decide(request, terms, now, standing, policy, &mut ())
}

/// How [`reuse()`] comes to its answer: each rule up to the one that decides, and last the answer itself.
#[must_use]
pub fn explain(
    request: &HeaderMap,
    terms: &Terms,
    now: Timestamp,
    standing: Standing,
    policy: &Policy,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let answer = decide(request, terms, now, standing, policy, &mut steps);
    steps.note("reuse", "RFC 9111 §4", || answer.to_string());
    steps
}

fn decide(
    request: &HeaderMap,
    terms: &Terms,
    now: Timestamp,
    standing: Standing,
    policy: &Policy,
    witness: &mut impl Witness,
) -> Reuse {
    if !policy.honour_request_directives || !request.contains_key(header::CACHE_CONTROL) {
        return unasked(terms, now, standing, witness);
    }
    let directives = RequestDirectives::of(request);
    let answer = asked(&directives, terms, now, standing, witness);
    match answer {
        Reuse::Validate { .. } if directives.only_if_cached => {
            witness.note("request-only-if-cached", "RFC 9111 §5.2.1.7", || {
                "nothing usable is stored".to_owned()
            });
            Reuse::Unsatisfiable
        }
        answer => answer,
    }
}

impl fmt::Display for Reuse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fresh => formatter.write_str("served"),
            Self::StaleWhileRevalidate => formatter.write_str("served while it is refreshed"),
            Self::Validate {
                reason,
                stale_if_error,
            } => {
                let grace = if *stale_if_error {
                    ", served if the origin fails"
                } else {
                    ""
                };
                write!(formatter, "validated: {}{grace}", reason.name())
            }
            Self::Unsatisfiable => formatter.write_str("refused: only-if-cached"),
        }
    }
}

/// Whether the client wants nothing but a stored response: when nothing is stored, the answer is 504
/// (RFC 9111 §5.2.1.7). False where the route does not heed request directives.
#[must_use]
pub fn only_if_cached(request: &HeaderMap, policy: &Policy) -> bool {
    policy.honour_request_directives && RequestDirectives::of(request).only_if_cached
}

/// What the stored terms and the purge log allow.
fn unasked(terms: &Terms, now: Timestamp, standing: Standing, witness: &mut impl Witness) -> Reuse {
    witness.note("purges", "purge log", || match standing {
        Standing::Valid => "none matches".to_owned(),
        Standing::SoftPurged(at) => format!("softly purged {} ago", seconds(now.since(at))),
        Standing::BelowFloor => "unknown position".to_owned(),
    });
    if standing == Standing::BelowFloor {
        return Reuse::Validate {
            reason: Stale::BelowFloor,
            stale_if_error: false,
        };
    }
    witness.note("no-cache", "RFC 9111 §5.2.2.4", || {
        told(terms.always_validate, "validated before each use", "no")
    });
    if terms.always_validate {
        return Reuse::Validate {
            reason: Stale::NoCache,
            stale_if_error: false,
        };
    }
    witness.note("freshness", "RFC 9111 §4.2", || {
        let lifetime = seconds(terms.lifetime);
        let (age, basis) = (seconds(terms.age(now)), terms.basis.name());
        let state = told(terms.is_fresh(now), "fresh", "stale");
        format!("{state}: age {age}, lifetime {lifetime} by {basis}")
    });
    let Some((reason, since)) = stale_since(terms, now, standing) else {
        return Reuse::Fresh;
    };
    witness.note("must-revalidate", "RFC 9111 §4.2.4", || {
        told(terms.must_revalidate, "never used stale", "no")
    });
    if terms.must_revalidate {
        return Reuse::Validate {
            reason,
            stale_if_error: false,
        };
    }
    let staleness = now.since(since);
    let window = |window: Duration| {
        let place = told(staleness < window, "within", "past");
        format!(
            "{place}: stale for {} of {}",
            seconds(staleness),
            seconds(window)
        )
    };
    witness.note("stale-while-revalidate", "RFC 5861 §3", || {
        window(terms.stale_while_revalidate)
    });
    if staleness < terms.stale_while_revalidate {
        return Reuse::StaleWhileRevalidate;
    }
    witness.note("stale-if-error", "RFC 5861 §4", || {
        window(terms.stale_if_error)
    });
    Reuse::Validate {
        reason,
        stale_if_error: staleness < terms.stale_if_error,
    }
}

/// One of two words.
fn told(is_so: bool, yes: &str, no: &str) -> String {
    if is_so { yes } else { no }.to_owned()
}

/// Since when and why the response is stale, if it is: by its lifetime or by a soft purge, whichever came first.
fn stale_since(terms: &Terms, now: Timestamp, standing: Standing) -> Option<(Stale, Timestamp)> {
    let expired = (!terms.is_fresh(now)).then(|| (Stale::Expired, terms.expires()));
    match (standing, expired) {
        // A purge that lies ahead of an exchange's `now` was applied while it ran, and counts.
        (Standing::SoftPurged(at), None) => Some((Stale::SoftPurged, at.min(now))),
        (Standing::SoftPurged(at), Some((_, expires))) if at < expires => {
            Some((Stale::SoftPurged, at))
        }
        (_, expired) => expired,
    }
}

/// The same, with what the client asks for on top (RFC 9111 §5.2.1).
fn asked(
    directives: &RequestDirectives,
    terms: &Terms,
    now: Timestamp,
    standing: Standing,
    witness: &mut impl Witness,
) -> Reuse {
    let allowed = unasked(terms, now, standing, witness);
    if directives.no_cache {
        witness.note("request-no-cache", "RFC 9111 §5.2.1.4", || {
            "nothing stored is wanted".to_owned()
        });
        return match allowed {
            Reuse::Validate { reason, .. } => Reuse::Validate {
                reason,
                stale_if_error: false,
            },
            _ => Reuse::Validate {
                reason: Stale::RequestDirective,
                stale_if_error: false,
            },
        };
    }
    if standing == Standing::BelowFloor || terms.always_validate {
        return allowed;
    }
    let staleness = stale_since(terms, now, standing).map(|(_, since)| now.since(since));
    // What the client accepts if the origin fails adds to what the terms allow (RFC 5861 §4).
    let accepted = directives
        .stale_if_error
        .map_or(Duration::ZERO, Seconds::or_zero);
    let grace = terms.stale_if_error.max(accepted);
    let stale_if_error = !terms.must_revalidate && staleness.unwrap_or_default() < grace;
    let asking = |reason| Reuse::Validate {
        reason,
        stale_if_error,
    };
    if !is_fresh_enough(directives, terms, now, witness) {
        return match allowed {
            Reuse::Validate { reason, .. } => asking(reason),
            _ => asking(Stale::RequestDirective),
        };
    }
    let Some(staleness) = staleness else {
        return allowed;
    };
    let accepted = directives.max_stale.is_some_and(|limit| staleness <= limit);
    witness.note("request-max-stale", "RFC 9111 §5.2.1.2", || {
        let verdict = told(accepted, "accepted", "not accepted");
        format!("{verdict}: stale for {}", seconds(staleness))
    });
    let particular = directives.max_age.is_some() || directives.min_fresh.is_some();
    match allowed {
        Reuse::Validate { .. } if accepted && !terms.must_revalidate => Reuse::Fresh,
        Reuse::Validate { reason, .. } => asking(reason),
        // `max-age` and `min-fresh` without a sufficient `max-stale` rule stale responses out (§5.2.1.1).
        Reuse::StaleWhileRevalidate if !accepted && particular => asking(Stale::RequestDirective),
        allowed => allowed,
    }
}

/// `max-age` and `min-fresh`; an argument that is no number asks for the strictest.
fn is_fresh_enough(
    directives: &RequestDirectives,
    terms: &Terms,
    now: Timestamp,
    witness: &mut impl Witness,
) -> bool {
    let age = terms.age(now);
    let young = directives.max_age.is_none_or(|limit| {
        let limit = limit.or_zero();
        // `max-age=0` is how a client asks for validation, also of what arrived this very millisecond.
        let young = age <= limit && !limit.is_zero();
        witness.note("request-max-age", "RFC 9111 §5.2.1.1", || {
            let verdict = told(young, "passed", "too old");
            format!("{verdict}: age {} of {}", seconds(age), seconds(limit))
        });
        young
    });
    let lasting = directives.min_fresh.is_none_or(|margin| {
        let margin = margin.or_zero();
        let lasting = age.saturating_add(margin) <= terms.lifetime;
        witness.note("request-min-fresh", "RFC 9111 §5.2.1.3", || {
            let verdict = told(lasting, "passed", "too little left");
            let left = terms.lifetime.saturating_sub(age);
            format!("{verdict}: {} of {}", seconds(left), seconds(margin))
        });
        lasting
    });
    young && lasting
}
