//! What it takes to store a response: where it belongs, whether and under which terms it may be
//! kept, and filling the tiers while it streams to those who wait.

mod not_stored;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, DATE};
use http::response::Parts as ResponseHead;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use tidegate_semantics::{
    Policy, Refusal, Storable, Terms, Timestamp, Vary, are_of_one_representation, format_date,
    is_surrogate_field, merge_not_modified, merge_part, parse_content_range, storable,
    stored_fields, strip_surrogate_fields, tags,
};

pub(super) use not_stored::NotStored;

use super::filtering::Wishes;
use super::{Proxy, Route, client_url, key_parts, purge_url};
use crate::body::{Arriving, BodyError, Received};
use crate::cache::{
    Content, Entry, Fields, Filling, Found, Gap, Given, Head, Key, Lead, Lease, OwnedKeyParts,
    Parts, Stored,
};
use crate::exchange::Exchange;
use crate::forward::FORWARDED_FOR;
use crate::purge::{Position, Verdict};
use crate::telemetry::Metrics;
use crate::upstream::UnknownCoding;

/// Where the response of an exchange is stored, and what its storing depends on.
pub(super) struct Place {
    pub(super) proxy: Arc<Proxy>,
    pub(super) route: Arc<Route>,
    pub(super) key: Key,
    pub(super) parts: OwnedKeyParts,
    pub(super) url: String,
    /// The client's own, where a filter made that one of it.
    client_url: Option<String>,
    path_and_query: PathAndQuery,
    /// The client's own fields, which select the variant.
    pub(super) request: Arc<HeaderMap>,
    /// Held while others of the region wait for what comes of this.
    pub(super) lease: Option<Lease>,
}

/// What is stored of a representation, with one more part of it.
struct Combined {
    headers: HeaderMap,
    tags: Vec<String>,
    content: Content,
}

/// When an exchange with the origin took place.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) fence: Position,
    pub(super) requested_at: Timestamp,
    pub(super) received_at: Timestamp,
}

impl Place {
    /// The place of what answers an exchange.
    pub(super) fn of(
        proxy: &Arc<Proxy>,
        key: Key,
        exchange: &Exchange,
        route: &Arc<Route>,
    ) -> Place {
        Place {
            proxy: Arc::clone(proxy),
            route: Arc::clone(route),
            key,
            parts: key_parts(exchange, route).to_owned(),
            url: purge_url(exchange),
            client_url: client_url(exchange),
            path_and_query: exchange.path_and_query.clone(),
            request: exchange.headers.shared(),
            lease: None,
        }
    }

    /// Finds out whether a response may be stored, and takes from it what is not for clients.
    /// `length` is what the origin announced of its body.
    ///
    /// # Errors
    /// Why it may not.
    pub(super) fn admit(
        &self,
        method: &Method,
        response: &mut ResponseHead,
        wishes: Wishes,
        times: &Times,
        length: Option<u64>,
    ) -> Result<Head, NotStored> {
        let policy = self.policy(wishes.given);
        let mut all_tags = self.tags(&response.headers);
        all_tags = with_all(all_tags, wishes.tags.iter().map(String::as_str));
        let decided = if response.extensions.get::<UnknownCoding>().is_some() {
            Err(NotStored::UnknownCoding)
        } else if wishes.refuse_storing {
            Err(NotStored::Plugin)
        } else if wishes.has_missed {
            Err(NotStored::PluginFailed)
        } else if length.is_some_and(|length| length > self.proxy.settings.max_entry as u64) {
            Err(NotStored::TooLarge)
        } else if all_tags.len() > policy.max_tags {
            Err(Refusal::TooManyTags.into())
        } else {
            self.terms(
                method,
                response.status,
                &response.headers,
                times,
                &policy,
                wishes.given,
            )
        };
        let hidden = take_surrogate_fields(&mut response.headers);
        let (terms, vary) = decided?;
        let mut stored = stored_fields(&response.headers, &policy);
        let range = stored.remove(CONTENT_RANGE);
        date(&mut stored, times);
        let index = self.proxy.log.index();
        Ok(Head {
            status: response.status,
            answered: response.status,
            stored,
            range: range.filter(|_| response.status == StatusCode::PARTIAL_CONTENT),
            hidden,
            given: wishes.given,
            headers: response.headers.clone(),
            terms,
            vary,
            marks: index.marks(&self.url, all_tags.iter().map(String::as_str)),
            tags: all_tags,
            fence: times.fence,
            requested_at: times.requested_at,
        })
    }

