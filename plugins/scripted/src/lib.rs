//! A fixture that does what its configuration says, step by step, so that a test says in one place
//! what a filter does and what comes of it.
//!
//! A step that is refused is told in the field `x-refused` of the message that the hook is about.

mod script;

use std::rc::Rc;

use script::{Script, Step, deliver, purge, value};
use tidegate_sdk::{Filter, Flow, Hooks, Refusal, Reply, Request, Response, Storing, filter};

/// The filter: its script.
#[derive(Clone, Debug)]
pub struct Scripted(Rc<Script>);

impl Filter for Scripted {
    fn hooks(&self) -> Hooks {
        self.0.hooks()
    }

    fn new(config: &str) -> Result<Scripted, String> {
        Script::read(config).map(Rc::new).map(Scripted)
    }

    fn on_request(&mut self, request: &Request) -> Flow {
        let value = |written: &str| value(written, |name| request.header(name));
        for step in &self.0.on_request {
            let refused = match step {
                Step::Set(name, written) => {
                    value(written).map(|value| request.set_header(name, value.as_bytes()))
                }
                Step::Append(name, written) => {
                    value(written).map(|value| request.append_header(name, value.as_bytes()))
                }
                Step::Remove(name) => Some(request.remove_header(name)),
                Step::Path(path) => Some(request.set_path_and_query(path)),
                Step::Key(written) => value(written).map(|part| request.append_cache_key(&part)),
                Step::Bypass => Some(request.bypass_cache()),
                Step::Policy(lifetimes) => Some(request.set_cache_policy(lifetimes.into())),
                Step::Origin(written) => value(written).map(|name| request.use_origin(&name)),
                Step::Respond(status) => {
                    return Flow::Respond(Reply {
                        status: *status,
                        headers: vec![],
                        body: vec![],
                    });
                }
                Step::Purge(tag, field) => {
                    Some(request.set_header(field, purge(tag.clone()).as_bytes()))
                }
                step => deliver(step, value),
            };
            if let Some(Err(refusal)) = refused {
                let _ = request.append_header("x-refused", name(refusal));
            }
        }
        Flow::Continue
    }

    fn on_origin_response(&mut self, request: &Request, response: &Response, storing: &Storing) {
        for step in &self.0.on_origin_response {
            let refused = match step {
                Step::Ttl(seconds) => {
                    storing.set_ttl(*seconds);
                    Ok(())
                }
                Step::StaleWhileRevalidate(seconds) => {
                    storing.set_stale_while_revalidate(*seconds);
                    Ok(())
                }
                Step::StaleIfError(seconds) => {
                    storing.set_stale_if_error(*seconds);
                    Ok(())
                }
                Step::Tag(tag) => storing.add_tag(tag),
                Step::Refuse => {
                    storing.refuse();
                    Ok(())
                }
                // Too late for both.
                Step::Policy(lifetimes) => request.set_cache_policy(lifetimes.into()),
                Step::Origin(name) => request.use_origin(name),
                step => change(step, response),
            };
            tell(refused, response);
        }
    }

    fn on_response(&mut self, _: &Request, response: &Response) {
        for step in &self.0.on_response {
            tell(change(step, response), response);
        }
    }
}

/// A step over a response.
fn change(step: &Step, response: &Response) -> Result<(), Refusal> {
    match step {
        Step::Set(name, value) => response.set_header(name, value.as_bytes()),
        Step::Append(name, value) => response.append_header(name, value.as_bytes()),
        Step::Remove(name) => response.remove_header(name),
        Step::Status(status) => response.set_status(*status),
        // Too late for it.
        step => deliver(step, |written| Some(written.to_owned())).unwrap_or(Ok(())),
    }
}

fn tell(refused: Result<(), Refusal>, response: &Response) {
    if let Err(refusal) = refused {
        let _ = response.append_header("x-refused", name(refusal));
    }
}

fn name(refusal: Refusal) -> &'static [u8] {
    match refusal {
        Refusal::InvalidName => b"invalid-name",
        Refusal::InvalidValue => b"invalid-value",
        Refusal::Forbidden => b"forbidden",
        Refusal::TooLarge => b"too-large",
        Refusal::TooLate => b"too-late",
    }
}

filter!(Scripted);
