//! On a route with compression: what the client would have is found out once, what is stored and asked
//! for is identity, and what goes out is encoded.
//!
//! Stored responses are encoded once for all (`cache::Making`), and so are those that many wait for
//! (`cache::Recoding`); the others while they pass through.
//! Filters see the fields that the client will get.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;
use tidegate_semantics::{
    Coding, describe_encoded, strengthen_demanded_tags, vary_on_coding, weaken_confirmed_tag,
};

use super::{Answer, Proxy, Route};
use crate::body::Body;
use crate::cache::{Encoded, Entry, Head, Joined, Key, Shared};
use crate::encoding::{EncodedBody, Wish};
use crate::exchange::Exchange;
use crate::forward::Outbound;
use crate::telemetry::Outcome;

/// Finds out which form the client would have, and takes the question out of the request: the edge
/// answers it, so it is neither asked of the origin nor a field to select a variant by.
pub(super) fn negotiate(exchange: &mut Exchange, route: &Route) {
    if let Some(compression) = &route.compression
        && exchange.encoding.is_none()
    {
        exchange.encoding = Some(compression.wish(&mut exchange.headers));
        exchange.headers.remove(ACCEPT_ENCODING);
    }
}

/// Asks the origin for identity, where we encode. Without the field any coding would be acceptable
/// (RFC 9110 §12.5.3). And a client that demands one of our encoded forms means what it was made of.
pub(super) fn ask_for_identity(exchange: &Exchange, outbound: &mut Outbound) {
    if exchange.encoding.is_some() {
        let identity = HeaderValue::from_static("identity");
        outbound.headers.insert(ACCEPT_ENCODING, identity);
        strengthen_demanded_tags(&mut outbound.headers);
    }
}

/// Chooses the coding in which a stored response is sent, and says so in its head; `None` is identity.
pub(super) fn choose_coding(
    exchange: &Exchange,
    entry: &Entry,
    head: &mut HeaderMap,
) -> Option<Coding> {
    let wish = exchange.encoding.as_ref()?;
    let Some(body) = entry.content.whole() else {
        // Whoever has a form of the whole may ask whether it still holds.
        vary_on_coding(head);
        weaken_confirmed_tag(&exchange.headers, head);
        return None;
    };
    let length = Some(body.len() as u64);
    if !wish.compression.covers(entry.status, head, length) {
        return None;
    }
    vary_on_coding(head);
    let coding = wish.coding?;
    if matches!(entry.encoded(coding), Some(Encoded::Useless)) {
        return None;
    }
    describe_encoded(head, coding);
    Some(coding)
}

/// Remembers which fetch a response shares with others: they may have its encoded form together.
pub(super) fn mark_shared(exchange: &Exchange, head: &Arc<Head>, response: &mut Response<Body>) {
    if exchange.encoding.is_some() {
        response.extensions_mut().insert(Arc::clone(head));
    }
}

impl Proxy {
    /// A stored response in an encoded form, which `head` describes.
    pub(super) fn encoded(
        &self,
        exchange: &Exchange,
        (key, entry): (Key, &Entry),
        identity: &Bytes,
        coding: Coding,
        mut head: HeaderMap,
    ) -> Response<Body> {
        let body = match entry.encoded(coding) {
            Some(Encoded::Bytes(bytes)) if exchange.method == Method::HEAD => {
                head.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
                Body::Empty
            }
            // How long it will be is not known yet.
            _ if exchange.method == Method::HEAD => Body::Empty,
            Some(Encoded::Bytes(bytes)) => Body::from(bytes.clone()),
            Some(Encoded::Useless) | None => self.encode(exchange, key, identity, coding),
        };
        if let (Some(wish), Body::Full(bytes)) = (&exchange.encoding, &body) {
            let (length, sent) = (identity.len() as u64, bytes.len() as u64);
            wish.compression.counters(coding).count_sent(length, sent);
        }
        let mut response = Response::new(body);
        *response.status_mut() = entry.status;
        *response.headers_mut() = head;
        response.extensions_mut().insert(coding);
        response
    }

