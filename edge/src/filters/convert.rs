//! Values on their way between guests and the edge: what a guest says is checked here, so that
//! nothing it makes up can end a head early, name a connection's fields or grow without bound.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};

use super::bindings::tidegate::plugin::{limits as wit, purge as wit_purge, types};
use super::limits::{Verdict, Window};
use super::purge::PurgeOrder;
use super::subject::PolicyChanges;
use crate::wasm::Exceeded;
use types::Refusal;

/// The most bytes of fields, names and values together, that a hook can put into a message.
const MOST_FIELD_BYTES: usize = 64 << 10;
/// The most field lines that a hook can put into a message.
const MOST_FIELDS: usize = 256;
/// The longest path with its query, and the longest addition to the cache key, in bytes.
const LONGEST_PATH: usize = 8 << 10;
/// The longest tag, and the longest part of a cache key, in bytes.
const LONGEST_NAME: usize = 1_024;
/// The longest body of an answer that a guest gives, in bytes.
const LONGEST_BODY: usize = 1 << 20;
/// What one call may carry from a guest to the edge, in bytes: the longest answer with its fields.
pub(super) const MOST_CARRIED: usize = LONGEST_BODY + 2 * MOST_FIELD_BYTES;
/// The most tags that guests may give one response.
const MOST_TAGS: usize = 256;
/// The most tags and URLs that one purge may name.
const MOST_PURGED: usize = 1_000;

/// A field name that a guest may change.
pub(super) fn field_name(name: &str) -> Result<HeaderName, Refusal> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Refusal::InvalidName)?;
    if is_reserved(&name) {
        return Err(Refusal::Forbidden);
    }
    Ok(name)
}

/// A field value as a guest may write it.
pub(super) fn field_value(value: &[u8]) -> Result<HeaderValue, Refusal> {
    HeaderValue::from_bytes(value).map_err(|_| Refusal::InvalidValue)
}

/// The same of bytes that are not copied.
pub(super) fn own_field_value(value: Vec<u8>) -> Result<HeaderValue, Refusal> {
    HeaderValue::from_maybe_shared(Bytes::from(value)).map_err(|_| Refusal::InvalidValue)
}

/// Fields that belong to the connection or to the edge: they say how a message is delimited,
/// whose it is, or what the next hop must do with it (RFC 9110 §7.2, §7.6.1; RFC 9112 §6).
fn is_reserved(name: &HeaderName) -> bool {
    const ALSO: [&str; 3] = ["keep-alive", "proxy-connection", "http2-settings"];
    [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::EXPECT,
        header::HOST,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ]
    .contains(name)
        || ALSO.contains(&name.as_str())
}

/// How much has been put into a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Put {
    lines: usize,
    /// Names and values together.
    bytes: usize,
}

impl Put {
    /// Counts one more line, where that is not too much.
    pub(super) fn add(&mut self, name: &HeaderName, value: usize) -> Result<(), Refusal> {
        let after = Put {
            lines: self.lines + 1,
            bytes: self.bytes + name.as_str().len() + value,
        };
        if after.lines > MOST_FIELDS || after.bytes > MOST_FIELD_BYTES {
            return Err(Refusal::TooLarge);
        }
        *self = after;
        Ok(())
    }
}

/// Sets a field (`append` keeps what it has), where not too much has been put already. Where it has, a
/// field that was to be replaced is gone all the same. What the message came with counts for nothing,
/// so that nobody but the guest can fill what it may put.
pub(super) fn put_field(
    headers: &mut HeaderMap,
    already: &mut Put,
    name: HeaderName,
    value: HeaderValue,
    append: bool,
) -> Result<(), Refusal> {
    if let Err(refusal) = already.add(&name, value.len()) {
        if !append {
            // Nobody else's value stands in for the guest's.
            headers.remove(name);
        }
        return Err(refusal);
    }
    let put = if append {
        headers.try_append(name, value).map(drop)
    } else {
        headers.try_insert(name, value).map(drop)
    };
    put.map_err(|_| Refusal::TooLarge)
}

/// All fields, as a guest gets them.
pub(super) fn fields(headers: &HeaderMap) -> Vec<types::Header> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect()
}

/// A path with its query in origin form (RFC 9112 §3.2.1).
pub(super) fn path_and_query(value: &str) -> Result<PathAndQuery, Refusal> {
    if value.len() > LONGEST_PATH {
        return Err(Refusal::TooLarge);
    }
    let is_plain = value
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if !value.starts_with('/') || !is_plain {
        return Err(Refusal::InvalidValue);
    }
    value.parse().map_err(|_| Refusal::InvalidValue)
}

