//! The `PURGE` method on the public listener, by token.
//!
//! Without more it purges the URL it asks for; with `Surrogate-Key` the tags named there instead.
//! `Fastly-Soft-Purge: 1` makes it soft. `Purge-Wait: region` or `all` waits for edges, no longer
//! than `Purge-Timeout` says.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response};
use tidegate_semantics::{CacheStatus, tags};

use super::{Answer, Proxy, purge_url};
use crate::body::Body;
use crate::error::Failure;
use crate::exchange::Exchange;
use crate::purge::{Mode, Patience, Receipt, Record, Scope, Wait, to_timeout};
use crate::telemetry::Outcome;

/// The fields in which a request names what is to be purged in place of its URL.
const TAG_FIELDS: [&str; 4] = ["surrogate-key", "cache-tag", "xkey", "cache-groups"];

impl Proxy {
    pub(super) async fn purge(&self, exchange: &Exchange) -> Answer {
        match &self.settings.purge_token {
            Some(token) if token.is_carried_by(&exchange.headers) => {}
            Some(_) => return self.failed(Failure::Unauthorized("PURGE needs the purge token")),
            None => {
                return self.failed(Failure::Unauthorized("PURGE is off: no purge.token is set"));
            }
        }
        match self.carry_out(exchange).await {
            Ok(receipt) => {
                let mut response = Response::new(Body::from(bytes::Bytes::from(receipt.to_json())));
                *response.status_mut() = receipt.status();
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(CONTENT_TYPE, json);
                Answer {
                    response,
                    status: CacheStatus::default(),
                    is_told: true,
                    outcome: Outcome::Filtered,
                }
            }
            Err(failure) => self.failed(failure),
        }
    }

    async fn carry_out(&self, exchange: &Exchange) -> Result<Receipt, Failure> {
        let now = self.clock.now();
        self.orders.admit_request(now)?;
        let patience = self
            .patience(&exchange.headers)
            .map_err(Failure::NotMeant)?;
        let headers = &exchange.headers;
        let soft = headers
            .get("fastly-soft-purge")
            .is_some_and(|value| value == "1");
        let mode = if soft { Mode::Soft } else { Mode::Hard };
        let named = tags(
            exchange.scheme,
            exchange.authority.as_str(),
            &exchange.headers,
        );
        let scopes = if named.is_empty() {
            if let Some(field) = TAG_FIELDS.iter().find(|name| headers.contains_key(**name)) {
                return Err(Failure::NotMeant(format!("{field}: names nothing")));
            }
            vec![Scope::Url(purge_url(exchange))]
        } else {
            named.into_iter().map(Scope::Tag).collect()
        };
        let records: Vec<_> = scopes
            .into_iter()
            .map(|scope| Record::new(scope, mode))
            .collect();
        self.orders.admit_records(records.len(), now)?;
        let receipt = self.orders.answer(&records, patience).await;
        receipt.map_err(|error| Failure::NotRecorded(error.to_string()))
    }

    /// What the request says of waiting.
    fn patience(&self, headers: &HeaderMap) -> Result<Patience, String> {
        let wait = match sole(headers, "purge-wait")? {
            Some(text) => text
                .parse()
                .map_err(|error| format!("Purge-Wait: {error}"))?,
            None => Wait::None,
        };
        let timeout = match sole(headers, "purge-timeout")? {
            Some(text) => {
                Some(to_timeout(text).map_err(|error| format!("Purge-Timeout: {error}"))?)
            }
            None => None,
        };
        let patience = self.orders.patience(wait, timeout);
        patience.map_err(|error| format!("Purge-Timeout: {error}"))
    }
}

/// The value of a field that may stand once.
fn sole<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().map(HeaderValue::to_str).transpose();
    match (value, values.next()) {
        (Ok(value), None) => Ok(value.map(str::trim)),
        (Ok(_), Some(_)) => Err(format!("{name}: stands twice")),
        (Err(_), _) => Err(format!("{name}: is no text")),
    }
}
