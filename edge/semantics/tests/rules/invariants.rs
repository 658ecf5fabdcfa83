//! What holds whatever anybody sends.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, StatusCode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select as one_of;
use sfv::{BareItem, List, ListEntry, Parser};
use tidegate_semantics as semantics;
use tidegate_semantics::{
    CacheStatus, Exchange, Forwarded, Policy, Refusal, Reuse, Standing, Storable, Terms, Timestamp,
    Variance, Vary, reuse, storable,
};

use crate::support::{NOW, Scene, headers};

/// The fields that some rule reads.
const FIELDS: [&str; 34] = [
    "accept-encoding",
    "accept-language",
    "age",
    "authorization",
    "cache-control",
    "cache-group-invalidation",
    "cache-groups",
    "cache-tag",
    "cdn-cache-control",
    "connection",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expires",
    "foo",
    "host",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "last-modified",
    "location",
    "no-vary-search",
    "pragma",
    "range",
    "set-cookie",
    "surrogate-control",
    "surrogate-key",
    "tidegate-cache-control",
    "vary",
    "xkey",
];

/// Words that mean something in one field or another.
const WORDS: [&str; 40] = [
    "max-age=60",
    "max-age=0",
    "s-maxage=9",
    "max-age=99999999999999999999",
    "max-age=60+30",
    "no-store",
    "private",
    "public",
    "no-cache",
    "no-cache=\"foo\"",
    "must-revalidate",
    "must-understand",
    "stale-while-revalidate=5",
    "stale-if-error=99999999",
    "max-stale",
    "min-fresh=3",
    "only-if-cached",
    "Sun, 06 Nov 2033 08:49:37 GMT",
    "Sunday, 06-Nov-33 09:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
    "bytes=0-9",
    "bytes=-5,0-",
    "bytes 0-9/100",
    "bytes 5-18446744073709551615/*",
    "*",
    "foo",
    "cookie",
    "\"a\"",
    "W/\"a\"",
    "\"",
    "a\\",
    "/a?b=1",
    "//h/..",
    "http://a.test/./b",
    "params=(\"a\"), key-order",
    "params, except=(\"%zz\")",
    "gzip;q=0.5",
    "2147483648",
    "-1",
    "",
];

fn value() -> impl Strategy<Value = HeaderValue> {
    let byte = prop_oneof![Just(b'\t'), b' '..=b'~', 128..=255u8];
    let bytes = vec(byte, 0..40)
        .prop_map(|bytes| HeaderValue::from_bytes(&bytes).expect("no control characters"));
    let words = vec(
        (
            one_of(&WORDS[..]),
            one_of(&[",", ", ", ";", "=", " ", "\t,"][..]),
        ),
        1..5,
    )
    .prop_map(|words| {
        let text: String = words.into_iter().flat_map(<[&str; 2]>::from).collect();
        HeaderValue::try_from(text).expect("words are values")
    });
    prop_oneof![1 => bytes, 2 => words, 2 => one_of(&WORDS[..]).prop_map(HeaderValue::from_static)]
}

fn fields() -> impl Strategy<Value = HeaderMap> {
    vec((one_of(&FIELDS[..]), value()), 0..8).prop_map(|lines| {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(HeaderName::from_static(name), value);
        }
        fields
    })
}

fn method() -> impl Strategy<Value = Method> {
    one_of(vec![
        Method::GET,
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::DELETE,
        Method::from_bytes(b"MEND").expect("a method"),
    ])
}

fn status() -> impl Strategy<Value = StatusCode> {
    let any = (100u16..1000).prop_map(|status| StatusCode::from_u16(status).expect("a status"));
    prop_oneof![Just(StatusCode::OK), Just(StatusCode::PARTIAL_CONTENT), any]
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        (0u64..1000).prop_map(Duration::from_secs),
        any::<u64>().prop_map(Duration::from_millis),
        Just(Duration::MAX),
    ]
}

prop_compose! {
    fn policy()(
        honour_request_directives: bool,
        ttl in proptest::option::weighted(0.2, duration()),
        default_ttl in proptest::option::weighted(0.2, duration()),
        status_ttl in vec((one_of(&["200", "404", "2xx", "5xx"][..]), duration()), 0..3),
        stale_while_revalidate in proptest::option::of(duration()),
        stale_if_error in proptest::option::of(duration()),
        heuristic_limit in proptest::option::of(duration()),
        store_set_cookie: bool,
        deception_armour: bool,
        max_tags in 0usize..5,
    ) -> Policy {
        Policy {
            honour_request_directives,
            ttl,
            default_ttl,
            status_ttl: status_ttl
                .into_iter()
                .map(|(pattern, ttl)| (pattern.parse().expect("a pattern"), ttl))
                .collect(),
            stale_while_revalidate,
            stale_if_error,
            heuristic_limit,
            store_set_cookie,
            deception_armour,
            max_tags,
            ..Policy::default()
        }
    }
}

