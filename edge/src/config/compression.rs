//! Which responses of a route are encoded for clients that take them so, and how.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use tidegate_semantics::Coding;

use super::units::byte_size;

/// `[routes.compression]`: content codings made at the edge. There are none without it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Compression {
    /// What is offered; among equals of the client's the first is taken.
    #[serde(deserialize_with = "codings")]
    pub codings: Vec<Coding>,
    /// A body under this many bytes is sent as it is.
    #[serde(deserialize_with = "byte_size")]
    pub min_size: usize,
    /// Media types that are encoded: `type/subtype` or `type/*`, in lower case.
    #[serde(deserialize_with = "media_types")]
    pub types: Vec<String>,
    pub levels: Levels,
}

impl Default for Compression {
    fn default() -> Compression {
        Compression {
            codings: Coding::ALL.to_vec(),
            min_size: 1 << 10,
            types: TYPES.map(str::to_owned).to_vec(),
            levels: Levels::default(),
        }
    }
}

/// What text is sent as, and the few binary formats that are not compressed in themselves.
const TYPES: [&str; 17] = [
    "text/*",
    "application/atom+xml",
    "application/geo+json",
    "application/graphql-response+json",
    "application/javascript",
    "application/json",
    "application/ld+json",
    "application/manifest+json",
    "application/problem+json",
    "application/rss+xml",
    "application/wasm",
    "application/xhtml+xml",
    "application/xml",
    "application/yaml",
    "font/otf",
    "font/ttf",
    "image/svg+xml",
];

/// `[routes.compression.levels]`: how much work is done for each coding; more is smaller and slower.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Levels {
    /// 1 to 19: above that a window is needed that clients need not have (RFC 9659).
    #[serde(deserialize_with = "level::<1, 19, _>")]
    pub zstd: i32,
    /// 0 to 11.
    #[serde(deserialize_with = "level::<0, 11, _>")]
    pub br: i32,
    /// 1 to 9.
    #[serde(deserialize_with = "level::<1, 9, _>")]
    pub gzip: i32,
}

impl Default for Levels {
    fn default() -> Levels {
        Levels {
            zstd: 3,
            br: 5,
            gzip: 6,
        }
    }
}

impl Levels {
    /// The level of a coding.
    pub fn of(&self, coding: Coding) -> i32 {
        match coding {
            Coding::Zstd => self.zstd,
            Coding::Brotli => self.br,
            Coding::Gzip => self.gzip,
        }
    }
}

fn level<'de, const LEAST: i32, const MOST: i32, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<i32, D::Error> {
    let level = i32::deserialize(deserializer)?;
    if (LEAST..=MOST).contains(&level) {
        return Ok(level);
    }
    Err(D::Error::custom(format!(
        "{level} is no level: they go from {LEAST} to {MOST}"
    )))
}

fn codings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Coding>, D::Error> {
    let mut codings = Vec::new();
    for name in Vec::<String>::deserialize(deserializer)? {
        let coding = Coding::ALL
            .into_iter()
            .find(|coding| coding.name() == name)
            .ok_or_else(|| {
                let message =
                    format!("{name:?} is no coding: there are \"zstd\", \"br\" and \"gzip\"");
                D::Error::custom(message)
            })?;
        if codings.contains(&coding) {
            return Err(D::Error::custom(format!("{name:?} is named twice")));
        }
        codings.push(coding);
    }
    if codings.is_empty() {
        return Err(D::Error::custom("no coding: leave the section out instead"));
    }
    Ok(codings)
}

fn media_types<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let types = Vec::<String>::deserialize(deserializer)?;
    match types.iter().find(|name| !is_media_type(name)) {
        None => Ok(types),
        Some(name) => Err(D::Error::custom(format!(
            "{name:?} is no media type: write \"text/html\" or \"text/*\", in lower case"
        ))),
    }
}

fn is_media_type(name: &str) -> bool {
    let is_token = |text: &str| {
        let is_token_byte = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$&-^_.+".contains(&byte)
        };
        !text.is_empty() && text.bytes().all(is_token_byte)
    };
    name.split_once('/')
        .is_some_and(|(family, kind)| is_token(family) && (kind == "*" || is_token(kind)))
}

#[cfg(test)]
mod tests {
    use tidegate_semantics::Coding;

    use super::{Compression, TYPES, is_media_type};

    #[test]
    fn an_empty_section_is_all_defaults() {
        let compression: Compression = toml::from_str("").expect("every key has a default");
        assert_eq!(compression.codings, Coding::ALL);
        assert_eq!(compression.min_size, 1024);
        assert!(TYPES.iter().all(|name| is_media_type(name)));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (text, named) in [
            ("codings = [\"deflate\"]", "\"deflate\" is no coding"),
            ("codings = [\"br\", \"br\"]", "named twice"),
            ("codings = []", "no coding"),
            ("types = [\"text\"]", "\"text\" is no media type"),
            ("types = [\"Text/html\"]", "no media type"),
            ("types = [\"*/*\"]", "no media type"),
            ("types = [\"text/html; charset=utf-8\"]", "no media type"),
            ("levels = { gzip = 10 }", "10 is no level"),
            ("levels = { gzip = 0 }", "0 is no level"),
            ("levels = { br = 12 }", "12 is no level"),
            ("levels = { zstd = 20 }", "20 is no level"),
            ("levels = { deflate = 1 }", "unknown field"),
            ("level = 1", "unknown field"),
            ("min_size = \"much\"", "\"much\" is no size"),
        ] {
            let error = toml::from_str::<Compression>(text)
                .expect_err(text)
                .to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
