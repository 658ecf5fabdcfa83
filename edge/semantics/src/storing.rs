//! Whether a response may be stored, and under which terms (RFC 9111 §3).

use std::time::Duration;

use http::header::{self, HeaderMap};
use http::{Method, StatusCode};

pub use crate::exchange::Exchange;
pub use crate::refusal::Refusal;

use crate::basis::Basis;
use crate::deception::is_deceptive;
use crate::directives::{Directives, RequestDirectives, Seconds};
use crate::freshness::{self, Terms};
use crate::groups;
use crate::policy::Policy;
use crate::ranges::parse_content_range;
use crate::targeted::{Governing, governing};
use crate::validation::has_validator;
use crate::vary::Vary;
use crate::{fields, invalidation};

/// Whether a response may be stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Storable {
    Keep(Terms),
    Refuse(Refusal),
}

/// Whether the response of `exchange` may be stored, and under which terms.
#[must_use]
pub fn storable(exchange: &Exchange<'_>, policy: &Policy) -> Storable {
    match judge(exchange, policy) {
        Ok(terms) => Storable::Keep(terms),
        Err(refusal) => Storable::Refuse(refusal),
    }
}

/// The fields of a response that are stored: all but the hop-by-hop ones and those that `no-cache="…"` withholds from
/// whoever comes later (RFC 9111 §3.1, §5.2.2.4).
#[must_use]
pub fn stored_fields(response: &HeaderMap, policy: &Policy) -> HeaderMap {
    let mut stored = response.clone();
    fields::strip_hop_by_hop(&mut stored);
    for name in governing(response, policy).directives.withheld {
        stored.remove(name);
    }
    stored
}

fn judge(exchange: &Exchange<'_>, policy: &Policy) -> Result<Terms, Refusal> {
    let governing = governing(exchange.response, policy);
    let directives = &governing.directives;
    let (terms, basis) = freshness::terms(exchange, &governing, policy);
    method(exchange, basis)?;
    status(exchange, directives, basis)?;
    status_ttl(exchange, directives, basis, policy)?;
    sharing(exchange, directives)?;
    if policy.honour_request_directives && RequestDirectives::of(exchange.request).no_store {
        return Err(Refusal::RequestNoStore);
    }
    Vary::of(exchange.response, exchange.request)?;
    completeness(exchange)?;
    cookies(exchange, &governing, policy)?;
    route(exchange, policy)?;
    usefulness(exchange, &terms, basis, policy)?;
    Ok(terms)
}

/// GET, and a POST that is answered with stated freshness and the target's own representation (RFC 9110 §9.3.3).
fn method(exchange: &Exchange<'_>, basis: Basis) -> Result<(), Refusal> {
    let may_serve_get = match *exchange.method {
        Method::GET => true,
        Method::POST => basis.is_stated() && describes_target(exchange),
        _ => false,
    };
    if may_serve_get {
        Ok(())
    } else {
        Err(Refusal::Method)
    }
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

/// The status is final, is no answer to conditions, is understood where that is asked for, and may be stored without
/// stated freshness if there is none (RFC 9111 §3). `must-understand` and `no-store` belong together (§5.2.2.3).
fn status(exchange: &Exchange<'_>, directives: &Directives, basis: Basis) -> Result<(), Refusal> {
    let status = exchange.status;
    if status.is_informational()
        || matches!(
            status,
            StatusCode::NOT_MODIFIED | StatusCode::PRECONDITION_FAILED
        )
    {
        return Err(Refusal::Status);
    }
    if directives.must_understand {
        if !is_understood(status) {
            return Err(Refusal::UnknownMustUnderstand);
        }
    } else if directives.no_store {
        return Err(Refusal::NoStore);
    }
    let has_lifetime = basis.is_stated() || basis == Basis::StatusTtl;
    if !has_lifetime && !freshness::may_be_assumed_fresh(status, directives) {
        // Named after what was asked for: a `private` error is refused for being private.
        return Err(if directives.private {
            Refusal::Private
        } else {
            Refusal::Status
        });
    }
    Ok(())
}

/// A response of a status to which the route gives no time at all is not kept to be validated either, unless the route
/// gives time to every response.
fn status_ttl(
    exchange: &Exchange<'_>,
    directives: &Directives,
    basis: Basis,
    policy: &Policy,
) -> Result<(), Refusal> {
    let none = basis == Basis::StatusTtl && policy.ttl_of(exchange.status) == Some(Duration::ZERO);
    let overridden = policy.ttl.is_some()
        && !freshness::is_kept_for_its_status(exchange.status, directives, basis);
    if none && !overridden && !directives.private {
        Err(Refusal::StatusTtl)
    } else {
        Ok(())
    }
}

/// The final statuses whose caching behaviour RFC 9110 §15 defines.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=206 | 300..=303 | 305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505
    )
}

