//! What a step expected, against what came of it.

use std::collections::BTreeMap;

use http::HeaderMap;

use super::client::Response;
use super::origin::Asked;
use super::scenario::{Expect, Reached, Wanted};

/// The most of a text that is shown, in bytes.
const MOST: usize = 2 << 10;

/// What differs, a line each.
pub(super) fn differences(expect: &Expect, response: &Response, asked: &[Asked]) -> Vec<String> {
    let mut differences = Vec::new();
    let mut differs = |what: &str, wanted: &str, found: &str| {
        if wanted != found {
            let found = cut(found);
            differences.push(format!("{what}: {found:?} instead of {wanted:?}"));
        }
    };
    if let Some(status) = expect.status {
        differs("status", &status.to_string(), response.status.as_str());
    }
    if let Some(body) = &expect.body {
        differs("body", body, &response.body);
    }
    if let Some(cache) = &expect.cache {
        let found = cache_status(&response.headers);
        let has = |wanted: &str| found.split("; ").any(|part| part == wanted);
        if !cache.split(';').all(|wanted| has(wanted.trim())) {
            differs("cache", cache, &found);
        }
    }
    differences.extend(in_fields("header", &expect.headers, &response.headers));
    if let Some(reached) = &expect.origin {
        differences.extend(at_origin(reached, asked));
    }
    differences
}

fn at_origin(reached: &Reached, asked: &[Asked]) -> Vec<String> {
    let mut differences = Vec::new();
    if let Some(requests) = reached.requests.filter(|requests| *requests != asked.len()) {
        differences.push(format!(
            "origin: {} requests instead of {requests}",
            asked.len()
        ));
    }
    match asked.last() {
        Some(last) => {
            if let Some(path) = reached.path.as_ref().filter(|path| **path != last.path) {
                differences.push(format!("origin: path {:?} instead of {path:?}", last.path));
            }
            differences.extend(in_fields("origin: header", &reached.headers, &last.headers));
        }
        None if reached.path.is_some() || !reached.headers.is_empty() => {
            differences.push("origin: was not asked".to_owned());
        }
        None => {}
    }
    differences
}

fn in_fields(what: &str, wanted: &BTreeMap<String, Wanted>, found: &HeaderMap) -> Vec<String> {
    let difference = |(name, wanted): (&String, &Wanted)| {
        let values: Vec<_> = found
            .get_all(name.as_str())
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        let there = (!values.is_empty()).then(|| values.join(", "));
        match (wanted, there) {
            (Wanted::Value(wanted), Some(found)) if *wanted != found => {
                Some(format!("{what} {name}: {found:?} instead of {wanted:?}"))
            }
            (Wanted::Value(wanted), None) => {
                Some(format!("{what} {name}: none instead of {wanted:?}"))
            }
            (Wanted::There(true), None) => Some(format!("{what} {name}: none")),
            (Wanted::There(false), Some(found)) => {
                Some(format!("{what} {name}: {found:?} instead of none"))
            }
            _ => None,
        }
    };
    wanted.iter().filter_map(difference).collect()
}

/// As much of what was found as shows how it differs.
fn cut(found: &str) -> &str {
    &found[..found.floor_char_boundary(MOST)]
}

/// What the edge itself says in `Cache-Status`: the last member, without its name.
fn cache_status(headers: &HeaderMap) -> String {
    let last = headers.get_all("cache-status").iter().next_back();
    let text = last.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let text = text.unwrap_or_default();
    let own = text.rsplit(", ").next().unwrap_or_default();
    own.split_once("; ").map_or("", |(_, rest)| rest).to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use http::StatusCode;

    fn response() -> Response {
        let mut headers = HeaderMap::new();
        headers.insert("x-a", "1".parse().unwrap());
        headers.insert(
            "cache-status",
            "upstream; fwd=miss, tidegate; hit; ttl=7; detail=memory"
                .parse()
                .unwrap(),
        );
        Response {
            status: StatusCode::OK,
            headers,
            body: "hello".to_owned(),
        }
    }

    fn asked() -> Vec<Asked> {
        let mut headers = HeaderMap::new();
        headers.insert("x-b", "2".parse().unwrap());
        vec![Asked {
            path: "/a?b".to_owned(),
            headers,
        }]
    }

    fn found(expect: &str) -> Vec<String> {
        differences(&toml::from_str(expect).unwrap(), &response(), &asked())
    }

    #[test]
    fn what_is_as_expected_is_not_mentioned() {
        let expect = r#"
            status = 200
            body = "hello"
            cache = "hit; detail=memory"
            headers = { x-a = "1", x-c = false }
            origin = { requests = 1, path = "/a?b", headers = { x-b = true } }
        "#;
        assert_eq!(found(expect), Vec::<String>::new());
    }

    #[test]
    fn each_difference_says_what_was_found_and_what_was_wanted() {
        for (expect, difference) in [
            ("status = 429", r#"status: "200" instead of "429""#),
            ("body = \"\"", r#"body: "hello" instead of """#),
            (
                "cache = \"fwd=miss\"",
                r#"cache: "hit; ttl=7; detail=memory" instead of "fwd=miss""#,
            ),
            (
                "headers = { x-a = \"2\" }",
                r#"header x-a: "1" instead of "2""#,
            ),
            (
                "headers = { x-a = false }",
                r#"header x-a: "1" instead of none"#,
            ),
            ("headers = { x-c = true }", "header x-c: none"),
            (
                "headers = { x-c = \"3\" }",
                r#"header x-c: none instead of "3""#,
            ),
            (
                "origin = { requests = 0 }",
                "origin: 1 requests instead of 0",
            ),
            (
                "origin = { path = \"/\" }",
                r#"origin: path "/a?b" instead of "/""#,
            ),
            (
                "origin = { headers = { x-b = false } }",
                r#"origin: header x-b: "2" instead of none"#,
            ),
        ] {
            assert_eq!(found(expect), [difference], "{expect}");
        }
    }
}
