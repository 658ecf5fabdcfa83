//! An edge's administration, as seen from outside: where it is, the token it asks for, and what is asked of it here.

use std::time::Duration;

use http::request::Builder;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::failure::Failure;

/// An edge waits for its log, or for the origin that it explains, and then answers at once.
const DEADLINE: Duration = Duration::from_secs(30);
/// A receipt is short, and a list of purges not long; whoever sends more is not an edge.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// The admin listener of one edge.
pub(crate) struct Admin {
    base: Uri,
    token: Option<String>,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Admin {
    /// `address` is `http://host:port`, or `host:port` alone.
    ///
    /// # Errors
    /// A message, when it is neither.
    pub(crate) fn at(address: &str, token: Option<String>) -> Result<Admin, String> {
        let base = address.trim_end_matches('/');
        let base = if base.contains("://") {
            base.to_owned()
        } else {
            format!("http://{base}")
        };
        let base: Uri = base
            .parse()
            .map_err(|error| format!("admin address {address:?}: {error}"))?;
        if base.scheme_str() != Some("http") || base.path() != "/" || base.query().is_some() {
            return Err(format!(
                "admin address {address:?} is not of the form http://host:port"
            ));
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        Ok(Admin {
            base,
            token,
            client,
        })
    }

    /// The authority it listens on.
    pub(crate) fn address(&self) -> &str {
        self.base
            .authority()
            .map_or("", |authority| authority.as_str())
    }

    /// Posts to a path, such as a purge order to `/purge`, and returns the status and the text of the answer.
    ///
    /// # Errors
    /// A message, when no answer came.
    pub(crate) async fn post(
        &self,
        path: &str,
        content: &Value,
    ) -> Result<(StatusCode, String), String> {
        self.post_patiently(path, content, Duration::ZERO).await
    }

    /// As [`Admin::post`], where the edge itself may wait for so long before it answers.
    pub(crate) async fn post_patiently(
        &self,
        path: &str,
        content: &Value,
        waits: Duration,
    ) -> Result<(StatusCode, String), String> {
        let request =
            Request::post(self.url(path)).header(header::CONTENT_TYPE, "application/json");
        self.ask(request, content.to_string(), DEADLINE + waits)
            .await
    }

    /// What stands at a path.
    ///
    /// # Errors
    /// As [`Admin::post`].
    pub(crate) async fn get(&self, path: &str) -> Result<(StatusCode, String), String> {
        self.ask(Request::get(self.url(path)), String::new(), DEADLINE)
            .await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    async fn ask(
        &self,
        mut request: Builder,
        content: String,
        deadline: Duration,
    ) -> Result<(StatusCode, String), String> {
        let url = request.uri_ref().map(Uri::to_string).unwrap_or_default();
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        match tokio::time::timeout(deadline, self.exchange(request, content)).await {
            Ok(answer) => answer.map_err(|error| format!("no answer from {url}: {error}")),
            Err(_) => Err(format!("no answer from {url} within {deadline:?}")),
        }
    }

    async fn exchange(
        &self,
        request: Builder,
        content: String,
    ) -> Result<(StatusCode, String), Box<dyn std::error::Error + Send + Sync>> {
        let answer = self
            .client
            .request(request.body(Full::from(content))?)
            .await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await?
            .to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

/// What `edge` answered, where that says that it has done what it was asked for.
///
/// # Errors
/// When it says otherwise, or nothing.
pub(crate) fn successful(
    edge: &str,
    answer: Result<(StatusCode, String), String>,
) -> Result<(StatusCode, String), Failure> {
    match answer.map_err(Failure::failed)? {
        (status, text) if status.is_success() => Ok((status, text)),
        (status, text) => {
            let why = format!("{edge} answered {status}: {}", text.trim());
            Err(match status {
                // What can be meant is for the edge to say: it knows its limits, and what a URL is.
                StatusCode::BAD_REQUEST => Failure::refused(why),
                _ => Failure::failed(why),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_address_is_a_host_and_a_port() {
        for good in [
            "http://127.0.0.1:9090",
            "http://127.0.0.1:9090/",
            "edge.internal:9090",
            "[::1]:9090",
        ] {
            assert!(Admin::at(good, None).is_ok(), "{good}");
        }
        for bad in [
            "https://127.0.0.1:9090",
            "http://127.0.0.1:9090/admin",
            "",
            "not an address",
        ] {
            assert!(Admin::at(bad, None).is_err(), "{bad}");
        }
    }
}
