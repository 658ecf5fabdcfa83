//! Which differences between query strings make a difference: `No-Vary-Search`
//! (draft-ietf-httpbis-no-vary-search).
//!
//! A response may say that the order of its URI's query parameters, or some of the parameters, have no part in what it
//! is. Queries that differ in nothing else are then equivalent, and one stored response serves them all. Whoever stores
//! by key wants a name for each such class of queries: [`Variance::canonical`].

use http::header::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, InnerList, ListEntry, Parser};

use crate::fields;

/// The field that says it.
pub const NO_VARY_SEARCH: HeaderName = HeaderName::from_static("no-vary-search");

/// What in a query makes a difference to a response; by default everything does, down to the spelling.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Default)]
pub struct Variance {
    /// Parameters of different names may change places.
    any_order: bool,
    significant: Significant,
}

/// The parameters that make a difference. Names are decoded, sorted, and each stands once.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
enum Significant {
    AllBut(Vec<String>),
    Only(Vec<String>),
}

impl Default for Significant {
    fn default() -> Self {
        Self::AllBut(Vec::new())
    }
}

impl Variance {
    /// What `response` says of its query.
    ///
    /// `key-order` is a boolean, `params` a list of the names that make no difference, `except` a list of the only ones
    /// that do. The boolean `params` of earlier drafts, which browsers document, is understood too: no parameter makes a
    /// difference, but for those in an `except` beside it. Other keys are ignored. Whatever is malformed, of a wrong
    /// type or contradictory makes everything count, for that costs no more than a hit.
    #[must_use]
    pub fn of(response: &HeaderMap) -> Self {
        fields::combined(response, &NO_VARY_SEARCH)
            .and_then(|value| Parser::new(&value).parse().ok())
            .and_then(|dictionary| Self::read(&dictionary))
            .unwrap_or_default()
    }

    fn read(dictionary: &Dictionary) -> Option<Self> {
        let any_order = dictionary.get("key-order").map_or(Some(false), boolean)?;
        let significant = match (dictionary.get("params"), dictionary.get("except")) {
            (None, None) => Significant::default(),
            (Some(ListEntry::InnerList(names)), None) => Significant::AllBut(keys(names)?),
            (None, Some(ListEntry::InnerList(names))) => Significant::Only(keys(names)?),
            (Some(all), None) if boolean(all)? => Significant::Only(Vec::new()),
            (Some(all), Some(ListEntry::InnerList(names))) if boolean(all)? => {
                Significant::Only(keys(names)?)
            }
            _ => return None,
        };
        Some(Self {
            any_order,
            significant,
        })
    }

    /// Whether every difference counts, as without the field.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What stands behind the path of a URI with this query, once all that makes no difference is gone: empty, or a
    /// question mark and the parameters that count, in one spelling. Two queries are equivalent if and only if these
    /// are equal.
    ///
    /// By default it is the query as it stands. Else the query is read as `application/x-www-form-urlencoded`: `+` and
    /// `%20` are a space both, no query is an empty one, and `a` is `a=`.
    #[must_use]
    pub fn canonical(&self, query: Option<&str>) -> String {
        if self.is_default() {
            return query.map_or_else(String::new, |query| format!("?{query}"));
        }
        // There are origins that part parameters by semicolons too, and would find in one that makes no
        // difference another that does: such a one counts.
        let mut parameters: Vec<_> = parameters(query.unwrap_or_default())
            .filter(|(key, value)| self.counts(key) || key.contains(';') || value.contains(';'))
            .collect();
        if self.any_order {
            // Stable: values of one name keep their order, which an application may read as a list.
            parameters.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        let mut text = String::new();
        for (key, value) in &parameters {
            text.push(if text.is_empty() { '?' } else { '&' });
            push_encoded(&mut text, key);
            text.push('=');
            push_encoded(&mut text, value);
        }
        text
    }

    /// Whether two queries of the same path stand for the same response.
    #[must_use]
    pub fn are_equivalent(&self, one: Option<&str>, other: Option<&str>) -> bool {
        one == other || (!self.is_default() && self.canonical(one) == self.canonical(other))
    }

    fn counts(&self, key: &str) -> bool {
        let is_in = |names: &[String]| {
            names
                .binary_search_by(|name| name.as_str().cmp(key))
                .is_ok()
        };
        match &self.significant {
            Significant::AllBut(names) => !is_in(names),
            Significant::Only(names) => is_in(names),
        }
    }
}

fn boolean(entry: &ListEntry) -> Option<bool> {
    match entry {
        ListEntry::Item(item) => match item.bare_item {
            BareItem::Boolean(set) => Some(set),
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    }
}

/// The strings of an inner list as decoded names; `None` if a member is anything else.
fn keys(names: &InnerList) -> Option<Vec<String>> {
    let keys: Option<Vec<_>> = names
        .items
        .iter()
        .map(|item| match &item.bare_item {
            BareItem::String(name) => Some(decoded(name.as_str())),
            _ => None,
        })
        .collect();
    let mut keys = keys?;
    keys.sort_unstable();
    keys.dedup();
    Some(keys)
}

/// The names and values of a query, decoded, in order (the `application/x-www-form-urlencoded` parser of the URL
/// standard).
fn parameters(query: &str) -> impl Iterator<Item = (String, String)> {
    query
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (decoded(key), decoded(value))
        })
}

/// Pluses as spaces, percent-encoded bytes as themselves, and what is no UTF-8 as U+FFFD.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

/// Writes text so that nothing in it is taken for the end of a name, a value or a query.
fn push_encoded(text: &mut String, value: &str) {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~*".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push(DIGITS[usize::from(byte >> 4)]);
            text.push(DIGITS[usize::from(byte & 15)]);
        }
    }
}
