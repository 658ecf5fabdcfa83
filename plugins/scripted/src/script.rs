//! What a configuration says is to be done, for both worlds.

use serde::Deserialize;
use tidegate_sdk::{Hooks, Refusal, delivery};

/// The steps of each hook, done in their order.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Script {
    pub on_request: Vec<Step>,
    pub on_origin_response: Vec<Step>,
    pub on_response: Vec<Step>,
    /// Has no hooks but those that have steps.
    pub lean: bool,
    /// Purges this tag while the configuration is read, and refuses it with what came of that.
    pub purge_in_configure: Option<String>,
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(config: &str) -> Result<Script, String> {
        let script: Script = tidegate_sdk::from_json(config)?;
        match script.purge_in_configure {
            Some(tag) => Err(purge(tag)),
            None => Ok(script),
        }
    }

    /// The hooks that the filter has.
    pub fn hooks(&self) -> Hooks {
        let all = [
            (&self.on_request, Hooks::ON_REQUEST),
            (&self.on_origin_response, Hooks::ON_ORIGIN_RESPONSE),
            (&self.on_response, Hooks::ON_RESPONSE),
        ];
        let has = all.into_iter();
        let has = has.filter(|(steps, _)| !self.lean || !steps.is_empty());
        has.fold(Hooks::empty(), |has, (_, hook)| has | hook)
    }
}

/// One step. A value that begins with `$` is that of the request's field of that name; where the
/// request has none, the step is left out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Step {
    Set(String, String),
    Append(String, String),
    Remove(String),
    /// The same for the response to come.
    DeliverSet(String, String),
    DeliverAppend(String, String),
    DeliverRemove(String),
    Path(String),
    Key(String),
    Bypass,
    Policy(Lifetimes),
    Origin(String),
    Respond(u16),
    Status(u16),
    Ttl(u32),
    StaleWhileRevalidate(u32),
    StaleIfError(u32),
    Tag(String),
    Refuse,
    /// Purges the tag, and tells in this field what came of it.
    Purge(String, String),
}

/// As `cache-policy` of the worlds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lifetimes {
    pub ttl: Option<u32>,
    pub default_ttl: Option<u32>,
    pub stale_while_revalidate: Option<u32>,
    pub stale_if_error: Option<u32>,
    pub honour_request_directives: Option<bool>,
}

impl From<&Lifetimes> for tidegate_sdk::CachePolicy {
    fn from(lifetimes: &Lifetimes) -> tidegate_sdk::CachePolicy {
        tidegate_sdk::CachePolicy {
            ttl: lifetimes.ttl,
            default_ttl: lifetimes.default_ttl,
            stale_while_revalidate: lifetimes.stale_while_revalidate,
            stale_if_error: lifetimes.stale_if_error,
            honour_request_directives: lifetimes.honour_request_directives,
        }
    }
}

/// A step's value: as it is written, or that of the request's field, which `field` finds.
pub fn value(written: &str, field: impl FnOnce(&str) -> Option<Vec<u8>>) -> Option<String> {
    match written.strip_prefix('$') {
        None => Some(written.to_owned()),
        Some(name) => field(name).and_then(|value| String::from_utf8(value).ok()),
    }
}

/// A step that says something of the response to come; `value` is what it writes.
pub fn deliver(step: &Step, value: impl Fn(&str) -> Option<String>) -> Option<Result<(), Refusal>> {
    match step {
        Step::DeliverSet(name, written) => {
            value(written).map(|value| delivery::set_header(name, value.as_bytes()))
        }
        Step::DeliverAppend(name, written) => {
            value(written).map(|value| delivery::append_header(name, value.as_bytes()))
        }
        Step::DeliverRemove(name) => Some(delivery::remove_header(name)),
        _ => None,
    }
}

/// What came of a purge.
pub fn purge(tag: String) -> String {
    let order = tidegate_sdk::purge::Order {
        tags: vec![tag],
        urls: vec![],
        soft: false,
    };
    match tidegate_sdk::purge::purge(&order) {
        Ok(position) => format!("ok {position}"),
        Err(reason) => format!("error {reason}"),
    }
}
