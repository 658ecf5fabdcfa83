//! Objects of JSON, as deep as tokens are read. A guest's stack is small, and how deep a token nests is
//! for whoever wrote it to say.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// An object in base64url (RFC 7515 §2). Of its members, arrays keep their texts and objects nothing;
/// what lies deeper is passed over without descending.
pub(crate) fn object(part: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    let object: std::collections::BTreeMap<String, Member> = serde_json::from_slice(&bytes).ok()?;
    let members = object.into_iter().map(|(name, member)| (name, member.0));
    Some(members.collect())
}

/// A member of an object.
struct Member(Value);

/// An element of an array: a text, or something else.
struct Element(Option<String>);

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Member, D::Error> {
        deserializer.deserialize_any(Members).map(Member)
    }
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Element, D::Error> {
        let value = deserializer.deserialize_any(Elements)?;
        Ok(Element(match value {
            Value::String(text) => Some(text),
            _ => None,
        }))
    }
}

struct Members;
struct Elements;

/// What both read alike.
macro_rules! scalars {
    () => {
        type Value = Value;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a value")
        }

        fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
            Ok(value.into())
        }

        fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
            Ok(value.into())
        }

        fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
            Ok(value.into())
        }

        fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
            Ok(value.into())
        }

        fn visit_str<E>(self, value: &str) -> Result<Value, E> {
            Ok(value.into())
        }

        fn visit_unit<E>(self) -> Result<Value, E> {
            Ok(Value::Null)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(Value::Null)
        }
    };
}

impl<'de> Visitor<'de> for Members {
    scalars!();

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(Element(text)) = sequence.next_element()? {
            texts.extend(text.map(Value::String));
        }
        Ok(Value::Array(texts))
    }
}

impl<'de> Visitor<'de> for Elements {
    scalars!();

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Null)
    }
}
