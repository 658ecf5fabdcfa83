//! Which requests a stored response may serve, by the fields that `Vary` nominates (RFC 9111 §4.1).
//!
//! Values are compared in a normal form: lines combined, space around commas ignored, and for `Accept-Encoding` and
//! `Accept-Language` also letter case, spelling of weights and the order of members. `Authorization` and `Cookie` are
//! compared byte by byte: nobody gets another's response by a space.

use std::cmp::Reverse;

use http::header::{self, HeaderMap, HeaderName};

use crate::fields;
use crate::refusal::Refusal;
use crate::step::{Step, Witness as _};

/// The selecting fields of one stored variant: names, and the normalised values of the request it was made for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Vary {
    /// Sorted by name, each name once; `None` where the request had no such field, which is not the same as empty.
    pub fields: Box<[(HeaderName, Option<Vec<u8>>)]>,
}

impl Vary {
    /// The variant that `response` is for `request`.
    ///
    /// # Errors
    ///
    /// [`Refusal::VaryStar`] if `Vary` has a member `*` anywhere, or one that is no field name: such a response matches
    /// no later request.
    pub fn of(response: &HeaderMap, request: &HeaderMap) -> Result<Vary, Refusal> {
        let mut names = Vec::new();
        for member in fields::list(response, &header::VARY) {
            match HeaderName::from_bytes(member) {
                // An asterisk is a token, and so would pass for a name.
                Ok(name) if member != b"*" => names.push(name),
                _ => return Err(Refusal::VaryStar),
            }
        }
        Ok(Self::select(&names, request))
    }

    /// The variant that `request` asks for where responses vary on `names`.
    #[must_use]
    pub fn select(names: &[HeaderName], request: &HeaderMap) -> Vary {
        let mut names: Vec<_> = names.iter().collect();
        names.sort_unstable_by_key(|name| name.as_str());
        names.dedup();
        let fields = names
            .into_iter()
            .map(|name| (name.clone(), normalised(request, name)));
        Vary {
            fields: fields.collect(),
        }
    }

    /// Whether the variant may serve `request`. Allocates nothing for lists of ordinary length.
    #[must_use]
    pub fn matches(&self, request: &HeaderMap) -> bool {
        self.fields.iter().all(|(name, stored)| match stored {
            None => !request.contains_key(name),
            Some(stored) => is_equivalent(request, name, stored),
        })
    }

    /// How [`matches`](Self::matches) comes to its answer, field by field. The values of `Authorization` and `Cookie`
    /// are not told.
    #[must_use]
    pub fn explain(&self, request: &HeaderMap) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.is_empty() {
            steps.note("vary", "RFC 9111 §4.1", || "on nothing".to_owned());
        }
        for (name, stored) in &self.fields {
            let asked = normalised(request, name);
            steps.note("vary", "RFC 9111 §4.1", || {
                let verdict = if asked == *stored { "same" } else { "differs" };
                let told = |value: &Option<Vec<u8>>| match value {
                    None => "absent".to_owned(),
                    Some(_) if is_personal(name) => "present".to_owned(),
                    Some(value) => format!("{:?}", String::from_utf8_lossy(value)),
                };
                let (stored, asked) = (told(stored), told(&asked));
                format!("{name}: {verdict}: stored {stored}, asked {asked}")
            });
        }
        steps
    }

    /// Whether the response varies on nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The names of the selecting fields, sorted.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.fields.iter().map(|(name, _)| name)
    }

    /// Names and values in one, for keys: different variants never have the same encoding.
    ///
    /// Each field is its name's length (4 bytes, big-endian), its name, and either a 0 or a 1 followed by the value's
    /// length (8 bytes, big-endian) and the value.
    #[must_use]
    pub fn variant(&self) -> Vec<u8> {
        let mut encoded = Vec::new();
        for (name, value) in &self.fields {
            // Names are at most 64 KiB long by construction.
            let length = u32::try_from(name.as_str().len()).unwrap_or(u32::MAX);
            encoded.extend_from_slice(&length.to_be_bytes());
            encoded.extend_from_slice(name.as_str().as_bytes());
            encoded.push(u8::from(value.is_some()));
            if let Some(value) = value {
                encoded.extend_from_slice(&(value.len() as u64).to_be_bytes());
                encoded.extend_from_slice(value);
            }
        }
        encoded
    }

    /// Whether the variant depends on who asks: on `Authorization` or `Cookie`, which a refresh in the background does
    /// not have.
    #[must_use]
    pub fn depends_on_user(&self) -> bool {
        self.names().any(is_personal)
    }
}

fn is_personal(name: &HeaderName) -> bool {
    *name == header::AUTHORIZATION || *name == header::COOKIE
}

fn is_weighted(name: &HeaderName) -> bool {
    *name == header::ACCEPT_ENCODING || *name == header::ACCEPT_LANGUAGE
}

