//! `CDN-Cache-Control`, `Cache-Groups` and `No-Vary-Search`: the first half of the input in each; the second is a query.

#![no_main]

use std::collections::HashSet;

use http::header::HeaderMap;
use http::{HeaderValue, Method, StatusCode};
use libfuzzer_sys::fuzz_target;
use sfv::{BareItem, Dictionary, List, ListEntry, Parser};
use tidegate_fuzz::{field, halves, judged};
use tidegate_semantics::targeted::governing;
use tidegate_semantics::{Policy, Storable, Variance, combined, invalidated_groups, tags};

fuzz_target!(|data: &[u8]| {
    let (text, query) = halves(data);
    targeted(field("cdn-cache-control", text));
    groups(
        &field("cache-groups", text),
        &field("cache-group-invalidation", text),
    );
    if let Ok(query) = std::str::from_utf8(query) {
        variance(&field("no-vary-search", text), query);
    }
});

/// A field that is no dictionary does not govern; one that governs and says `no-store` is obeyed.
fn targeted(mut response: HeaderMap) {
    response.insert(
        "cache-control",
        HeaderValue::from_static("public, max-age=60"),
    );
    response.insert("etag", HeaderValue::from_static("\"a\""));
    let value =
        combined(&response, &"cdn-cache-control".parse().expect("a name")).unwrap_or_default();
    let dictionary: Option<Dictionary> = Parser::new(&value).parse().ok();
    let governing = governing(&response, &Policy::default());
    let Some(dictionary) = dictionary.filter(|dictionary| !dictionary.is_empty()) else {
        assert!(!governing.targeted, "what is no dictionary is not used");
        return;
    };
    let is_set = |name: &str| match dictionary.get(name) {
        Some(ListEntry::Item(item)) => item.bare_item == BareItem::Boolean(true),
        _ => false,
    };
    if !governing.targeted {
        return;
    }
    assert_eq!(governing.directives.no_store, is_set("no-store"));
    assert_eq!(
        governing.directives.must_revalidate,
        is_set("must-revalidate")
    );
    let refused = matches!(judged(&response), Storable::Refuse(_));
    assert!(refused || !is_set("private"));
    assert!(refused || !is_set("no-store") || is_set("must-understand"));
}

/// Groups are the strings of a list of strings, each once and bound to the origin; else there are none.
fn groups(members: &HeaderMap, invalidation: &HeaderMap) {
    let value = combined(members, &"cache-groups".parse().expect("a name")).unwrap_or_default();
    let list: List = Parser::new(&value).parse().unwrap_or_default();
    let names: Option<HashSet<&str>> = list
        .iter()
        .map(|member| match member {
            ListEntry::Item(item) => item.bare_item.as_string().map(|name| name.as_str()),
            ListEntry::InnerList(_) => None,
        })
        .collect();
    let tags = tags("https", "A.test:443", members);
    assert_eq!(tags.len(), names.unwrap_or_default().len());
    assert!(
        tags.iter()
            .all(|tag| tag.starts_with("group:https://a.test "))
    );
    let fallen =
        |method| invalidated_groups(&method, "https", "a.test", StatusCode::OK, invalidation);
    assert_eq!(fallen(Method::POST), tags, "what is named falls");
    assert!(fallen(Method::GET).is_empty());
}

/// A canonical query is equivalent to what it was made of, and is its own.
fn variance(response: &HeaderMap, query: &str) {
    let variance = Variance::of(response);
    let canonical = variance.canonical(Some(query));
    if variance.is_default() {
        assert_eq!(canonical, format!("?{query}"));
        return;
    }
    assert!(canonical.is_empty() || canonical.starts_with('?'));
    assert!(canonical.bytes().all(|byte| byte.is_ascii_graphic()));
    assert_eq!(canonical.matches('?').count(), canonical.len().min(1));
    let again = canonical.strip_prefix('?');
    assert_eq!(variance.canonical(again), canonical);
    assert!(variance.are_equivalent(again, Some(query)));
    let spaced = query.replace('+', "%20").replace('&', "&&");
    assert!(
        variance.are_equivalent(Some(&spaced), Some(query)),
        "spelling makes no difference"
    );
    assert!(variance.are_equivalent(None, Some("")));
}
