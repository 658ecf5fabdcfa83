//! An origin that answers as a scenario says, and remembers what it was asked.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::scenario::Answer;

/// What the origin answers where the scenario says nothing.
const SILENT: &str = "the scenario has no answer for this path\n";

/// A running origin.
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    answers: BTreeMap<String, Answer>,
    asked: Vec<Asked>,
}

/// A request as it reached the origin.
#[derive(Clone)]
pub(super) struct Asked {
    /// The path with the query.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
}

impl Origin {
    /// Starts one on this machine.
    ///
    /// # Errors
    /// When it cannot listen.
    pub(super) async fn start() -> std::io::Result<Origin> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let script = Arc::new(Mutex::new(Script::default()));
        let shared = Arc::clone(&script);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let script = Arc::clone(&shared);
                let answer = service_fn(move |request| {
                    let response = answer(&script, &request);
                    async { Ok::<_, Infallible>(response) }
                });
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
                // A connection that breaks is the edge's to report.
                tokio::spawn(async { drop(connection.await) });
            }
        });
        Ok(Origin { address, script })
    }

    /// Answers so from now on; what is not named stays as it was.
    pub(super) fn answers(&self, answers: &BTreeMap<String, Answer>) {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        for (path, answer) in answers {
            script.answers.insert(path.clone(), answer.clone());
        }
    }

    /// What it was asked since it was last looked at.
    pub(super) fn asked(&self) -> Vec<Asked> {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut script.asked)
    }
}

fn answer(script: &Mutex<Script>, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
    let path = request.uri().path_and_query();
    script.asked.push(Asked {
        path: path.map_or("/", |path| path.as_str()).to_owned(),
        headers: request.headers().clone(),
    });
    let answers = &script.answers;
    let answer = answers
        .get(request.uri().path())
        .or_else(|| answers.get("*"));
    let mut response = Response::new(Full::from(SILENT));
    let Some(answer) = answer else {
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    *response.body_mut() = Full::from(answer.body.clone());
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    for (name, values) in &answer.headers {
        for value in values.values() {
            // Checked when the scenario was read.
            if let (Ok(name), Ok(value)) = (
                http::HeaderName::try_from(name),
                http::HeaderValue::try_from(value),
            ) {
                response.headers_mut().append(name, value);
            }
        }
    }
    response
}
