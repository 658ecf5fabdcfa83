//! Orders that all name one response: `edge.test/` with the tag `t`.

/// The scopes that name it.
const SCOPES: [&str; 5] = [
    r#""urls": ["edge.test/"]"#,
    r#""tags": ["t"]"#,
    r#""prefixes": ["edge.test/"]"#,
    r#""hosts": ["edge.test"]"#,
    r#""all": true"#,
];

/// One of each scope, hard.
pub(crate) fn hard_orders() -> impl Iterator<Item = String> {
    SCOPES.iter().map(|scope| format!("{{{scope}}}"))
}

/// One of each scope, soft.
pub(crate) fn soft_orders() -> impl Iterator<Item = String> {
    SCOPES
        .iter()
        .map(|scope| format!("{{{scope}, \"soft\": true}}"))
}

/// One of each scope, hard and soft.
pub(crate) fn orders() -> impl Iterator<Item = String> {
    hard_orders().chain(soft_orders())
}