/// Points in time anywhere, and such that lie near each other.
fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        any::<u64>().prop_map(Timestamp),
        (0u64..200_000).prop_map(|more| Timestamp(NOW.0 + more)),
        Just(Timestamp(0)),
        Just(Timestamp(u64::MAX)),
    ]
}

fn terms() -> impl Strategy<Value = Terms> {
    let windows = (duration(), duration(), duration());
    let basis = one_of(semantics::Basis::ALL);
    (time(), windows, any::<[bool; 2]>(), basis).prop_map(|(born, windows, flags, basis)| Terms {
        born,
        lifetime: windows.0,
        stale_while_revalidate: windows.1,
        stale_if_error: windows.2,
        must_revalidate: flags[0],
        always_validate: flags[1],
        basis,
    })
}

fn standing() -> impl Strategy<Value = Standing> {
    prop_oneof![
        Just(Standing::Valid),
        Just(Standing::BelowFloor),
        time().prop_map(Standing::SoftPurged),
    ]
}

/// A word in any letter case.
fn spelled(word: &'static str) -> impl Strategy<Value = String> {
    vec(any::<bool>(), word.len()).prop_map(move |upper| {
        let letters = word.chars().zip(upper);
        letters
            .map(|(letter, upper)| {
                if upper {
                    letter.to_ascii_uppercase()
                } else {
                    letter
                }
            })
            .collect()
    })
}

/// Directives that neither forbid storing nor let a response to `Authorization` be shared, however they look.
fn harmless() -> impl Strategy<Value = String> {
    prop_oneof![
        (0u64..1 << 40).prop_map(|age| format!("max-age={age}")),
        Just("max-age=60".to_owned()),
        Just("proxy-revalidate".to_owned()),
        Just("immutable".to_owned()),
        Just("x=\"public, s-maxage=9, must-revalidate\"".to_owned()),
        Just("x=\"a\\\", public\"".to_owned()),
        Just("publicity".to_owned()),
        Just("s-maxage=x".to_owned()),
        Just("stale-while-revalidate=60".to_owned()),
        Just(String::new()),
        "[a-l]{1,6}=[0-9a-f]{1,4}",
    ]
}

fn joined(parts: &[String], separator: &str) -> String {
    parts.join(separator)
}

