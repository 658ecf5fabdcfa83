//! Requests that are repeated are done once: `Idempotency-Key`.
//!
//! Whoever makes something names the attempt by a key of its own choice, and may then repeat the request until an answer
//! comes. The first to arrive is done; a repeat gets its answer, with `Idempotency-Replayed: true`. A repeat that comes
//! while the first is in progress is 409, and the key with another method, path, body or condition (`If-Match`,
//! `If-None-Match`) is 422. Bodies are compared byte by byte, by a hash that is keyed with the service token. Answers are
//! kept for 24 hours; as an answer may show what was sent, what may be sent with a key is bounded.
//!
//! Each user has keys of their own: nobody is given another's answer, or finds a key taken by another. All who are
//! anonymous share one space, in which a key stands for a body as well: only who sends the very same one is given its
//! answer, and any other is refused. What they may make there are users, so that the body is as secret as their password.
//!
//! The answer is recorded in the transaction of what the request did. So what holds after a crash, of the origin or of
//! PostgreSQL, at any moment, is that either both are there, and a repeat gets the answer that was lost; or neither is,
//! and a repeat is the first. Nothing is left in progress: that is a lock of the transaction, and goes with it as soon as
//! PostgreSQL sees that the connection is gone, or has been silent for `idle_in_transaction_session_timeout`.
//!
//! Refusals that were decided in the transaction (a course that is full) are answers, and kept. Those that needed no
//! look into the database would be the same again, and 5xx says that nothing was decided: neither is kept. A `COMMIT`
//! whose answer is lost is a 503 too; the repeat finds out.

use axum::{
    body::{Body, to_bytes},
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use crate::{
    http::{
        access::{Asker, scope},
        answer::{Policy, cache_headers},
        error::Problem,
        input::{parse, read},
    },
    postgres::{
        replicas::Servers,
        writer::{Write, Writer},
    },
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// How long an answer is kept.
const KEPT: time::Duration = time::Duration::hours(24);
/// The longest key, in bytes.
const LONGEST: usize = 255;
/// The longest body of a request with a key, in bytes.
const LARGEST: usize = 256 << 10;
/// How many expired answers one that is kept makes room in place of, so that the table follows what is written.
const SWEPT: i64 = 2;

/// The body of a request that makes something, and the doing of it at most once.
pub(crate) struct Once<T>(pub(crate) Attempt, pub(crate) T);

/// A request that may have been done already.
pub(crate) struct Attempt {
    writer: Writer,
    key: Option<Key>,
    now: OffsetDateTime,
}

struct Key {
    scope: String,
    text: String,
    /// A hash of what is asked for, keyed by a secret: where the answers are read, bodies are not guessed.
    request: blake3::Hash,
}

/// What came of beginning.
pub(crate) enum Begun {
    /// It is to be done now.
    First(First),
    /// It has been done: this is what was answered.
    Answered(Response),
}

/// A write that is done for the first time.
pub(crate) struct First {
    pub(crate) write: Write,
    key: Option<Key>,
    now: OffsetDateTime,
}

impl<T: DeserializeOwned> FromRequest<Servers> for Once<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, servers: &Servers) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let asker = Option::<Asker>::from_request_parts(&mut parts, servers).await?;
        let writer = Writer::new(servers, &parts);
        let named = key(&parts.headers)?;
        let mut hasher = blake3::Hasher::new_keyed(servers.request_key());
        for part in [parts.method.as_str(), &parts.uri.to_string()] {
            hasher.update(part.as_bytes()).update(b"\n");
        }
        for field in [header::IF_MATCH, header::IF_NONE_MATCH] {
            for value in parts.headers.get_all(&field) {
                for part in [field.as_str().as_bytes(), value.as_bytes()] {
                    hasher.update(part).update(b"\n");
                }
            }
        }
        // What ends here cannot be continued by a body.
        hasher.update(b"\n");
        let body = read(Request::from_parts(parts, body), servers).await?;
        if named.is_some() && body.len() > LARGEST {
            return Err(Problem::too_large_to_keep(LARGEST));
        }
        let key = named.map(|text| Key {
            scope: scope(asker),
            text,
            request: hasher.update(&body).finalize(),
        });
        let now = servers.clock().now();
        Ok(Self(Attempt { writer, key, now }, parse(&body)?))
    }
}

/// The key that a request names: a text of visible ASCII, in quotes (RFC 9651 section 3.3.3) or without.
fn key(request: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut given = request.get_all(IDEMPOTENCY_KEY).iter();
    let key = match (given.next(), given.next()) {
        (None, _) => return Ok(None),
        (Some(one), None) => one.to_str().unwrap_or_default().trim(),
        (Some(_), Some(_)) => "",
    };
    let unquoted = key
        .strip_prefix('"')
        .and_then(|key| key.strip_suffix('"'))
        .unwrap_or(key);
    if !(1..=LONGEST).contains(&unquoted.len())
        || !unquoted.bytes().all(|byte| byte.is_ascii_graphic())
    {
        let detail = format!("idempotency-key must be one of 1 to {LONGEST} visible characters");
        return Err(Problem::malformed(detail).field("idempotency-key"));
    }
    Ok(Some(unquoted.to_owned()))
}

impl Key {
    /// What the key is locked by, among all that lock by numbers.
    fn lock(&self) -> i64 {
        let mut hasher = blake3::Hasher::new_derive_key("tidegate origin idempotency lock");
        hasher.update(self.scope.as_bytes()).update(b"\n");
        let hash = hasher.update(self.text.as_bytes()).finalize();
        let mut number = [0; 8];
        number.copy_from_slice(&hash.as_bytes()[..8]);
        i64::from_le_bytes(number)
    }
}

