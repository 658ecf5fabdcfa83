use tidegate_semantics::Variance;

use crate::support::headers;

fn variance(value: &str) -> Variance {
    Variance::of(&headers(&[&format!("No-Vary-Search: {value}")]))
}

#[test]
fn what_makes_no_difference_is_no_part_of_the_canonical_query() {
    let rows = [
        ("§1, key-order", "key-order", "b=2&a=1", "?a=1&b=2"),
        (
            "§5, stable",
            "key-order",
            "b=2&a=9&b=1&a=1",
            "?a=9&a=1&b=2&b=1",
        ),
        ("§4, key-order false", "key-order=?0", "b=2&a=1", "?b=2&a=1"),
        ("§1, params", "params=(\"a\" \"c\")", "b=2&a=1&c", "?b=2"),
        ("§1, all gone", "params=(\"a\")", "a=1&a=2", ""),
        (
            "§1, names are case-sensitive",
            "params=(\"A\")",
            "a=1",
            "?a=1",
        ),
        ("§1, except", "except=(\"a\")", "b=2&a=1&c", "?a=1"),
        ("§4, except nothing", "except=()", "b=2&a=1", ""),
        ("earlier drafts, params", "params", "b=2&a=1", ""),
        (
            "earlier drafts, both",
            "params, except=(\"a\")",
            "b=2&a=1&c",
            "?a=1",
        ),
        (
            "§4, with key-order",
            "key-order, params=(\"x\")",
            "c&x=1&b",
            "?b=&c=",
        ),
        (
            "§4, parameters of members",
            "params=(\"a\";x=1);y, key-order;z",
            "c&b&a",
            "?b=&c=",
        ),
        (
            "§4, unknown keys",
            "params=(\"a\"), future=(1 2)",
            "a=1&b=2",
            "?b=2",
        ),
        (
            "RFC 9651 §3.2, the last of two",
            "params=(\"b\"), params=(\"a\")",
            "a=1&b=2",
            "?b=2",
        ),
        (
            "§4.3, an encoded name",
            "params=(\"%C3%A9+%E6%B0%97\")",
            "%C3%A9%20%E6%B0%97=4&a",
            "?a=",
        ),
        ("§5, percent-decoding", "key-order", "%61=%78", "?a=x"),
        ("§5, plus", "key-order", "a=+b", "?a=%20b"),
        ("§5, no UTF-8", "key-order", "a=%f6", "?a=%EF%BF%BD"),
        ("§5, empty parameters", "key-order", "&&a=x&&&", "?a=x"),
        ("§5, no value", "key-order", "a", "?a="),
        ("§5, no name", "key-order", "=1&=", "?=1&="),
        ("§5, more equals signs", "key-order", "a=b=c", "?a=b%3Dc"),
        (
            "§5, encoded separators",
            "key-order",
            "a=1%26b%3D2",
            "?a=1%26b%3D2",
        ),
        (
            "§5, cut escapes",
            "key-order",
            "a=%&b=%4&c=%zz",
            "?a=%25&b=%254&c=%25zz",
        ),
        ("§5, no query", "key-order", "", ""),
    ];
    for (rule, value, query, expected) in rows {
        assert_eq!(
            variance(value).canonical(Some(query)),
            expected,
            "{rule}: {value} of {query}"
        );
        assert!(!variance(value).is_default() || value == "key-order=?0");
    }
}

#[test]
fn what_cannot_be_understood_leaves_every_difference() {
    let values = [
        "",
        "unknown-key",
        "key-order=?0",
        "params=()",
        "params=?0",
        "params=?0, key-order",
        "key-order=\"not a boolean\"",
        "key-order=1, params=(\"a\")",
        "key-order=(\"a\")",
        "params=\"no list\"",
        "params=(not-a-string)",
        "params=(\"a\" 1)",
        "params=(\"a\"), except=(\"x\")",
        "params=(), except=()",
        "params=?0, except=(\"x\")",
        "params=1, except=(\"x\")",
        "params, except=(not-a-string)",
        "params, except=\"no list\"",
        "except=?1",
        "except=\"no list\"",
        "except=(not-a-string)",
        "params=(\"a\"",
        "params=(\"a\",\"b\")",
        "PARAMS",
        "params, ,",
        "key-order params",
        "!!!",
    ];
    for value in values {
        assert!(variance(value).is_default(), "§4: {value}");
    }
    assert!(Variance::of(&headers(&[])).is_default());
    let lines = headers(&[
        "No-Vary-Search: params=(\"a\")",
        "No-Vary-Search: key-order",
    ]);
    let whole = variance("params=(\"a\"), key-order");
    assert_eq!(
        Variance::of(&lines),
        whole,
        "RFC 9651 §4.2, lines are one value"
    );
}

#[test]
fn names_are_a_set() {
    assert_eq!(
        variance("params=(\"a\" \"b\")"),
        variance("params=(\"b\" \"%61\" \"b\")")
    );
    assert_ne!(variance("params=(\"a\")"), variance("except=(\"a\")"));
    assert_eq!(variance("params"), variance("except=()"));
}

#[test]
fn queries_are_equivalent_as_parameters_unless_every_difference_counts() {
    let rows = [
        (None, Some(""), true),
        (Some("a=x"), Some("%61=%78"), true),
        (Some("a=é"), Some("a=%C3%A9"), true),
        (Some("a=%f6"), Some("a=%ef%bf%bd"), true),
        (Some("a=x&&&&"), Some("a=x"), true),
        (Some("a="), Some("a"), true),
        (Some("a=%20"), Some("a= &"), true),
        (Some("a=+"), Some("a= &"), true),
        (Some("a=%2B"), Some("a=+"), false),
        (Some("a=%C3%A9"), Some("a=e%CC%81"), false),
        (Some("a=1&b=2"), Some("a=1%26b=2"), false),
        (Some("a=b&c"), Some("a=b&c=c"), false),
        (Some("a=1&a=2"), Some("a=2&a=1"), false),
        (Some("="), None, false),
    ];
    for (one, other, expected) in rows {
        let ordered = variance("key-order");
        assert_eq!(
            ordered.are_equivalent(one, other),
            expected,
            "§5: {one:?}, {other:?}"
        );
        assert_eq!(ordered.canonical(one) == ordered.canonical(other), expected);
        assert!(ordered.are_equivalent(one, one) && ordered.are_equivalent(other, other));
        let exact = Variance::default();
        assert!(
            !exact.are_equivalent(one, other),
            "§5, default: {one:?}, {other:?}"
        );
        assert_ne!(exact.canonical(one), exact.canonical(other));
    }
}