    /// The encoded form of a stored body: made once, whoever asks meanwhile.
    fn encode(&self, exchange: &Exchange, key: Key, identity: &Bytes, coding: Coding) -> Body {
        let Some(Wish { compression, .. }) = &exchange.encoding else {
            return Body::Empty;
        };
        let making = match self.cache.join_encoding(key, identity, coding) {
            Joined::Kept(bytes) => return Body::from(bytes),
            Joined::Follow(reader) => return Body::stream(reader),
            Joined::Lead(making) => making,
        };
        let reader = making.reader();
        let counters = compression.counters(coding).clone();
        let length = identity.len();
        if compression.encodes_at_once(coding, length) {
            return match making.run_at_once(compression.encoder(coding)) {
                Err(_) => Body::stream(reader),
                Ok(bytes) => {
                    counters.count_made();
                    Body::from(bytes)
                }
            };
        }
        // It goes on when everybody has left: what is begun is kept for the next.
        let compression = Arc::clone(compression);
        tokio::spawn(async move {
            let encoder = compression.encoder_in_turn(coding).await;
            if let Ok(bytes) = making.run(encoder).await {
                counters.count_made();
                counters.count_sent(length as u64, bytes.len() as u64);
            }
        });
        Body::stream(reader)
    }

    /// Encodes what comes from the origin while it passes through. What comes out of the store was
    /// treated when it was found, and what the edge or a filter says itself is left as it is.
    pub(super) fn encode_first(&self, exchange: &Exchange, answer: &mut Answer) {
        let Some(wish) = &exchange.encoding else {
            return;
        };
        if !matches!(answer.outcome, Outcome::Miss | Outcome::Pass) {
            return;
        }
        let response = &mut answer.response;
        if response.status() == StatusCode::NOT_MODIFIED {
            vary_on_coding(response.headers_mut());
            weaken_confirmed_tag(&exchange.headers, response.headers_mut());
            return;
        }
        let is_head = exchange.method == Method::HEAD;
        let length = if is_head {
            let announced = response.headers().get(CONTENT_LENGTH);
            announced.and_then(|length| length.to_str().ok()?.parse().ok())
        } else {
            response.body().size_hint().exact()
        };
        let covers = wish
            .compression
            .covers(response.status(), response.headers(), length);
        if !covers {
            return;
        }
        vary_on_coding(response.headers_mut());
        let Some(coding) = wish.coding else {
            return;
        };
        let encoder = if is_head {
            None
        } else {
            wish.compression.encoder_if_room(coding)
        };
        if encoder.is_none() && !is_head {
            return;
        }
        describe_encoded(response.headers_mut(), coding);
        response.headers_mut().remove(CONTENT_LENGTH);
        response.extensions_mut().insert(coding);
        if let Some(encoder) = encoder {
            let source = std::mem::take(response.body_mut());
            let counters = wish.compression.counters(coding).clone();
            let encoded = EncodedBody::new(source, encoder, counters);
            let flight = response.extensions_mut().remove::<Arc<Head>>();
            *response.body_mut() = match flight {
                Some(head) => self.share(&head, coding, encoded),
                None => Body::stream(encoded),
            };
        }
    }

    /// The encoded form of a response that is being fetched: made once, whoever shares the fetch.
    fn share(&self, head: &Arc<Head>, coding: Coding, encoded: EncodedBody) -> Body {
        let limit = self.settings.max_entry;
        match self.cache.share_encoding(head, coding, limit) {
            Shared::Follow(reader) => Body::stream(reader),
            Shared::Alone => Body::stream(encoded),
            Shared::Lead(recoding) => {
                let reader = recoding.reader();
                tokio::spawn(recoding.run(encoded));
                Body::stream(reader)
            }
        }
    }
}

/// Says once more what the body is, after filters had its fields: none of them can undo the coding by
/// taking its name away, nor make its tag a strong one.
pub(super) fn insist(answer: &mut Answer) {
    let response = &mut answer.response;
    if let Some(coding) = response.extensions().get::<Coding>().copied() {
        describe_encoded(response.headers_mut(), coding);
        vary_on_coding(response.headers_mut());
    }
}
