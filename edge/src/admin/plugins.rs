//! What administration tells of plugins, and how it has them reloaded.

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;

use super::{Admin, refused, text};
use crate::body::Body;
use crate::error::{Failure, problem_with};
use crate::wasm::{Kept, Listed, ReloadError, Reloaded};

const LIST: &str = "/plugins";
const RELOAD: &str = "/reload";

/// What a path asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Wanted {
    List,
    ReloadAll,
    Reload(String),
}

/// The answer to a list.
#[derive(Serialize)]
struct List {
    plugins: Vec<Listed>,
}

/// The answer to a reload: what was good, and, with a problem, what was not.
#[derive(Serialize)]
struct Done {
    plugins: Vec<Reloaded>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kept: Vec<Kept>,
}

impl Wanted {
    /// What `/plugins`, `/plugins/reload` or `/plugins/NAME/reload` asks for; none for other paths.
    pub(super) fn by(path: &str) -> Option<Wanted> {
        let rest = path.strip_prefix(LIST)?;
        match rest {
            "" => return Some(Wanted::List),
            RELOAD => return Some(Wanted::ReloadAll),
            _ => {}
        }
        let name = rest.strip_prefix('/')?.strip_suffix(RELOAD)?;
        let is_segment = !name.is_empty() && !name.contains('/');
        is_segment.then(|| Wanted::Reload(decoded(name)))
    }
}

/// A segment of a path, as it was meant (RFC 3986 §2.1).
fn decoded(segment: &str) -> String {
    // What means something in forms means itself in a path.
    let plain = [('+', "%2B"), ('&', "%26"), ('=', "%3D")];
    let segment = plain
        .into_iter()
        .fold(segment.to_owned(), |text, (mark, escaped)| {
            text.replace(mark, escaped)
        });
    let mut parts = form_urlencoded::parse(segment.as_bytes());
    parts
        .next()
        .map_or_else(String::new, |(name, _)| name.into_owned())
}

impl Admin {
    /// Lists plugins, or reloads them.
    pub(super) async fn plugins(
        &self,
        request: &Request<Incoming>,
        wanted: Wanted,
    ) -> Response<Body> {
        if !self.is_allowed(request) {
            let failure = Failure::Unauthorized("plugins need the admin token");
            return failure.into_response(&self.name);
        }
        match (&wanted, request.method()) {
            (Wanted::List, &Method::GET | &Method::HEAD) => json(&List {
                plugins: self.roster.list(),
            }),
            (Wanted::List, _) => refused(StatusCode::METHOD_NOT_ALLOWED, "use GET"),
            (_, &Method::POST) => self.reload(wanted).await,
            _ => refused(StatusCode::METHOD_NOT_ALLOWED, "use POST"),
        }
    }

    /// Reloads on a thread of its own: compiling takes long. An edge that stops does not wait for it.
    async fn reload(&self, wanted: Wanted) -> Response<Body> {
        let mut draining = self.draining.clone();
        let roster = Arc::clone(&self.roster);
        let reload = tokio::task::spawn_blocking(move || match wanted {
            Wanted::Reload(name) => vec![roster.reload(&name)],
            Wanted::List | Wanted::ReloadAll => roster.reload_all(),
        });
        tokio::select! {
            biased;
            _ = draining.wait_for(|drain| *drain) => {
                refused(StatusCode::SERVICE_UNAVAILABLE, "this edge stops")
            }
            outcomes = reload => match outcomes {
                Ok(outcomes) => told(outcomes),
                Err(_) => refused(StatusCode::INTERNAL_SERVER_ERROR, "reloading broke off"),
            },
        }
    }
}

/// All that was reloaded; where something was not, that as well, and why.
fn told(outcomes: Vec<Result<Reloaded, ReloadError>>) -> Response<Body> {
    let (mut plugins, mut kept) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Ok(reloaded) => plugins.push(reloaded),
            Err(ReloadError::Refused(plugin)) => kept.push(plugin),
            // There is no other outcome then: it was asked for by its name.
            Err(error @ ReloadError::Unknown(_)) => {
                return refused(StatusCode::NOT_FOUND, &error.to_string());
            }
        }
    }
    if kept.is_empty() {
        return json(&Done { plugins, kept });
    }
    let reasons: Vec<_> = kept.iter().map(|kept| kept.reason.as_str()).collect();
    let detail = reasons.join("; ");
    let members = match serde_json::to_value(Done { plugins, kept }) {
        Ok(serde_json::Value::Object(members)) => members,
        _ => serde_json::Map::new(),
    };
    problem_with(StatusCode::UNPROCESSABLE_ENTITY, &detail, members)
}

fn json(value: &impl Serialize) -> Response<Body> {
    let json = serde_json::to_string(value).expect("texts and numbers alone");
    text("application/json", json)
}

#[cfg(test)]
mod tests {
    use super::Wanted;

    #[test]
    fn a_path_says_what_is_wanted() {
        let reload = |name: &str| Some(Wanted::Reload(name.to_owned()));
        for (path, expected) in [
            ("/plugins", Some(Wanted::List)),
            ("/plugins/reload", Some(Wanted::ReloadAll)),
            ("/plugins/mine/reload", reload("mine")),
            ("/plugins/reload/reload", reload("reload")),
            ("/plugins/a%2Fb%20c+d=e&f/reload", reload("a/b c+d=e&f")),
            ("/plugins/", None),
            ("/plugins/mine", None),
            ("/plugins//reload", None),
            ("/plugins/a/b/reload", None),
            ("/pluginsreload", None),
            ("/plugins/mine/reload/", None),
        ] {
            assert_eq!(Wanted::by(path), expected, "{path}");
        }
    }
}