/// Adds a part to a cache key. A line feed, which no part can have, ends each.
pub(super) fn append_key(key: &mut String, part: &str) -> Result<(), Refusal> {
    if part.chars().any(char::is_control) {
        return Err(Refusal::InvalidValue);
    }
    if part.len() > LONGEST_NAME || key.len() + part.len() >= LONGEST_PATH {
        return Err(Refusal::TooLarge);
    }
    key.push_str(part);
    key.push('\n');
    Ok(())
}

/// A status that a guest may put in the place of `before`. Neither may say how the message is framed
/// or which part of what it holds (RFC 9110 §15.2, §15.3.5-7, §15.4.5, §15.5.17).
pub(super) fn status(before: StatusCode, after: u16) -> Result<StatusCode, Refusal> {
    let is_bound = |status: u16| matches!(status, 100..=199 | 204 | 205 | 206 | 304 | 416);
    if is_bound(before.as_u16()) || is_bound(after) {
        return Err(Refusal::Forbidden);
    }
    if !(200..600).contains(&after) {
        return Err(Refusal::InvalidValue);
    }
    StatusCode::from_u16(after).map_err(|_| Refusal::InvalidValue)
}

/// What a guest says in place of a route's policy.
pub(super) fn policy(policy: &types::CachePolicy) -> PolicyChanges {
    PolicyChanges {
        ttl: policy.ttl.map(seconds),
        default_ttl: policy.default_ttl.map(seconds),
        stale_while_revalidate: policy.stale_while_revalidate.map(seconds),
        stale_if_error: policy.stale_if_error.map(seconds),
        honour_request_directives: policy.honour_request_directives,
    }
}

/// A lifetime as a guest gives it.
pub(super) fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

/// Adds a tag to those of a response.
pub(super) fn add_tag(tags: &mut Vec<String>, tag: String) -> Result<(), Refusal> {
    if !is_tag(&tag) {
        return Err(Refusal::InvalidValue);
    }
    if tags.len() >= MOST_TAGS {
        return Err(Refusal::TooLarge);
    }
    if !tags.contains(&tag) {
        tags.push(tag);
    }
    Ok(())
}

fn is_tag(tag: &str) -> bool {
    let is_visible = |character: char| !character.is_whitespace() && !character.is_control();
    (1..=LONGEST_NAME).contains(&tag.len()) && tag.chars().all(is_visible)
}

/// A guest's purge, with its paths completed. What nothing can be stored under is left out, so
/// that it does not keep the rest from being purged.
///
/// # Errors
/// When it names more than one purge may.
pub(super) fn purge_order(
    order: wit_purge::Order,
    scheme: &str,
    authority: &str,
) -> Result<PurgeOrder, String> {
    let named = order.tags.len() + order.urls.len();
    if named > MOST_PURGED {
        return Err(format!(
            "{named} tags and urls in one purge instead of {MOST_PURGED} at most"
        ));
    }
    let url = |url: String| {
        if path_and_query(&url).is_ok() {
            return Some(format!("{scheme}://{authority}{url}"));
        }
        let parsed: Uri = url.parse().ok()?;
        let is_http = matches!(parsed.scheme_str(), Some("http" | "https"));
        (is_http && parsed.authority().is_some()).then_some(url)
    };
    Ok(PurgeOrder {
        tags: order.tags.into_iter().filter(|tag| is_tag(tag)).collect(),
        urls: order.urls.into_iter().filter_map(url).collect(),
        soft: order.soft,
        lsn: None,
    })
}

/// A guest's own answer.
///
/// # Errors
/// When its status is no final one (RFC 9110 §15), or its body too long.
pub(super) fn reply(reply: types::Reply) -> Result<http::Response<Bytes>, Exceeded> {
    let status = StatusCode::from_u16(reply.status).map_err(|_| Exceeded::Answer)?;
    if !(200..600).contains(&reply.status) {
        return Err(Exceeded::Answer);
    }
    if reply.body.len() > LONGEST_BODY {
        return Err(Exceeded::AnswerSize);
    }
    let has_body = status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED;
    let body = if has_body {
        Bytes::from(reply.body)
    } else {
        Bytes::new()
    };
    let mut response = http::Response::new(body);
    *response.status_mut() = status;
    let mut put = Put::default();
    for (name, value) in reply.headers {
        // What the guest may not say is left out; what it may, it says.
        let _ = field_name(&name).and_then(|name| {
            let value = field_value(&value)?;
            put_field(response.headers_mut(), &mut put, name, value, true)
        });
    }
    Ok(response)
}

