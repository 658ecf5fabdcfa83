//! Vectors from a service that speaks as OpenAI's does: `POST {"model", "input": [..]}` →
//! `{"data": [{"index", "embedding": [..]}]}`.
//!
//! By plain HTTP: a service beside the origin, or a proxy there that speaks TLS to one elsewhere. What it answers is taken
//! only if it is what was asked for, in time and of a size that it may have.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{Embedding, NotEmbedded, Provider, is_vector};
use crate::config::EmbeddingService;

/// How many bytes a number of an answer may take, and how many all that is around them.
const SIZE: (usize, usize) = (32, 64 * 1024);

/// A service and what it is asked.
pub(crate) struct Service {
    client: Client<HttpConnector, Full<Bytes>>,
    url: Uri,
    model: String,
    authorization: Option<HeaderValue>,
    dimensions: usize,
    deadline: Duration,
}

#[derive(Serialize)]
struct Question<'a> {
    model: &'a str,
    input: &'a [String],
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    index: Option<usize>,
    embedding: Vec<f32>,
}

impl Service {
    /// Touches no network.
    pub(crate) fn new(settings: &EmbeddingService, dimensions: usize, deadline: Duration) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            url: settings.url.clone(),
            model: settings.model.clone(),
            authorization: settings.authorization.clone(),
            dimensions,
            deadline,
        }
    }

    async fn ask(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, NotEmbedded> {
        let failed = |what: &str| NotEmbedded::Failed(what.to_owned());
        let question = Question {
            model: &self.model,
            input: texts,
        };
        let body = serde_json::to_vec(&question).expect("texts are JSON");
        let mut request = Request::post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .expect("the address was read before");
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| NotEmbedded::Failed(cause(&error)))?;
        let status = answer.status();
        match status {
            StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY => {
                return Err(NotEmbedded::Refused(format!("it answers {status}")));
            }
            status if !status.is_success() => {
                return Err(NotEmbedded::Failed(format!("it answers {status}")));
            }
            _ => {}
        }
        let most = SIZE.0 * self.dimensions * texts.len() + SIZE.1;
        let body = Limited::new(answer.into_body(), most).collect().await;
        let body = body.map_err(|error| NotEmbedded::Failed(error.to_string()))?;
        // What is wrong with it is not said in its own words: they may be anything.
        let answer: Answer = serde_json::from_slice(&body.to_bytes())
            .map_err(|_| failed("its answer cannot be read"))?;
        self.sorted(answer, texts.len())
    }

    /// The vectors in the order of the texts, if that is what the answer has.
    fn sorted(&self, answer: Answer, count: usize) -> Result<Vec<Vec<f32>>, NotEmbedded> {
        let mut vectors = vec![None; count];
        for (place, item) in answer.data.into_iter().enumerate() {
            if !is_vector(&item.embedding, self.dimensions) {
                let length = item.embedding.len();
                return Err(NotEmbedded::Failed(format!(
                    "a vector of {length} numbers is not one of {}",
                    self.dimensions
                )));
            }
            if let Some(vector) = vectors.get_mut(item.index.unwrap_or(place)) {
                *vector = Some(item.embedding);
            }
        }
        let whole: Option<Vec<_>> = vectors.into_iter().collect();
        whole.ok_or_else(|| NotEmbedded::Failed("it does not answer for each text".to_owned()))
    }
}

/// What lies at the bottom of an error: that of the client itself says only that there is one.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    match error.source() {
        Some(source) => cause(source),
        None => error.to_string(),
    }
}

impl Provider for Service {
    fn model(&self) -> String {
        format!("{} {}", self.model, self.dimensions)
    }

    fn dimensions(&self) -> usize {
        self.dimensions
    }

    fn embed(&self, texts: Vec<String>) -> Embedding<'_> {
        Box::pin(async move {
            match timeout(self.deadline, self.ask(&texts)).await {
                Ok(answer) => answer,
                Err(_) => Err(NotEmbedded::Failed(format!(
                    "it has not answered within {} ms",
                    self.deadline.as_millis()
                ))),
            }
        })
    }
}