    /// The stored response with what a 304 or the answer to a HEAD changes; `None` if it may not
    /// be stored any more.
    pub(super) fn renew(
        &self,
        stale: &Entry,
        fresh: &HeaderMap,
        times: &Times,
    ) -> Option<Arc<Entry>> {
        let mut known = stale.headers();
        known.extend(stale.fields.hidden());
        let headers = merge_not_modified(&known, fresh);
        let all_tags = with_all(self.tags(&headers), stale.fields.tags());
        let given = stale.given();
        let policy = self.policy(given);
        if all_tags.len() > policy.max_tags {
            // Fetched anew, it has only those that it has now.
            return None;
        }
        // What is judged is the representation, of which a part may be all that is here.
        let status = match stale.status {
            StatusCode::PARTIAL_CONTENT => StatusCode::OK,
            status => status,
        };
        let judged = self.terms(&Method::GET, status, &headers, times, &policy, given);
        let (terms, vary) = judged.ok()?;
        let mut headers = stored_fields(&headers, &policy);
        let hidden = take_surrogate_fields(&mut headers);
        date(&mut headers, times);
        let stored = Stored {
            status: stale.status,
            fields: Fields::new(&headers, &hidden, &all_tags),
            given: given.stored(),
            content: stale.content.clone(),
            terms,
            vary,
            fence: times.fence,
            fetched_at: times.received_at,
        };
        // It keeps its own name: purges of that URL are about these bytes.
        Some(entry(
            stored,
            stale.marks.url(),
            &self.proxy,
            times.requested_at,
        ))
    }

    /// Reads a body to its end, for all who wait and for the tiers. `gap` is what is stored before
    /// and after the bytes that arrive. The lead is held until the response is stored, so that
    /// those who come late still join.
    pub(super) async fn fill(
        &mut self,
        head: Arc<Head>,
        times: Times,
        gap: Option<Gap>,
        (body, filling): (Arriving, Filling),
        mut lead: Option<Lead>,
    ) {
        let mut body = Received::new(body, self.route.upstream.timeout(), usize::MAX);
        let missing = gap.as_ref().map(Gap::missing_bytes);
        let (before, after) = match gap {
            Some(gap) => (gap.before, gap.after),
            None => Default::default(),
        };
        let mut arrived = 0;
        if filling.push(before).await.is_err() {
            return;
        }
        while let Some(frame) = body.frame().await {
            let part = match frame {
                Ok(frame) => frame.into_data().unwrap_or_default(),
                Err(error) => {
                    tracing::debug!(%error, url = self.url, "a response broke off and is not stored");
                    filling.abort(error);
                    return;
                }
            };
            arrived += part.len() as u64;
            if missing.is_some_and(|missing| arrived > missing) {
                filling.abort(BodyError::Cut("more came than was asked for".to_owned()));
                return;
            }
            if filling.push(part).await.is_err() {
                return;
            }
            self.lease.take_if(|lease| !lease.covers(arrived));
            // It has outgrown its limit: nobody can join any more.
            if !filling.is_whole() && lead.take().is_some() {
                self.proxy.count_not_stored(NotStored::TooLarge);
                // The size of a part says nothing of other parts.
                if head.range.is_none() {
                    let now = self.proxy.clock.now();
                    self.proxy.cache.remember_pass(self.key, now);
                }
            }
        }
        if missing.is_some_and(|missing| missing != arrived) {
            let reason = "a part of another length than was asked for".to_owned();
            filling.abort(BodyError::Cut(reason));
            return;
        }
        if filling.push(after).await.is_err() {
            return;
        }
        let Some(body) = filling.finish() else {
            return;
        };
        let Some((stored, asked_at)) = self.stored(&head, &times, body) else {
            self.proxy.count_not_stored(Refusal::PartialContent.into());
            return;
        };
        let entry = entry(stored, &self.url, &self.proxy, asked_at);
        self.keep(&entry);
        drop(lead);
        if self.proxy.cache.has_region() {
            Box::pin(self.keep_in_region(&entry)).await;
        }
    }

