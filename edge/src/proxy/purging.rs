//! The `PURGE` method on the public listener, by token.
//!
//! Without more it purges the URL it asks for; with `Surrogate-Key` the tags named there instead.
//! `Fastly-Soft-Purge: 1` makes it soft.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use tidegate_semantics::{CacheStatus, tags};

use super::{Answer, Proxy, purge_url};
use crate::body::Body;
use crate::error::Failure;
use crate::exchange::Exchange;
use crate::purge::{Mode, Receipt, Record, Scope};
use crate::telemetry::Outcome;

impl Proxy {
    pub(super) async fn purge(&self, exchange: &Exchange) -> Answer {
        match &self.settings.purge_token {
            Some(token) if token.is_carried_by(&exchange.headers) => {}
            Some(_) => return self.failed(Failure::Unauthorized("PURGE needs the purge token")),
            None => {
                return self.failed(Failure::Unauthorized("PURGE is off: no purge.token is set"));
            }
        }
        let soft = exchange
            .headers
            .get("fastly-soft-purge")
            .is_some_and(|value| value == "1");
        let mode = if soft { Mode::Soft } else { Mode::Hard };
        let named = tags(
            exchange.scheme,
            exchange.authority.as_str(),
            &exchange.headers,
        );
        let scopes = if named.is_empty() {
            vec![Scope::Url(purge_url(exchange))]
        } else {
            named.into_iter().map(Scope::Tag).collect()
        };
        let records: Vec<_> = scopes
            .into_iter()
            .map(|scope| Record::new(scope, mode))
            .collect();
        match Receipt::of(&self.log, &self.metrics, &records).await {
            Ok(receipt) => {
                let mut response = Response::new(Body::from(bytes::Bytes::from(receipt.to_json())));
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(CONTENT_TYPE, json);
                Answer {
                    response,
                    status: CacheStatus::default(),
                    is_told: true,
                    outcome: Outcome::Filtered,
                }
            }
            Err(error) => self.failed(Failure::NotRecorded(error.to_string())),
        }
    }
}
