//! The rules of storing, in the order in which they are asked. The first that refuses names the refusal, so the plainest
//! reasons stand before the finer ones.

use std::cell::OnceCell;
use std::time::Duration;

use http::header;
use http::{Method, StatusCode};

use crate::basis::Basis;
use crate::deception::is_deceptive;
use crate::directives::{RequestDirectives, Seconds};
use crate::exchange::Exchange;
use crate::freshness::{self, Terms};
use crate::policy::Policy;
use crate::ranges::parse_content_range;
use crate::refusal::Refusal;
use crate::targeted::{Governing, governing};
use crate::validation::has_validator;
use crate::vary::Vary;
use crate::{fields, groups, invalidation};

/// An exchange with what all rules ask about it.
pub(super) struct Case<'a> {
    exchange: &'a Exchange<'a>,
    policy: &'a Policy,
    pub(super) governing: Governing,
    /// The terms, and what the lifetime would rest on without the route's `ttl`: worked out when the first rule asks,
    /// for most refusals need neither.
    terms: OnceCell<(Terms, Basis)>,
}

impl<'a> Case<'a> {
    pub(super) fn of(exchange: &'a Exchange<'a>, policy: &'a Policy) -> Self {
        Self {
            exchange,
            policy,
            governing: governing(exchange.response, policy),
            terms: OnceCell::new(),
        }
    }

    /// The terms under which the response would be kept.
    pub(super) fn terms(&self) -> &Terms {
        &self.worked_out().0
    }

    fn basis(&self) -> Basis {
        self.worked_out().1
    }

    fn worked_out(&self) -> &(Terms, Basis) {
        let terms = || freshness::terms(self.exchange, &self.governing, self.policy);
        self.terms.get_or_init(terms)
    }
}

/// One reason for which a response is not stored.
pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) section: &'static str,
    /// What is refused, and why.
    refuses: fn(&Case<'_>) -> Option<Refusal>,
}

impl Rule {
    const fn new(
        name: &'static str,
        section: &'static str,
        refuses: fn(&Case<'_>) -> Option<Refusal>,
    ) -> Self {
        Self {
            name,
            section,
            refuses,
        }
    }

    pub(super) fn check(&self, case: &Case<'_>) -> Result<(), Refusal> {
        match (self.refuses)(case) {
            None => Ok(()),
            Some(refusal) => Err(refusal),
        }
    }
}

pub(super) const RULES: &[Rule] = &[
    Rule::new("method", "RFC 9111 §3, RFC 9110 §9.3.3", method),
    Rule::new("final-status", "RFC 9111 §3", final_status),
    Rule::new("must-understand", "RFC 9111 §5.2.2.3", must_understand),
    Rule::new("no-store", "RFC 9111 §5.2.2.5", no_store),
    Rule::new("private", "RFC 9111 §5.2.2.7", private),
    Rule::new("status", "RFC 9111 §4.2.2, RFC 9110 §15.1", status),
    Rule::new("status-ttl", "route: status_ttl", status_ttl),
    Rule::new("authorization", "RFC 9111 §3.5", authorization),
    Rule::new("request-no-store", "RFC 9111 §5.2.1.5", request_no_store),
    Rule::new("vary", "RFC 9111 §4.1", vary),
    Rule::new("partial-content", "RFC 9111 §3.3", partial_content),
    Rule::new("set-cookie", "RFC 9111 §7.3", set_cookie),
    Rule::new("deception", "route: deception_armour", deception),
    Rule::new("tags", "route: 256 tags at most", tags),
    Rule::new("usefulness", "RFC 9111 §3, §4.2.4", usefulness),
];

/// GET, and a POST that is answered with stated freshness and the target's own representation.
fn method(case: &Case<'_>) -> Option<Refusal> {
    let may_serve_get = match *case.exchange.method {
        Method::GET => true,
        // Only there `Content-Location` says whose representation it is (RFC 9110 §8.7).
        Method::POST => {
            case.basis().is_stated()
                && case.exchange.status.is_success()
                && describes_target(case.exchange)
        }
        _ => false,
    };
    (!may_serve_get).then_some(Refusal::Method)
}

/// Whether `Content-Location` is the target of the request.
fn describes_target(exchange: &Exchange<'_>) -> bool {
    let location = fields::only(exchange.response, &header::CONTENT_LOCATION);
    let Some(location) = location.and_then(|value| std::str::from_utf8(value).ok()) else {
        return false;
    };
    if location.starts_with('/') && !location.starts_with("//") {
        return location == exchange.path;
    }
    let Some(host) = fields::only(exchange.request, &header::HOST) else {
        return false;
    };
    let Some((scheme, rest)) = location.split_once("://") else {
        return false;
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = String::from_utf8_lossy(host);
    let same_authority =
        invalidation::origin(scheme, authority) == invalidation::origin(scheme, &host);
    // An empty path is "/", also before a query (RFC 9110 §4.2.3).
    let target = if path.starts_with('/') {
        exchange.path
    } else {
        exchange.path.strip_prefix('/').unwrap_or(exchange.path)
    };
    same_authority && path == target
}

/// The status is final, and no answer to the request's own conditions.
fn final_status(case: &Case<'_>) -> Option<Refusal> {
    let status = case.exchange.status;
    let is_conditional = [header::IF_MATCH, header::IF_UNMODIFIED_SINCE]
        .iter()
        .any(|name| case.exchange.request.contains_key(name));
    let is_final = !status.is_informational()
        && status != StatusCode::NOT_MODIFIED
        && (status != StatusCode::PRECONDITION_FAILED || !is_conditional);
    (!is_final).then_some(Refusal::Status)
}

fn must_understand(case: &Case<'_>) -> Option<Refusal> {
    let lost = case.governing.directives.must_understand && !is_understood(case.exchange.status);
    lost.then_some(Refusal::UnknownMustUnderstand)
}

/// The final statuses whose caching behaviour RFC 9110 §15 defines.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=206 | 300..=303 | 305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505
    )
}