impl Attempt {
    /// Begins the write, unless a request with the same key has been answered or is in progress.
    pub(crate) async fn begin(self) -> Result<Begun, Problem> {
        let mut write = self.writer.begin().await?;
        if let Some(key) = &self.key {
            let locked = sqlx::query_scalar!(
                r#"SELECT pg_try_advisory_xact_lock($1) AS "locked!""#,
                key.lock()
            )
            .fetch_one(&mut *write)
            .await?;
            if !locked {
                return Err(Problem::in_progress());
            }
            // A statement of its own, which sees what whoever had the lock before has committed.
            // Where it is known, the lock goes before the answer does, and not when the pool comes to it: the next repeat
            // finds it free.
            match answered(&mut write, key, self.now).await {
                Ok(None) => {}
                Ok(Some(answer)) => {
                    write.commit().await?;
                    return Ok(Begun::Answered(answer));
                }
                Err(problem) => {
                    write.commit().await?;
                    return Err(problem);
                }
            }
            sqlx::raw_sql("SAVEPOINT effect")
                .execute(&mut *write)
                .await?;
        }
        Ok(Begun::First(First {
            write,
            key: self.key,
            now: self.now,
        }))
    }
}

/// What was answered to the request that named the key.
async fn answered(
    write: &mut Write,
    key: &Key,
    now: OffsetDateTime,
) -> Result<Option<Response>, Problem> {
    let kept = sqlx::query!(
        "SELECT request, status, content_type, location, etag, body, expires_at FROM idempotency_keys
         WHERE scope = $1 AND key = $2",
        key.scope,
        key.text
    )
    .fetch_optional(&mut **write)
    .await?;
    let Some(kept) = kept else {
        return Ok(None);
    };
    if kept.expires_at <= now {
        // Here and not where the next answer is written: who waits here for another's sweep has locked no row.
        sqlx::query!(
            "DELETE FROM idempotency_keys WHERE scope = $1 AND key = $2",
            key.scope,
            key.text
        )
        .execute(&mut **write)
        .await?;
        return Ok(None);
    }
    if kept.request != key.request.as_bytes() {
        return Err(Problem::other_request());
    }
    let mut answer = Response::new(Body::from(kept.body));
    let status = u16::try_from(kept.status).ok();
    *answer.status_mut() = status
        .and_then(|status| StatusCode::from_u16(status).ok())
        .unwrap_or(StatusCode::OK);
    let headers = answer.headers_mut();
    cache_headers(headers, &Policy::NoStore, &[]);
    for (name, value) in [
        (header::CONTENT_TYPE, kept.content_type),
        (header::LOCATION, kept.location),
        (header::ETAG, kept.etag),
    ] {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            headers.insert(name, value);
        }
    }
    headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    Ok(Some(answer))
}

impl First {
    /// Ends the write: what is a success stays, what is a refusal leaves everything as it was, and the answer to either is
    /// kept with it.
    pub(crate) async fn end(
        mut self,
        outcome: Result<Response, Problem>,
    ) -> Result<Response, Problem> {
        let answer = outcome.into_response();
        let has_effect = answer.status().is_success();
        let Some(key) = &self.key else {
            if has_effect {
                self.write.commit().await?;
            }
            return Ok(answer);
        };
        if answer.status().is_server_error() {
            return Ok(answer);
        }
        if !has_effect {
            sqlx::raw_sql("ROLLBACK TO SAVEPOINT effect")
                .execute(&mut *self.write)
                .await?;
        }
        let (head, body) = answer.into_parts();
        let body = to_bytes(body, usize::MAX)
            .await
            .expect("a body that we have made is whole");
        let field = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        sqlx::query!(
            "INSERT INTO idempotency_keys (scope, key, request, status, content_type, location, etag, body, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            key.scope,
            key.text,
            &key.request.as_bytes()[..],
            i16::try_from(head.status.as_u16()).expect("a status has three digits"),
            field(header::CONTENT_TYPE),
            field(header::LOCATION),
            field(header::ETAG),
            &body[..],
            self.now + KEPT
        )
        .execute(&mut *self.write)
        .await?;
        sqlx::query!(
            "DELETE FROM idempotency_keys WHERE (scope, key) IN (
                 SELECT scope, key FROM idempotency_keys WHERE expires_at <= $1
                 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
            self.now,
            SWEPT
        )
        .execute(&mut *self.write)
        .await?;
        self.write.commit().await?;
        Ok(Response::from_parts(head, Body::from(body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_word_with_or_without_quotes() {
        let longest = "k".repeat(LONGEST);
        let too_long = "k".repeat(LONGEST + 1);
        for (given, expected) in [
            (&["8e03978e-40d5"][..], Ok(Some("8e03978e-40d5"))),
            (&["\"8e03978e-40d5\""], Ok(Some("8e03978e-40d5"))),
            (&[&longest], Ok(Some(longest.as_str()))),
            (&[], Ok(None)),
            (&[""], Err(())),
            (&["\"\""], Err(())),
            (&["a b"], Err(())),
            (&["\u{e4}"], Err(())),
            (&[&too_long], Err(())),
            (&["a", "a"], Err(())),
        ] {
            let mut request = HeaderMap::new();
            for value in given {
                let value = HeaderValue::from_bytes(value.as_bytes());
                request.append(IDEMPOTENCY_KEY, value.expect("no control characters"));
            }
            let found = key(&request).map_err(|_| ());
            assert_eq!(
                found,
                expected.map(|key| key.map(str::to_owned)),
                "{given:?}"
            );
        }
    }
}