    /// What is asked about, unless it was purged since it was found: then nothing of it is used any
    /// more. To be called once the fence is read, for a later purge is behind that.
    pub(super) fn unless_purged(&self, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        (!self.was_purged(&entry)).then_some(entry)
    }

    fn was_purged(&self, entry: &Entry) -> bool {
        self.judge(entry) == Verdict::Purged
    }

    /// What the purge log says of an entry for whoever asked.
    pub(super) fn judge(&self, entry: &Entry) -> Verdict {
        let client_url = self.client_url.as_deref();
        self.proxy.judge_for(&self.url, client_url, entry)
    }

    /// Stores an entry in memory.
    pub(super) fn keep(&self, entry: &Arc<Entry>) {
        let parts = self.parts.as_parts();
        self.proxy.cache.keep(&parts, Arc::clone(entry));
    }

    /// Stores in the region what is stored here, unless it was purged: by a record that others know,
    /// so that it is of no use to them, or by one that could not be recorded, so that they do not know.
    pub(super) async fn keep_in_region(&mut self, entry: &Entry) {
        let lease = self.lease.take();
        let proxy = &self.proxy;
        if self.was_purged(entry) {
            // The next one who asks fetches what others may share, unless they cannot know.
            if let Some(lease) = lease
                && proxy.log.index().unrecorded_orders(&entry.marks) == 0
            {
                lease.end();
            }
            return;
        }
        let parts = self.parts.as_parts();
        let stored = proxy
            .cache
            .insert_in_region(&parts, entry, proxy.clock.now(), lease);
        if let Err(error) = stored.await {
            tracing::debug!(%error, "not stored in the regional tier");
            Metrics::count_reason(&proxy.metrics.regional_unavailable, error.name());
        }
    }

    /// What is stored of a response, and since when it is known: with the parts that are here
    /// already, if it is a part. `None` when a part is not as long as it said.
    fn stored(&self, head: &Head, times: &Times, body: Bytes) -> Option<(Stored, Timestamp)> {
        let (mut headers, mut tags) = (&head.stored, &head.tags);
        let mut asked_at = times.requested_at;
        let mut fetched_at = times.received_at;
        let (mut status, mut content) = (head.status, Content::Whole(body));
        let combined;
        if status == StatusCode::PARTIAL_CONTENT
            && let Content::Whole(body) = content
        {
            let range = parse_content_range(head.range.as_ref()?)?;
            let part = Parts::of(&range, body)?;
            combined = self.combined(head, &part);
            content = match &combined {
                Some(with_known) => {
                    (headers, tags) = (&with_known.headers, &with_known.tags);
                    // What is here is part of it, however late that came.
                    asked_at = times.received_at.max(self.proxy.clock.now());
                    fetched_at = asked_at;
                    with_known.content.clone()
                }
                None => part.into_content(),
            };
            if content.whole().is_some() {
                status = StatusCode::OK;
            }
        }
        let stored = Stored {
            status,
            fields: Fields::new(headers, &head.hidden, tags),
            given: head.given.stored(),
            content,
            terms: head.terms.clone(),
            vary: head.vary.clone(),
            fence: head.fence,
            fetched_at,
        };
        Some((stored, asked_at))
    }