/// What a shared cache must keep its hands off (RFC 9111 §3, §3.5).
fn sharing(exchange: &Exchange<'_>, directives: &Directives) -> Result<(), Refusal> {
    if directives.private {
        return Err(Refusal::Private);
    }
    let shareable = directives.public
        || directives.must_revalidate
        || matches!(directives.s_maxage, Some(Seconds::Valid(_)));
    if exchange.request.contains_key(header::AUTHORIZATION) && !shareable {
        return Err(Refusal::Authorization);
    }
    Ok(())
}

/// A 206 is kept only if it is the single, well-described part that was asked for (RFC 9111 §3.3); a 416 answers the
/// range, not the resource.
fn completeness(exchange: &Exchange<'_>) -> Result<(), Refusal> {
    let ranged = exchange.request.contains_key(header::RANGE);
    match exchange.status {
        StatusCode::PARTIAL_CONTENT => {
            let mut lines = exchange.response.get_all(header::CONTENT_RANGE).iter();
            let described = lines.next().and_then(parse_content_range).is_some();
            if ranged && described && lines.next().is_none() {
                Ok(())
            } else {
                Err(Refusal::PartialContent)
            }
        }
        StatusCode::RANGE_NOT_SATISFIABLE if ranged => Err(Refusal::PartialContent),
        _ => Ok(()),
    }
}

/// A cookie is mostly meant for one client. It is shared only by a response that says itself that it is fresh, and only
/// where the route allows it (RFC 9111 §7.3).
fn cookies(exchange: &Exchange<'_>, governing: &Governing, policy: &Policy) -> Result<(), Refusal> {
    if !exchange.response.contains_key(header::SET_COOKIE) {
        return Ok(());
    }
    if policy.store_set_cookie && freshness::is_explicitly_fresh(exchange, governing, policy) {
        Ok(())
    } else {
        Err(Refusal::SetCookie)
    }
}

/// The route's own conditions.
fn route(exchange: &Exchange<'_>, policy: &Policy) -> Result<(), Refusal> {
    if policy.deception_armour && is_deceptive(exchange.path, exchange.response) {
        return Err(Refusal::Deception);
    }
    // Which origin the groups are bound to makes no difference to their number.
    if groups::tags("", "", exchange.response).len() > policy.max_tags {
        return Err(Refusal::TooManyTags);
    }
    Ok(())
}

/// A response that cannot be validated, and that is past all use the moment it arrives, is not worth keeping. A client
/// may still accept a stale one by `max-stale` where that is heeded.
fn usefulness(
    exchange: &Exchange<'_>,
    terms: &Terms,
    basis: Basis,
    policy: &Policy,
) -> Result<(), Refusal> {
    if has_validator(exchange.response) {
        return Ok(());
    }
    let acceptable_stale = policy.honour_request_directives
        && basis.is_stated()
        && !terms.must_revalidate
        && !terms.always_validate;
    let usable = !terms.always_validate && terms.useless_after(false) > exchange.received_at;
    if usable || acceptable_stale {
        Ok(())
    } else {
        Err(Refusal::NotFreshNorValidatable)
    }
}
