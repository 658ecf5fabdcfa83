//! What a route says of its keys: which query parameters count, and which fields and cookies of the
//! request count beside the URL.
//!
//! Whatever is left out of a key, requests that differ in it get one answer. So nothing is left out
//! that an origin might read under a name that counts.

use std::borrow::Cow;

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName};

use crate::config::{Key as Settings, Query};

/// The key policy of a route, ready to be used.
#[derive(Debug)]
pub struct KeyPolicy {
    query: Query,
    sort_query: bool,
    headers: Vec<HeaderName>,
    cookies: Vec<String>,
    /// Names the policy in every key: what one policy takes for the same, another may not.
    hash: [u8; 16],
}

impl KeyPolicy {
    /// The policy of these settings; `None` where they leave the key as it is.
    ///
    /// # Errors
    /// When a setting cannot be meant; the configuration has been checked for that.
    pub fn new(settings: &Settings) -> Result<Option<KeyPolicy>, String> {
        if *settings == Settings::default() {
            return Ok(None);
        }
        let mut headers = settings.header_names()?;
        let mut cookies = settings.cookies.clone();
        let mut query = settings.query.clone();
        // The order in which names are written makes no other policy.
        headers.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        cookies.sort_unstable();
        if let Query::Only(names) | Query::Except(names) = &mut query {
            names.sort_unstable();
        }
        let mut policy = KeyPolicy {
            query,
            sort_query: settings.sort_query,
            headers,
            cookies,
            hash: [0; 16],
        };
        let hash = blake3::hash(&policy.spelled_out(&settings.prefix));
        policy.hash.copy_from_slice(&hash.as_bytes()[..16]);
        Ok(Some(policy))
    }

    /// Whether the policy may make one of URLs that differ in their queries.
    pub fn changes_queries(&self) -> bool {
        self.sort_query || self.query != Query::All
    }

    /// Whether a key depends on who asks: on `Authorization` or a cookie, which a refresh in the
    /// background does not have.
    pub fn depends_on_user(&self) -> bool {
        !self.cookies.is_empty()
            || self
                .headers
                .iter()
                .any(|name| *name == AUTHORIZATION || *name == COOKIE)
    }

    /// A path and query with what does not count left out of the query, and in one order where the
    /// order does not count. Done twice, it is the same.
    pub fn path_and_query<'a>(&self, path_and_query: &'a str) -> Cow<'a, str> {
        let Some((path, query)) = path_and_query.split_once('?') else {
            return Cow::Borrowed(path_and_query);
        };
        if !self.changes_queries() {
            return Cow::Borrowed(path_and_query);
        }
        let mut parameters: Vec<&str> = query
            .split('&')
            .filter(|parameter| !parameter.is_empty() && self.counts(parameter))
            .collect();
        if self.sort_query {
            // Of several with one name, the order may count: theirs is kept.
            parameters.sort_by_cached_key(|parameter| name_of(parameter));
        }
        let mut canonical = String::with_capacity(path_and_query.len());
        canonical.push_str(path);
        for (at, parameter) in parameters.into_iter().enumerate() {
            canonical.push(if at == 0 { '?' } else { '&' });
            canonical.push_str(parameter);
        }
        if canonical == path_and_query {
            return Cow::Borrowed(path_and_query);
        }
        Cow::Owned(canonical)
    }

    /// What of a request's fields is part of its key, so written that no two selections are alike:
    /// the policy's own hash, then for each field and each cookie that counts the number of its
    /// values, and each value after its length. None is another number than one that is empty.
    pub fn selection(&self, request: &HeaderMap) -> Vec<u8> {
        let mut selection = self.hash.to_vec();
        for name in &self.headers {
            let values = request.get_all(name).iter();
            add(&mut selection, values.map(|value| value.as_bytes()));
        }
        for name in &self.cookies {
            add(&mut selection, cookies(request, name.as_bytes()));
        }
        selection
    }

    fn counts(&self, parameter: &str) -> bool {
        let fits = |names: &[String]| {
            let name = name_of(parameter);
            names.iter().any(|pattern| is_fit(pattern, &name))
        };
        // There are origins that part parameters by semicolons too, and would find in this one
        // another that counts.
        let is_ambiguous = parameter.contains(';');
        match &self.query {
            Query::All => true,
            Query::None => false,
            Query::Only(names) => is_ambiguous || fits(names) || fits_loosely(names, parameter),
            Query::Except(names) => is_ambiguous || !fits(names),
        }
    }

    /// Everything that makes this policy another than others.
    fn spelled_out(&self, prefix: &str) -> Vec<u8> {
        let (kind, names): (u8, &[String]) = match &self.query {
            Query::All => (0, &[]),
            Query::None => (1, &[]),
            Query::Only(names) => (2, names),
            Query::Except(names) => (3, names),
        };
        let mut text = vec![kind, u8::from(self.sort_query)];
        add(&mut text, names.iter().map(String::as_bytes));
        add(
            &mut text,
            self.headers.iter().map(|name| name.as_str().as_bytes()),
        );
        add(&mut text, self.cookies.iter().map(String::as_bytes));
        add(&mut text, std::iter::once(prefix.as_bytes()));
        text
    }
}