/// Windows as the counters take them.
///
/// # Errors
/// Which bound they exceed.
pub(super) fn windows(windows: &[wit::Window]) -> Result<Vec<Window>, String> {
    let windows: Vec<Window> = windows
        .iter()
        .map(|window| Window {
            limit: window.limit,
            seconds: window.seconds,
        })
        .collect();
    Window::check(&windows).map(|()| windows)
}

/// A verdict as a guest gets it.
pub(super) fn verdict(verdict: &Verdict) -> wit::Verdict {
    let standing = |standing: &super::limits::Standing| wit::Standing {
        remaining: standing.remaining,
        reset_after: standing.reset_after,
        retry_after: standing.retry_after,
    };
    wit::Verdict {
        allowed: verdict.allowed,
        standings: verdict.standings.iter().map(standing).collect(),
    }
}

/// A route's configuration of a plugin as the JSON that the guest gets.
///
/// # Errors
/// When it holds a number that JSON has not.
pub(super) fn json(table: &toml::Table) -> Result<String, String> {
    let members: Result<serde_json::Map<_, _>, String> = table
        .iter()
        .map(|(name, value)| Ok((name.clone(), json_value(value)?)))
        .collect();
    members.map(|members| serde_json::Value::Object(members).to_string())
}

fn json_value(value: &toml::Value) -> Result<serde_json::Value, String> {
    Ok(match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Boolean(truth) => (*truth).into(),
        toml::Value::Datetime(moment) => moment.to_string().into(),
        toml::Value::Float(number) => serde_json::Number::from_f64(*number)
            .ok_or_else(|| format!("{number} is no number in JSON"))?
            .into(),
        toml::Value::Array(values) => {
            let values: Result<Vec<_>, _> = values.iter().map(json_value).collect();
            values?.into()
        }
        toml::Value::Table(table) => {
            let members: Result<serde_json::Map<_, _>, String> = table
                .iter()
                .map(|(name, value)| Ok((name.clone(), json_value(value)?)))
                .collect();
            members?.into()
        }
    })
}

