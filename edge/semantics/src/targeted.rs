//! Which field governs this cache: a targeted one (RFC 9213), `Surrogate-Control`, or `Cache-Control`.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use crate::directives::{Argument, Directives, Seconds, delta_seconds};
use crate::fields;
use crate::policy::Policy;

const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");

/// The directives that govern a response, and whether they replace `Expires` too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Governing {
    pub directives: Directives,
    /// The field they come from.
    pub field: HeaderName,
    /// They come from a field addressed to caches like this one: `Cache-Control` and `Expires` are not looked at.
    pub targeted: bool,
}

/// The first usable field of the policy's target list (RFC 9213 §2.2), else a `Surrogate-Control` that speaks of storing
/// or freshness, else `Cache-Control`.
///
/// A targeted field is used whole or not at all: one that is empty, that does not parse as a Structured Field
/// dictionary, or in which a directive we know has a value of the wrong type is passed over (RFC 9213 §2.1).
#[must_use]
pub fn governing(response: &HeaderMap, policy: &Policy) -> Governing {
    let targeted = policy
        .targets
        .iter()
        .find_map(|target| dictionary(response, target));
    match targeted.or_else(|| surrogate_control(response)) {
        Some((field, directives)) => Governing {
            directives,
            field,
            targeted: true,
        },
        None => Governing {
            directives: Directives::of(response),
            field: CACHE_CONTROL,
            targeted: false,
        },
    }
}

/// The fields that [`governing`] looks at.
pub(crate) fn may_govern(policy: &Policy) -> impl Iterator<Item = &HeaderName> {
    static OTHERS: [HeaderName; 2] = [SURROGATE_CONTROL, CACHE_CONTROL];
    policy.targets.iter().chain(&OTHERS)
}

fn dictionary(response: &HeaderMap, target: &HeaderName) -> Option<(HeaderName, Directives)> {
    let value = fields::combined(response, target)?;
    let dictionary: Dictionary = Parser::new(&value).parse().ok()?;
    if dictionary.is_empty() {
        return None;
    }
    let mut directives = Directives::default();
    for (key, member) in &dictionary {
        let key = key.as_str();
        match argument(key, member)? {
            Some(argument) => directives.apply(key.as_bytes(), &argument),
            None => continue,
        }
    }
    Some((target.clone(), directives))
}

/// A member's value in the terms of `Cache-Control` (RFC 9213 §2.1). `None` when the type is wrong for the directive,
/// `Some(None)` when the member says nothing: an extension, or a directive set to false.
fn argument<'a>(name: &str, member: &'a ListEntry) -> Option<Option<Argument<'a>>> {
    let value = match member {
        ListEntry::Item(item) => Some(&item.bare_item),
        ListEntry::InnerList(_) => None,
    };
    match name {
        "max-age" | "s-maxage" | "stale-while-revalidate" | "stale-if-error" => match value {
            Some(BareItem::Integer(seconds)) => Some(Some(Argument::Value(Cow::Owned(
                seconds.to_string().into_bytes(),
            )))),
            _ => None,
        },
        "no-store" | "must-revalidate" | "proxy-revalidate" | "public" | "must-understand" => {
            match value {
                Some(BareItem::Boolean(set)) => Some(set.then_some(Argument::Absent)),
                _ => None,
            }
        }
        "no-cache" | "private" => match value {
            Some(BareItem::Boolean(set)) => Some(set.then_some(Argument::Absent)),
            Some(BareItem::String(names)) => Some(Some(Argument::Value(Cow::Borrowed(
                names.as_str().as_bytes(),
            )))),
            Some(BareItem::Token(name)) => Some(Some(Argument::Value(Cow::Borrowed(
                name.as_str().as_bytes(),
            )))),
            _ => None,
        },
        _ => Some(None),
    }
}

/// `Surrogate-Control` (Edge Architecture, 2001): directives as in `Cache-Control`, where `max-age=60+30` adds thirty
/// seconds of staleness during revalidation. One that only announces capabilities does not govern.
fn surrogate_control(response: &HeaderMap) -> Option<(HeaderName, Directives)> {
    if !response.contains_key(&SURROGATE_CONTROL) {
        return None;
    }
    let mut directives = Directives::of_field(response, &SURROGATE_CONTROL);
    if directives.max_age == Some(Seconds::Invalid)
        && let Some((fresh, stale)) = fresh_and_stale(response)
    {
        directives.max_age = Some(Seconds::Valid(fresh));
        directives
            .stale_while_revalidate
            .get_or_insert(Seconds::Valid(stale));
    }
    let governs = directives.max_age.is_some() || directives.no_store || directives.private;
    governs.then_some((SURROGATE_CONTROL, directives))
}

/// The two numbers of the first `max-age=60+30`.
fn fresh_and_stale(response: &HeaderMap) -> Option<(Duration, Duration)> {
    let member = fields::list(response, &SURROGATE_CONTROL)
        .find(|member| member.len() > 8 && member[..8].eq_ignore_ascii_case(b"max-age="))?;
    let value = &member[8..];
    let plus = value.iter().position(|byte| *byte == b'+')?;
    Some((
        delta_seconds(&value[..plus])?,
        delta_seconds(&value[plus + 1..])?,
    ))
}