/// How many values there are, and each after its length.
fn add<'a>(text: &mut Vec<u8>, values: impl Iterator<Item = &'a [u8]>) {
    let at = text.len();
    text.extend(0_u64.to_le_bytes());
    let mut count = 0_u64;
    for value in values {
        text.extend((value.len() as u64).to_le_bytes());
        text.extend(value);
        count += 1;
    }
    text[at..at + 8].copy_from_slice(&count.to_le_bytes());
}

/// The values of all cookies of a name: which of several counts, origins do not agree on.
fn cookies<'a>(request: &'a HeaderMap, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let pairs = request
        .get_all(COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let pair = pair.trim_ascii();
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        (pair[..equals].trim_ascii_end() == name).then(|| pair[equals + 1..].trim_ascii_start())
    })
}

/// Whether an origin may read one of `names` in a parameter that is spelled otherwise: many take
/// `a[]`, `a[x]` and ` a` for `a`, `a.b` for `a_b`, or any letter case.
fn fits_loosely(names: &[String], parameter: &str) -> bool {
    let loose = |name: &[u8]| -> Vec<u8> {
        let end = name.iter().position(|byte| matches!(byte, b'[' | 0));
        let name = name[..end.unwrap_or(name.len())].trim_ascii_start();
        let plain = |byte: &u8| match byte {
            b'.' | b' ' => b'_',
            byte => byte.to_ascii_lowercase(),
        };
        name.iter().map(plain).collect()
    };
    let name = loose(&name_of(parameter));
    names.iter().any(|pattern| {
        let pattern = loose(pattern.as_bytes());
        is_fit(&String::from_utf8_lossy(&pattern), &name)
    })
}

fn is_fit(pattern: &str, name: &[u8]) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning.as_bytes()),
        None => name == pattern.as_bytes(),
    }
}