proptest! {
    /// Also the arithmetic is checked here: tests run with overflow checks.
    #[test]
    fn nothing_that_is_sent_makes_anything_panic(
        (method, status) in (method(), status()),
        (request, response, later) in (fields(), fields(), fields()),
        (requested_at, received_at, now) in (time(), time(), time()),
        (policy, standing) in (policy(), standing()),
        path in "/[a-z.%]{0,8}(\\?[a-z&=+%0-9]{0,12})?",
        length: u64,
    ) {
        let target = PathAndQuery::try_from(path.as_str()).expect("a path");
        let exchange = Exchange {
            method: &method,
            path: &path,
            request: &request,
            status,
            response: &response,
            requested_at,
            received_at,
        };
        let _ = semantics::storing::explain(&exchange, &policy);
        let _ = semantics::stored_fields(&response, &policy);
        if let Storable::Keep(terms) = storable(&exchange, &policy) {
            prop_assert!(terms.age(now) <= Duration::from_millis(now.0), "no older than time itself");
            prop_assert!(terms.born <= received_at, "nothing is born after its receipt");
            let _ = (terms.ttl(now), terms.expires(), terms.useless_after(true), terms.grace());
            let _ = reuse(&later, &terms, now, standing, &policy);
            let _ = semantics::reuse::explain(&later, &terms, now, standing, &policy);
        }
        if let Ok(vary) = Vary::of(&response, &request) {
            prop_assert!(vary.matches(&request));
            let _ = (vary.matches(&later), vary.explain(&later), vary.variant());
        }
        let query = target.query();
        let _ = Variance::of(&response).canonical(query);
        let _ = semantics::only_if_cached(&later, &policy);
        let _ = semantics::evaluate(&later, &method, status, &response);
        let _ = semantics::not_modified_headers(&response);
        let _ = semantics::merge_not_modified(&response, &later);
        let _ = semantics::confirms(&response, &later);
        let _ = semantics::head_agrees(&response, &later);
        let _ = semantics::select(&method, &later, status, &response, length);
        let _ = semantics::are_of_one_representation(&response, &later);
        let _ = (semantics::range_validator(&response), semantics::merge_part(&response, &later));
        for line in response.get_all(header::CONTENT_RANGE) {
            if let Some(part) = semantics::parse_content_range(line) {
                let _ = semantics::select_part(&method, &later, &response, part.complete);
            }
        }
        let uris = semantics::invalidated(&method, "http", "a.test", &target, status, &response);
        prop_assert!(uris.iter().all(|uri| uri.path().starts_with('/')));
        let _ = semantics::invalidated_groups(&method, "http", "a.test", status, &response);
        let _ = semantics::tags("http", "a.test", &response);
        let mut stripped = response.clone();
        semantics::strip_hop_by_hop(&mut stripped);
        semantics::strip_surrogate_fields(&mut stripped);
        let mut conditional = later.clone();
        semantics::make_conditional(&mut conditional, &response);
    }

    /// Clocks may stand anywhere, and ages reach back before the epoch.
    #[test]
    fn no_clock_and_no_age_overflows(
        (requested_at, received_at, now) in (time(), time(), time()),
        age in "[0-9]{1,11}",
        date in one_of(&["Sun, 06 Nov 2033 08:49:37 GMT", "Sunday, 06-Nov-33 08:49:37 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", ""][..]),
        lifetime in 0u64..1 << 32,
        ttl in proptest::option::of(duration()),
    ) {
        let response = headers(&[
            &format!("Age: {age}"),
            &format!("Date: {date}"),
            &format!("Cache-Control: max-age={lifetime}"),
            "ETag: \"a\"",
        ]);
        let policy = Policy { ttl, ..Policy::default() };
        let exchange = Exchange {
            method: &Method::GET,
            path: "/",
            request: &HeaderMap::new(),
            status: StatusCode::OK,
            response: &response,
            requested_at,
            received_at,
        };
        let Storable::Keep(terms) = storable(&exchange, &policy) else { panic!("refused") };
        prop_assert!(terms.born <= received_at, "nothing is born after its receipt");
        prop_assert!(terms.age(now) <= Duration::from_millis(now.0), "no older than time itself");
        prop_assert_eq!(terms.is_fresh(now), terms.lifetime > terms.age(now));
        // Freshness counts from what Age says, also where the birth cannot.
        let age: u64 = age.parse().expect("digits");
        let fresh_for = ttl.unwrap_or(Duration::from_secs(lifetime.min(1 << 31)));
        let outlived = Duration::from_secs(age.min(1 << 31)) >= fresh_for;
        prop_assert!(!(outlived && terms.is_fresh(received_at)), "fresh past its lifetime: {terms:?}");
        let _ = (terms.ttl(now), terms.expires(), terms.useless_after(true), terms.grace());
    }

    #[test]
    fn no_store_and_private_are_refused_in_any_spelling_and_company(
        word in prop_oneof![spelled("no-store"), spelled("private")],
        argument in one_of(&["", "=1", "=\"a\"", "=\"", "=", ";a", " = 1"][..]),
        before in vec(harmless(), 0..4),
        after in vec(harmless(), 0..4),
        separator in one_of(&[",", ", ", " ,\t", ",,", "; "][..]),
        field in one_of(&["Cache-Control", "Surrogate-Control"][..]),
        status in status(),
        policy in policy(),
    ) {
        let value = [joined(&before, separator), format!("{word}{argument}"), joined(&after, separator)];
        let mut scene = Scene::new(200, &["ETag: \"a\"", &format!("{field}: {}", value.join(separator))]);
        (scene.status, scene.policy) = (status, policy);
        prop_assert!(scene.refusal().is_some(), "{:?}", scene.response);
    }

    #[test]
    fn a_targeted_no_store_or_private_is_refused_whatever_stands_beside_it(
        word in one_of(&["no-store", "private", "private=\"a\"", "no-store;a=1", "private=a"][..]),
        members in vec(one_of(&["max-age=60", "public", "x", "s-maxage=9;b", "y=(1 2)"][..]), 0..4),
        at in 0usize..4,
        plain in harmless(),
        policy in policy(),
    ) {
        let mut members: Vec<&str> = members;
        members.insert(at.min(members.len()), word);
        let targeted = format!("CDN-Cache-Control: {}", members.join(", "));
        let mut scene = Scene::new(200, &["ETag: \"a\"", &targeted, &format!("Cache-Control: {plain}")]);
        scene.policy = policy;
        prop_assert!(scene.refusal().is_some(), "{:?}", scene.response);
    }

    #[test]
    fn what_varies_on_everything_is_refused(
        names in vec(one_of(&["foo", "Accept", "cookie", "", " "][..]), 0..4),
        at in 0usize..4,
        lines: bool,
        policy in policy(),
    ) {
        let mut names: Vec<&str> = names;
        names.insert(at.min(names.len()), "*");
        let mut scene = Scene::new(200, &["ETag: \"a\"", "Cache-Control: max-age=60"]);
        if lines {
            for name in names {
                scene.response.append(header::VARY, HeaderValue::from_static(name));
            }
        } else {
            scene.response.insert(header::VARY, HeaderValue::try_from(names.join(",")).expect("a value"));
        }
        scene.policy = policy;
        prop_assert!(scene.refusal().is_some(), "{:?}", scene.response);
    }

    #[test]
    fn a_response_to_authorization_is_refused_without_permission(
        directives in vec(harmless(), 0..6),
        lines: bool,
        status in status(),
        policy in policy(),
    ) {
        let mut scene = Scene::new(200, &["ETag: \"a\""]);
        let values = if lines { directives } else { vec![joined(&directives, ", ")] };
        for value in values {
            scene.response.append(header::CACHE_CONTROL, HeaderValue::try_from(value).expect("a value"));
        }
        (scene.status, scene.policy) = (status, policy);
        scene.request = headers(&["Authorization: Basic eDp5"]);
        prop_assert!(scene.refusal().is_some(), "{:?}", scene.response);
    }

    #[test]
    fn stale_responses_are_used_only_as_their_terms_and_the_client_allow(
        terms in terms(),
        now in time(),
        standing in standing(),
        request in fields(),
        policy in policy(),
    ) {
        let answer = reuse(&request, &terms, now, standing, &policy);
        let asked = semantics::directives::RequestDirectives::of(&request);
        let accepts_stale = policy.honour_request_directives && asked.max_stale.is_some();
        let is_stale = !terms.is_fresh(now) || matches!(standing, Standing::SoftPurged(_));
        if terms.always_validate || standing == Standing::BelowFloor {
            let stored = matches!(answer, Reuse::Fresh | Reuse::StaleWhileRevalidate | Reuse::Validate { stale_if_error: true, .. });
            prop_assert!(!stored, "unvalidated: {answer:?}");
        }
        match answer {
            Reuse::Fresh => prop_assert!(!is_stale || (accepts_stale && !terms.must_revalidate)),
            Reuse::StaleWhileRevalidate => prop_assert!(is_stale && !terms.must_revalidate),
            Reuse::Validate { stale_if_error, .. } => prop_assert!(!(stale_if_error && is_stale && terms.must_revalidate)),
            Reuse::Unsatisfiable => prop_assert!(policy.honour_request_directives && asked.only_if_cached),
        }
        let steps = semantics::reuse::explain(&request, &terms, now, standing, &policy);
        let told = steps.last().map(|step| step.finding.clone());
        prop_assert_eq!(told, Some(answer.to_string()), "what is told is what is done");
    }

    #[test]
    fn a_cache_status_is_a_structured_field_that_says_what_was_meant(
        name in "[ -~]{1,12}",
        hit: bool,
        fwd in proptest::option::of(one_of(&Forwarded::ALL)),
        status in proptest::option::of(100u16..600),
        ttl in proptest::option::of(-999_999_999_999_999i64..=999_999_999_999_999),
        (stored, collapsed) in any::<(bool, bool)>(),
        key in proptest::option::of("[ -$&-~]{0,24}"),
        detail in proptest::option::of(one_of(Refusal::ALL).prop_map(Refusal::name)),
    ) {
        let status = status.map(|status| StatusCode::from_u16(status).expect("a status"));
        let member = CacheStatus { hit, fwd, fwd_status: status, ttl, stored, collapsed, key: key.clone(), detail };
        let value = member.to_header_value(&name);
        let list: List = Parser::new(value.as_bytes()).parse().expect("a structured field");
        let [ListEntry::Item(item)] = &list[..] else { panic!("one member") };
        let text = |item: &BareItem| match item {
            BareItem::String(text) => text.as_str().to_owned(),
            BareItem::Token(text) => text.as_str().to_owned(),
            other => format!("{other:?}"),
        };
        let parameter = |name: &str| item.params.get(name);
        let is_set = |name: &str| matches!(parameter(name), Some(BareItem::Boolean(true)));
        prop_assert_eq!(text(&item.bare_item), name);
        prop_assert_eq!(is_set("hit"), hit);
        prop_assert_eq!(is_set("stored"), stored && !hit);
        prop_assert_eq!(is_set("collapsed"), collapsed && !hit);
        prop_assert_eq!(parameter("fwd").map(text), fwd.filter(|_| !hit).map(|fwd| fwd.name().to_owned()));
        let number = |name: &str| match parameter(name) {
            Some(BareItem::Integer(number)) => Some(i64::from(*number)),
            _ => None,
        };
        prop_assert_eq!(number("ttl"), ttl);
        prop_assert_eq!(number("fwd-status"), status.filter(|_| !hit).map(|status| status.as_u16().into()));
        prop_assert_eq!(parameter("key").map(text), key);
        prop_assert_eq!(parameter("detail").map(text), detail.map(str::to_owned));
    }

    #[test]
    fn a_variant_can_be_read_back(request in fields(), names in vec(one_of(&FIELDS[..]), 0..5)) {
        let names: Vec<_> = names.into_iter().map(HeaderName::from_static).collect();
        let vary = Vary::select(&names, &request);
        let encoded = vary.variant();
        prop_assert_eq!(read_back(&encoded), Some(vary.fields.into_vec()));
    }

    #[test]
    fn canonical_queries_are_equal_exactly_where_the_parameters_that_count_are(
        one in "[ab]?(=?[12&=+%]|%6[1-3]|%3D|%26|&[abc]|&c=[12]){0,6}",
        other in "[ab]?(=?[12&=+%]|%6[1-3]|%3D|%26|&[abc]|&c=[12]){0,6}",
        field in one_of(&["key-order", "params=(\"a\")", "except=(\"a\" \"b\")", "key-order, params=(\"c\")", "params", ""][..]),
    ) {
        let variance = Variance::of(&headers(&[&format!("No-Vary-Search: {field}")]));
        let canonical = |query: &str| variance.canonical(Some(query));
        let expected = counted(&one, field) == counted(&other, field);
        prop_assert_eq!(canonical(&one) == canonical(&other), expected, "{} and {}", one, other);
        prop_assert_eq!(variance.are_equivalent(Some(&one), Some(&other)), expected);
        let once = canonical(&one);
        prop_assert_eq!(variance.canonical(once.strip_prefix('?')), once.clone(), "once is enough");
        if !field.is_empty() {
            prop_assert!(variance.are_equivalent(once.strip_prefix('?'), Some(&one)));
        }
    }
}