    /// A part with what is stored of the same representation (RFC 9111 §3.4), if anything is. As a
    /// 304 does, it says that what is stored holds at its own fence.
    fn combined(&self, head: &Head, part: &Parts) -> Option<Combined> {
        let limit = self.proxy.settings.max_entry;
        let known = self.kept_parts(&head.stored)?;
        let tags = with_all(head.tags.clone(), known.fields.tags());
        // With too many of them together, the part is kept by itself.
        let has_room = tags.len() <= self.route.policy.max_tags;
        let content = known.content.with(part, limit).filter(|_| has_room)?;
        Some(Combined {
            headers: merge_part(&known.headers(), &head.stored),
            tags,
            content,
        })
    }

    /// What is stored of the representation to which a response with these fields belongs.
    fn kept_parts(&self, headers: &HeaderMap) -> Option<Arc<Entry>> {
        let cache = &self.proxy.cache;
        let own = cache.key(&self.parts.as_parts());
        [own, self.key].into_iter().find_map(|key| {
            let Found::Entry(known, _) = cache.peek(key, &self.request) else {
                return None;
            };
            let is_of_it = matches!(known.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT)
                && !self.was_purged(&known)
                && are_of_one_representation(&known.headers(), headers);
            is_of_it.then_some(known)
        })
    }

    fn tags(&self, headers: &HeaderMap) -> Vec<String> {
        let parts = self.parts.as_parts();
        tags(parts.scheme, parts.authority, headers)
    }

    /// The route's policy, with the lifetime that a filter gave.
    fn policy(&self, given: Given) -> Cow<'_, Policy> {
        match given.ttl {
            None => Cow::Borrowed(&self.route.policy),
            ttl => Cow::Owned(Policy {
                ttl,
                ..self.route.policy.clone()
            }),
        }
    }

    fn terms(
        &self,
        method: &Method,
        status: StatusCode,
        response: &HeaderMap,
        times: &Times,
        policy: &Policy,
        given: Given,
    ) -> Result<(Terms, Vary), NotStored> {
        let exchange = tidegate_semantics::Exchange {
            method,
            path: self.path_and_query.as_str(),
            request: &self.request,
            status,
            response,
            requested_at: times.requested_at,
            received_at: times.received_at,
        };
        match storable(&exchange, policy) {
            Storable::Keep(mut terms) => {
                given.apply(&mut terms);
                let vary = Vary::of(response, &self.request)?;
                if vary.names().any(|name| *name == FORWARDED_FOR) {
                    return Err(NotStored::VaryOnAddress);
                }
                Ok((terms, vary))
            }
            Storable::Refuse(refusal) => Err(refusal.into()),
        }
    }
}

impl Proxy {
    pub(super) fn count_not_stored(&self, reason: NotStored) {
        Metrics::count_reason(&self.metrics.not_stored, reason.name());
    }
}

/// The length that a response announces of its body.
pub(super) fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What is kept needs to say when it was made (RFC 9110 §6.6.1).
fn date(headers: &mut HeaderMap, times: &Times) {
    if !headers.contains_key(DATE) {
        headers.insert(DATE, format_date(times.received_at));
    }
}

/// Tags of both: one too many purges too much, one too few too little.
fn with_all<'a>(mut tags: Vec<String>, more: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    for tag in more {
        if !tags.iter().any(|other| other == tag) {
            tags.push(tag.to_owned());
        }
    }
    tags
}

/// Takes out what is not for clients, and is wanted again when the response is renewed.
pub(super) fn take_surrogate_fields(headers: &mut HeaderMap) -> HeaderMap {
    if !headers.keys().any(|name| is_surrogate_field(name.as_str())) {
        return HeaderMap::new();
    }
    let mut hidden = headers.clone();
    strip_surrogate_fields(headers);
    for name in headers.keys() {
        hidden.remove(name);
    }
    hidden
}

/// An entry for `url`, brought by an exchange that began at `asked_at`.
fn entry(stored: Stored, url: &str, proxy: &Proxy, asked_at: Timestamp) -> Arc<Entry> {
    let entry = Entry::new(stored, url, proxy.log.index());
    Arc::new(entry.since(asked_at))
}