/// A parameter's name as an origin reads it: `%61` is `a` to it.
fn name_of(parameter: &str) -> Cow<'_, [u8]> {
    let name = parameter.split('=').next().unwrap_or(parameter).as_bytes();
    if !name.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(name);
    }
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        let escaped = match (*byte, behind) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        decoded.push(match (escaped, *byte) {
            (Some((high, low)), _) => {
                rest = &behind[2..];
                high << 4 | low
            }
            (None, b'+') => b' ',
            (None, byte) => byte,
        });
    }
    Cow::Owned(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn policy(settings: &str) -> KeyPolicy {
        let settings: Settings = toml::from_str(settings).expect(settings);
        let policy = KeyPolicy::new(&settings).expect("a good policy");
        policy.expect("not the default")
    }

    #[test]
    fn settings_that_change_nothing_are_no_policy() {
        for settings in ["", "query = \"all\"", "headers = []\nsort_query = false"] {
            let settings: Settings = toml::from_str(settings).expect(settings);
            assert!(KeyPolicy::new(&settings).expect("good").is_none());
        }
    }

    #[test]
    fn what_does_not_count_is_left_out_of_the_query() {
        let only = "query = { only = [\"a\", \"b*\"] }";
        let except = "query = { except = [\"utm_*\", \"fbclid\"] }";
        let sorted = "sort_query = true";
        for (settings, asked, expected) in [
            ("query = \"none\"", "/p?a=1", "/p"),
            ("query = \"none\"", "/p?", "/p"),
            ("prefix = \"v2\"", "/p?b&&a=", "/p?b&&a="),
            (only, "/p", "/p"),
            (only, "/p?a=1&c=2&b=3&bb=4&ab=5", "/p?a=1&b=3&bb=4"),
            (only, "/p?c", "/p"),
            (only, "/p?&&a&", "/p?a"),
            (only, "/p?a&a=&a=?", "/p?a&a=&a=?"),
            // Nor is it sure of what it sees in `A=1`, `a[]=1` or ` a=1`: those count too.
            (only, "/p?A=1", "/p?A=1"),
            (
                only,
                "/p?a[]=1&a%5Bx%5D=2&+a=3&c[a]=4",
                "/p?a[]=1&a%5Bx%5D=2&+a=3",
            ),
            (
                "query = { only = [\"a_b\"] }",
                "/p?a.b=1&a%20b=2&ab=3",
                "/p?a.b=1&a%20b=2",
            ),
            // An origin decodes names: what it takes for `a` counts as `a`.
            (only, "/p?%61=1&%62+=2", "/p?%61=1&%62+=2"),
            (only, "/p?%6=1&a%=2", "/p"),
            (
                except,
                "/p?utm_source=x&a=1&fbclid=2&fbclid2",
                "/p?a=1&fbclid2",
            ),
            (except, "/p?utm%5Fsource=x", "/p"),
            (except, "/p?utm_source", "/p"),
            (except, "/p?utm", "/p?utm"),
            // It may part them by semicolons too.
            (except, "/p?utm_x=1;a=2", "/p?utm_x=1;a=2"),
            (only, "/p?c=1;a=2", "/p?c=1;a=2"),
            (sorted, "/p?b=1&a=2&%61=1&a=0", "/p?a=2&%61=1&a=0&b=1"),
            (sorted, "/p?b&a=1", "/p?a=1&b"),
        ] {
            let policy = policy(settings);
            let canonical = policy.path_and_query(asked);
            assert_eq!(canonical, expected, "{asked} by {settings}");
            assert_eq!(policy.path_and_query(&canonical), expected, "twice");
        }
    }

    #[test]
    fn cookies_are_found_by_their_names_and_absent_is_not_empty() {
        let policy = policy("cookies = [\"c\"]");
        let selection = |lines: &[&str]| {
            let lines = lines
                .iter()
                .map(|line| HeaderValue::from_str(line).expect(line));
            let request = lines.map(|line| (COOKIE, line)).collect();
            policy.selection(&request)
        };
        let (absent, empty, one) = (selection(&[]), selection(&["c="]), selection(&["c=1"]));
        assert!(absent != empty && empty != one && absent != one);
        for (lines, expected) in [
            (&["cc=1; C=1; d=c"][..], &absent),
            (&["c"], &absent),
            (&["a=b;c=1 ; d"], &one),
            (&["a=b", "c=1"], &one),
        ] {
            assert_eq!(selection(lines), *expected, "{lines:?}");
        }
        assert_ne!(selection(&["c=1; c=2"]), one);
        assert_ne!(selection(&["c=1; c=2"]), selection(&["c=2; c=1"]));
    }

    #[test]
    fn policies_that_differ_have_keys_that_differ() {
        let nobody = HeaderMap::new();
        let settings = [
            "query = \"none\"",
            "sort_query = true",
            "query = { only = [\"a\"] }",
            "query = { except = [\"a\"] }",
            "query = { only = [\"a\", \"b\"] }",
            "headers = [\"a\"]",
            "cookies = [\"a\"]",
            "prefix = \"a\"",
            "prefix = \"b\"",
        ];
        let selections = settings.map(|settings| policy(settings).selection(&nobody));
        for (at, selection) in selections.iter().enumerate() {
            assert!(!selections[..at].contains(selection), "{}", settings[at]);
        }
        let other_order = policy("query = { only = [\"b\", \"a\"] }").selection(&nobody);
        assert_eq!(selections[4], other_order, "the order of names is none");
    }

    #[test]
    fn a_policy_knows_whether_keys_depend_on_who_asks() {
        for (settings, expected) in [
            ("headers = [\"x-device\"]", false),
            ("headers = [\"Cookie\"]", true),
            ("headers = [\"authorization\"]", true),
            ("cookies = [\"currency\"]", true),
        ] {
            assert_eq!(policy(settings).depends_on_user(), expected, "{settings}");
        }
    }
}