/// The normal form of a request's field; `None` when the request has none.
fn normalised(request: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    if !request.contains_key(name) {
        return None;
    }
    if is_personal(name) {
        return fields::combined(request, name);
    }
    if is_weighted(name)
        && let Some(preferences) = Preferences::of(weighted(request, name))
    {
        return Some(preferences.spelled_out());
    }
    Some(fields::list(request, name).collect::<Vec<_>>().join(&b','))
}

/// Whether the request's field has `stored` as its normal form.
fn is_equivalent(request: &HeaderMap, name: &HeaderName, stored: &[u8]) -> bool {
    let Some(first) = request.get(name) else {
        return false;
    };
    if is_personal(name) {
        return match fields::only(request, name) {
            Some(value) => value == stored,
            None => fields::combined(request, name).is_some_and(|value| value == stored),
        };
    }
    // What a browser sends is mostly in normal form already, or comes in one line that is compared member by member.
    if first.as_bytes() == stored && fields::only(request, name).is_some() && !is_weighted(name) {
        return true;
    }
    if is_weighted(name)
        && let Some(asked) = Preferences::of(weighted(request, name))
    {
        return Preferences::of(members(stored)).is_some_and(|kept| kept == asked);
    }
    let mut rest = Some(stored);
    for member in fields::list(request, name) {
        let Some(expected) = rest.and_then(|rest| rest.strip_prefix(member)) else {
            return false;
        };
        rest = match expected.split_first() {
            None => None,
            Some((b',', rest)) => Some(rest),
            Some(_) => return false,
        };
    }
    rest.is_none() || stored.is_empty()
}

/// The members of a weighted list over all its lines. There are no quoted strings in it: every comma parts.
fn weighted<'a>(
    request: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    request
        .get_all(name)
        .iter()
        .flat_map(|line| members(line.as_bytes()))
}

fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// How many members a list of preferences may have to be put in order; longer ones are compared as they are.
const MOST: usize = 16;

/// The members of `Accept-Encoding` or `Accept-Language`, ordered by weight and then by name.
struct Preferences<'a> {
    members: [Preference<'a>; MOST],
    count: usize,
}

/// One member: what is preferred, and its weight in thousandths.
#[derive(Clone, Copy, Default)]
struct Preference<'a> {
    name: &'a [u8],
    weight: u16,
}

impl<'a> Preferences<'a> {
    /// `None` when there are too many.
    fn of(list: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut members = [Preference::default(); MOST];
        let mut count = 0;
        for member in list {
            *members.get_mut(count)? = Preference::of(member);
            count += 1;
        }
        members[..count].sort_unstable_by(|one, other| {
            Reverse(one.weight)
                .cmp(&Reverse(other.weight))
                .then_with(|| {
                    let lower = |text: &'a [u8]| text.iter().map(u8::to_ascii_lowercase);
                    lower(one.name).cmp(lower(other.name))
                })
        });
        Some(Self { members, count })
    }

    fn spelled_out(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for member in &self.members[..self.count] {
            if !text.is_empty() {
                text.push(b',');
            }
            text.extend(member.name.iter().map(u8::to_ascii_lowercase));
            if member.weight < 1000 {
                text.extend_from_slice(format!(";q=0.{:03}", member.weight).as_bytes());
            }
        }
        text
    }
}

impl PartialEq for Preferences<'_> {
    fn eq(&self, other: &Self) -> bool {
        let pairs = self.members[..self.count]
            .iter()
            .zip(&other.members[..other.count]);
        self.count == other.count
            && pairs.into_iter().all(|(one, other)| {
                one.weight == other.weight && one.name.eq_ignore_ascii_case(other.name)
            })
    }
}

impl<'a> Preference<'a> {
    /// `name` or `name;q=0.5`; anything else is a name as it stands.
    fn of(member: &'a [u8]) -> Self {
        let as_it_stands = Self {
            name: member,
            weight: 1000,
        };
        let Some(semicolon) = member.iter().position(|byte| *byte == b';') else {
            return as_it_stands;
        };
        let name = member[..semicolon].trim_ascii_end();
        match weight(member[semicolon + 1..].trim_ascii_start()) {
            Some(weight) if !name.is_empty() => Self { name, weight },
            _ => as_it_stands,
        }
    }
}

/// `q=0.5` in thousandths (RFC 9110 §12.4.2).
pub(crate) fn weight(parameter: &[u8]) -> Option<u16> {
    let (key, number) = parameter.split_at_checked(2)?;
    if !key.eq_ignore_ascii_case(b"q=") {
        return None;
    }
    let (whole, fraction) = number.split_first()?;
    let fraction = match fraction {
        [] => 0,
        [b'.'] => 0,
        [b'.', decimals @ ..] if decimals.len() <= 3 => {
            let scale = [100, 10, 1][decimals.len() - 1];
            u16::try_from(fields::digits(decimals)?).ok()? * scale
        }
        _ => return None,
    };
    match whole {
        b'0' => Some(fraction),
        b'1' if fraction == 0 => Some(1000),
        _ => None,
    }
}