/// A guest's line as the log takes it: no longer than `longest` bytes, and one line only.
pub(super) fn log_line(message: &str, longest: usize) -> String {
    let cut = message.floor_char_boundary(longest);
    message[..cut].replace(char::is_control, " ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_hook_may_put_as_much_whatever_the_client_has_sent() {
        let pad = HeaderName::from_static("x-pad");
        let user = HeaderName::from_static("x-user");
        let mut headers = HeaderMap::new();
        headers.insert(user.clone(), HeaderValue::from_static("admin"));
        for _ in 0..2 * MOST_FIELDS {
            headers.append(pad.clone(), HeaderValue::from_static(""));
        }
        let mut already = Put::default();
        let mut put = |headers: &mut HeaderMap, value, append| {
            put_field(headers, &mut already, user.clone(), value, append)
        };
        let value = HeaderValue::from_static("guest");
        // What was refused counts for nothing.
        let long = HeaderValue::from_str(&"a".repeat(MOST_FIELD_BYTES)).unwrap();
        assert_eq!(put(&mut headers, long, true), Err(Refusal::TooLarge));
        assert_eq!(put(&mut headers, value.clone(), false), Ok(()));
        assert_eq!(headers[&user], "guest");
        for _ in 1..MOST_FIELDS {
            assert_eq!(put(&mut headers, value.clone(), true), Ok(()));
        }
        assert_eq!(
            put(&mut headers, value.clone(), true),
            Err(Refusal::TooLarge)
        );
        assert_eq!(headers.get_all(&user).iter().count(), MOST_FIELDS);
        assert_eq!(put(&mut headers, value, false), Err(Refusal::TooLarge));
        assert!(!headers.contains_key(user));
    }

    #[test]
    fn fields_of_the_connection_and_broken_ones_are_refused() {
        for (name, expected) in [
            ("x-a", Ok(())),
            ("X-A", Ok(())),
            ("", Err(Refusal::InvalidName)),
            ("x a", Err(Refusal::InvalidName)),
            ("x-a\r\nx-b", Err(Refusal::InvalidName)),
            ("Connection", Err(Refusal::Forbidden)),
            ("content-length", Err(Refusal::Forbidden)),
            ("Transfer-Encoding", Err(Refusal::Forbidden)),
            ("keep-alive", Err(Refusal::Forbidden)),
            ("host", Err(Refusal::Forbidden)),
        ] {
            assert_eq!(field_name(name).map(drop), expected, "{name:?}");
        }
        for (value, is_valid) in [
            (&b"1"[..], true),
            (b"", true),
            (b"a\tb \xff", true),
            (b"1\r\nx: 2", false),
            (b"1\n", false),
            (b"\0", false),
            (b"\x7f", false),
        ] {
            assert_eq!(field_value(value).is_ok(), is_valid, "{value:?}");
        }
    }

    #[test]
    fn paths_are_in_origin_form() {
        for (path, is_valid) in [
            ("/", true),
            ("/a?b=c&d", true),
            ("/a%20b", true),
            ("a", false),
            ("", false),
            ("*", false),
            ("?a", false),
            ("/a b", false),
            ("/a#b", false),
            ("/a\r\nx: y", false),
            ("/\u{e4}", false),
        ] {
            assert_eq!(path_and_query(path).is_ok(), is_valid, "{path:?}");
        }
    }

    #[test]
    fn a_status_that_frames_the_message_is_not_the_guests() {
        for (before, after, expected) in [
            (200, 404, Ok(())),
            (404, 200, Ok(())),
            (503, 299, Ok(())),
            (200, 99, Err(Refusal::InvalidValue)),
            (200, 600, Err(Refusal::InvalidValue)),
            (200, 101, Err(Refusal::Forbidden)),
            (200, 204, Err(Refusal::Forbidden)),
            (200, 206, Err(Refusal::Forbidden)),
            (200, 304, Err(Refusal::Forbidden)),
            (204, 200, Err(Refusal::Forbidden)),
            (206, 200, Err(Refusal::Forbidden)),
            (304, 200, Err(Refusal::Forbidden)),
            (416, 200, Err(Refusal::Forbidden)),
        ] {
            let before = StatusCode::from_u16(before).unwrap();
            assert_eq!(
                status(before, after).map(drop),
                expected,
                "{before} {after}"
            );
        }
    }

    #[test]
    fn a_purge_names_what_can_be_stored_and_nothing_else() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let order = wit_purge::Order {
            tags: names(&["a", "", "b c", "d\n", "\u{e4}"]),
            urls: names(&[
                "/a?b",
                "https://x.test/y",
                "ftp://x.test/",
                "relative",
                "/a b",
            ]),
            soft: true,
        };
        let expected = PurgeOrder {
            tags: names(&["a", "\u{e4}"]),
            urls: names(&["http://e.test:81/a?b", "https://x.test/y"]),
            soft: true,
            lsn: None,
        };
        assert_eq!(purge_order(order, "http", "e.test:81"), Ok(expected));
        let order = wit_purge::Order {
            tags: vec!["a".to_owned(); 1_001],
            urls: vec![],
            soft: false,
        };
        assert!(purge_order(order, "http", "e.test").is_err());
    }

    #[test]
    fn a_reply_is_a_final_response() {
        for (status, is_final) in [
            (99, false),
            (101, false),
            (200, true),
            (599, true),
            (600, false),
        ] {
            let made = reply(types::Reply {
                status,
                headers: vec![],
                body: vec![],
            });
            assert_eq!(made.is_ok(), is_final, "{status}");
        }
        let made = reply(types::Reply {
            status: 204,
            headers: vec![],
            body: vec![1],
        });
        assert!(made.is_ok_and(|made| made.body().is_empty()));
    }

    #[test]
    fn a_reply_is_no_longer_than_it_may_be() {
        for (length, expected) in [(LONGEST_BODY, true), (LONGEST_BODY + 1, false)] {
            let made = reply(types::Reply {
                status: 200,
                headers: vec![],
                body: vec![0; length],
            });
            assert_eq!(made.is_ok(), expected, "{length}");
        }
    }

    #[test]
    fn a_configuration_becomes_json() {
        let table =
            toml::from_str("a = 1\nb = [1.5, true]\nc = { d = \"x\" }\ne = 2026-01-02\n").unwrap();
        let expected = r#"{"a":1,"b":[1.5,true],"c":{"d":"x"},"e":"2026-01-02"}"#;
        assert_eq!(json(&table), Ok(expected.to_owned()));
        assert!(json(&toml::from_str("a = nan").unwrap()).is_err());
    }

    #[test]
    fn a_log_line_is_one_line_and_cut_between_characters() {
        assert_eq!(log_line("a\nb\u{1b}[31m", 100), "a b [31m");
        assert_eq!(log_line("\u{e4}\u{e4}", 3), "\u{e4}");
    }
}