/// The fields of an encoded variant, by the layout that [`Vary::variant`] documents.
fn read_back(mut rest: &[u8]) -> Option<Vec<(HeaderName, Option<Vec<u8>>)>> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (name, after) = after.split_at_checked(length)?;
        let (is_present, after) = after.split_first()?;
        let name = HeaderName::from_bytes(name).ok()?;
        if *is_present == 0 {
            fields.push((name, None));
            rest = after;
            continue;
        }
        let (length, after) = after.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
        let (value, after) = after.split_at_checked(length)?;
        fields.push((name, Some(value.to_vec())));
        rest = after;
    }
    Some(fields)
}

/// A plainer reading of queries over the few characters used here: what must be equal for two to be equivalent.
fn counted(query: &str, field: &str) -> Vec<(String, String)> {
    if field.is_empty() {
        return vec![(query.to_owned(), String::new())];
    }
    let decoded = |text: &str| {
        let spaces = text.replace('+', " ");
        [
            ("%61", "a"),
            ("%62", "b"),
            ("%63", "c"),
            ("%3D", "="),
            ("%26", "&"),
        ]
        .iter()
        .fold(spaces, |text, (escape, letter)| {
            text.replace(escape, letter)
        })
    };
    let mut pairs: Vec<_> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(key), decoded(value))
        })
        .filter(|(key, _)| match field {
            "params=(\"a\")" => key != "a",
            "except=(\"a\" \"b\")" => key == "a" || key == "b",
            "key-order, params=(\"c\")" => key != "c",
            "params" => false,
            _ => true,
        })
        .collect();
    if field.starts_with("key-order") {
        pairs.sort_by(|one, other| one.0.cmp(&other.0));
    }
    pairs
}