/// Beside `must-understand`, `no-store` is for caches that do not know the status (RFC 9111 §5.2.2.3).
fn no_store(case: &Case<'_>) -> Option<Refusal> {
    let directives = &case.governing.directives;
    (directives.no_store && !directives.must_understand).then_some(Refusal::NoStore)
}

fn private(case: &Case<'_>) -> Option<Refusal> {
    case.governing
        .directives
        .private
        .then_some(Refusal::Private)
}

/// Without a lifetime of its own a response may be stored only if its status allows to assume one.
fn status(case: &Case<'_>) -> Option<Refusal> {
    let has_lifetime = case.basis().is_stated() || case.basis() == Basis::StatusTtl;
    let assumed = freshness::may_be_assumed_fresh(case.exchange.status, &case.governing.directives);
    (!has_lifetime && !assumed).then_some(Refusal::Status)
}

/// A response of a status to which the route gives no time at all is not kept to be validated either, unless the route
/// gives time to every response.
fn status_ttl(case: &Case<'_>) -> Option<Refusal> {
    let is_none = case.policy.ttl_of(case.exchange.status) == Some(Duration::ZERO);
    let rests_on_it = case.terms().basis == Basis::StatusTtl;
    (rests_on_it && is_none).then_some(Refusal::StatusTtl)
}

/// The response says that it may be shared though its request had `Authorization`.
fn authorization(case: &Case<'_>) -> Option<Refusal> {
    let directives = &case.governing.directives;
    let shareable = directives.public
        || directives.must_revalidate
        || matches!(directives.s_maxage, Some(Seconds::Valid(_)));
    let authorized = case.exchange.request.contains_key(header::AUTHORIZATION);
    (authorized && !shareable).then_some(Refusal::Authorization)
}

fn request_no_store(case: &Case<'_>) -> Option<Refusal> {
    let unwanted = case.policy.honour_request_directives
        && RequestDirectives::of(case.exchange.request).no_store;
    unwanted.then_some(Refusal::RequestNoStore)
}

fn vary(case: &Case<'_>) -> Option<Refusal> {
    Vary::of(case.exchange.response, case.exchange.request).err()
}

/// A 206 is kept only if it is the single, well-described part that was asked for; a 416 answers the range, not the
/// resource.
fn partial_content(case: &Case<'_>) -> Option<Refusal> {
    let exchange = case.exchange;
    let ranged = exchange.request.contains_key(header::RANGE);
    let whole = match exchange.status {
        StatusCode::PARTIAL_CONTENT => {
            let mut lines = exchange.response.get_all(header::CONTENT_RANGE).iter();
            let described = lines.next().and_then(parse_content_range).is_some();
            ranged && described && lines.next().is_none()
        }
        StatusCode::RANGE_NOT_SATISFIABLE => !ranged,
        _ => true,
    };
    (!whole).then_some(Refusal::PartialContent)
}

/// A cookie is mostly meant for one client. It is shared only by a response that says itself that it is fresh, and only
/// where the route allows it.
fn set_cookie(case: &Case<'_>) -> Option<Refusal> {
    if !case.exchange.response.contains_key(header::SET_COOKIE) {
        return None;
    }
    let shared = case.policy.store_set_cookie
        && freshness::is_explicitly_fresh(case.exchange, &case.governing, case.policy);
    (!shared).then_some(Refusal::SetCookie)
}

fn deception(case: &Case<'_>) -> Option<Refusal> {
    let deceptive =
        case.policy.deception_armour && is_deceptive(case.exchange.path, case.exchange.response);
    deceptive.then_some(Refusal::Deception)
}

fn tags(case: &Case<'_>) -> Option<Refusal> {
    // Which origin the groups are bound to makes no difference to their number.
    let count = groups::tags("", "", case.exchange.response).len();
    (count > case.policy.max_tags).then_some(Refusal::TooManyTags)
}

/// A response that cannot be validated, and that is past all use the moment it arrives, is not worth keeping. A client
/// may still accept a stale one by `max-stale` where that is heeded.
fn usefulness(case: &Case<'_>) -> Option<Refusal> {
    let terms = &case.terms();
    let acceptable_stale = case.policy.honour_request_directives
        && case.basis().is_stated()
        && !terms.must_revalidate
        && !terms.always_validate;
    let usable = !terms.always_validate && terms.useless_after(false) > case.exchange.received_at;
    let useful = usable || acceptable_stale || has_validator(case.exchange.response);
    (!useful).then_some(Refusal::NotFreshNorValidatable)
}
