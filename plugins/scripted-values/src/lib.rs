//! The fixture `scripted` in the by-value world: the same configuration, the same steps, returned as
//! decisions. A step that is refused is a failure of the filter.

#[path = "../../scripted/src/script.rs"]
mod script;

use script::{Script, Step, deliver, purge, value};
use tidegate_sdk::values::{
    Decision, HeaderChange, OriginDecision, RequestHead, ResponseDecision, ResponseHead,
    ValueFilter, no_changes, unchanged, unchanged_by_origin,
};
use tidegate_sdk::{Hooks, Reply, value_filter};

/// The filter: its script.
#[derive(Clone, Debug)]
pub struct Scripted(Script);

impl ValueFilter for Scripted {
    fn hooks(&self) -> Hooks {
        self.0.hooks()
    }

    fn new(config: &str) -> Result<Scripted, String> {
        Script::read(config).map(Scripted)
    }

    fn on_request(&mut self, request: RequestHead) -> Decision {
        let value = |written: &str| {
            value(written, |wanted| {
                let mut fields = request.headers.iter();
                let found = fields.find(|(name, _)| name == wanted);
                found.map(|(_, value)| value.clone())
            })
        };
        let mut changes = no_changes();
        for step in &self.0.on_request {
            match step {
                Step::Set(name, written) => {
                    let set = value(written).map(|value| set(name, &value));
                    changes.headers.extend(set);
                }
                Step::Path(path) => changes.path_and_query = Some(path.clone()),
                Step::Key(written) => changes.cache_key.extend(value(written)),
                Step::Bypass => changes.bypass_cache = true,
                Step::Policy(lifetimes) => changes.cache_policy = Some(lifetimes.into()),
                Step::Origin(written) => changes.origin = value(written),
                Step::Respond(status) => {
                    return Decision::Respond(Reply {
                        status: *status,
                        headers: vec![],
                        body: vec![],
                    });
                }
                Step::Purge(tag, field) => changes.headers.push(set(field, &purge(tag.clone()))),
                Step::DeliverSet(..) | Step::DeliverAppend(..) | Step::DeliverRemove(_) => {
                    let _ = deliver(step, value);
                }
                step => changes.headers.extend(change(step)),
            }
        }
        Decision::Change(changes)
    }

    fn on_origin_response(&mut self, _: RequestHead, _: ResponseHead) -> OriginDecision {
        let mut decision = unchanged_by_origin();
        for step in &self.0.on_origin_response {
            match step {
                Step::Status(status) => decision.status = Some(*status),
                Step::Ttl(seconds) => decision.ttl = Some(*seconds),
                Step::StaleWhileRevalidate(seconds) => {
                    decision.stale_while_revalidate = Some(*seconds);
                }
                Step::StaleIfError(seconds) => decision.stale_if_error = Some(*seconds),
                Step::Tag(tag) => decision.tags.push(tag.clone()),
                Step::Refuse => decision.refuse = true,
                step => decision.headers.extend(change(step)),
            }
        }
        decision
    }

    fn on_response(&mut self, _: RequestHead, _: ResponseHead) -> ResponseDecision {
        let mut decision = unchanged();
        for step in &self.0.on_response {
            match step {
                Step::Status(status) => decision.status = Some(*status),
                step => decision.headers.extend(change(step)),
            }
        }
        decision
    }
}

/// A step over the fields of a message.
fn change(step: &Step) -> Option<HeaderChange> {
    match step {
        Step::Set(name, value) => Some(set(name, value)),
        Step::Append(name, value) => {
            let value = value.clone().into_bytes();
            Some(HeaderChange::Append((name.clone(), value)))
        }
        Step::Remove(name) => Some(HeaderChange::Remove(name.clone())),
        _ => None,
    }
}

fn set(name: &str, value: &str) -> HeaderChange {
    HeaderChange::Set((name.to_owned(), value.as_bytes().to_vec()))
}

value_filter!(Scripted);
