//! Whether a response may be stored, and under which terms (RFC 9111 §3).

use http::header::HeaderMap;

pub use crate::exchange::Exchange;
pub use crate::refusal::Refusal;

use crate::fields;
use crate::freshness::Terms;
use crate::policy::Policy;
use crate::step::{Step, Witness as _, seconds};
use crate::targeted::{governing, may_govern};

mod rules;

use rules::{Case, RULES};

/// Whether a response may be stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Storable {
    Keep(Terms),
    Refuse(Refusal),
}

/// Whether the response of `exchange` may be stored, and under which terms: the first rule that refuses counts.
#[must_use]
pub fn storable(exchange: &Exchange<'_>, policy: &Policy) -> Storable {
    let case = Case::of(exchange, policy);
    match RULES.iter().try_for_each(|rule| rule.check(&case)) {
        Ok(()) => Storable::Keep(case.terms().clone()),
        Err(refusal) => Storable::Refuse(refusal),
    }
}

/// How [`storable`] comes to its answer: the field that governs, what each rule finds, also those after the first that
/// refuses, and the terms the response would have.
#[must_use]
pub fn explain(exchange: &Exchange<'_>, policy: &Policy) -> Vec<Step> {
    let case = Case::of(exchange, policy);
    let mut steps = Vec::new();
    steps.note("governing-field", "RFC 9213 §2.2", || {
        case.governing.field.to_string()
    });
    for rule in RULES {
        steps.note(rule.name, rule.section, || match rule.check(&case) {
            Ok(()) => "passed".to_owned(),
            Err(refusal) => format!("refused: {}", refusal.name()),
        });
    }
    let terms = case.terms();
    steps.note("lifetime", "RFC 9111 §4.2.1", || {
        format!("{} by {}", seconds(terms.lifetime), terms.basis.name())
    });
    steps.note("age", "RFC 9111 §4.2.3", || {
        format!("{} on arrival", seconds(terms.age(exchange.received_at)))
    });
    steps.note("stale-use", "RFC 9111 §4.2.4", || terms.stale_use());
    steps
}

/// The fields of a response that are stored: all but the hop-by-hop ones and those that `no-cache="…"` withholds from
/// whoever comes later (RFC 9111 §3.1, §5.2.2.4).
#[must_use]
pub fn stored_fields(response: &HeaderMap, policy: &Policy) -> HeaderMap {
    let mut stored = response.clone();
    fields::strip_hop_by_hop(&mut stored);
    if may_withhold(response, policy) {
        for name in governing(response, policy).directives.withheld {
            stored.remove(name);
        }
    }
    stored
}

/// Whether a field that can govern has the word: most responses are told apart by that from those that withhold.
fn may_withhold(response: &HeaderMap, policy: &Policy) -> bool {
    const WORD: &[u8] = b"no-cache";
    may_govern(policy).any(|name| {
        let mut lines = response.get_all(name).iter();
        lines.any(|line| {
            let mut places = line.as_bytes().windows(WORD.len());
            places.any(|place| place.eq_ignore_ascii_case(WORD))
        })
    })
}
