//! The sum by which a component is known, and pinned.

use std::fmt;

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer};

/// The SHA-256 of a file's bytes, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sum([u8; 32]);

impl Sum {
    pub const fn new(sum: [u8; 32]) -> Sum {
        Sum(sum)
    }

    fn parse(text: &str) -> Option<Sum> {
        let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
        let digit = |at: usize| char::from(digits[at]).to_digit(16);
        let mut sum = [0; 32];
        for (at, byte) in sum.iter_mut().enumerate() {
            *byte = u8::try_from(digit(at * 2)? << 4 | digit(at * 2 + 1)?).ok()?;
        }
        Some(Sum(sum))
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

impl<'de> Deserialize<'de> for Sum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Sum, D::Error> {
        let text = String::deserialize(deserializer)?;
        Sum::parse(&text).ok_or_else(|| {
            D::Error::invalid_value(Unexpected::Str(&text), &"64 hexadecimal digits")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Sum;

    #[test]
    fn a_sum_is_64_hexadecimal_digits() {
        let parsed = |text: &str| Sum::parse(text).map(|sum| sum.to_string());
        let text = "00ff".repeat(16);
        assert_eq!(parsed(&text), Some(text.clone()));
        assert_eq!(parsed(&text.to_uppercase()), Some(text.clone()));
        let long = "0".repeat(65);
        let signed = format!("+{}", "0".repeat(63));
        let wide = format!("é{}", "0".repeat(62));
        for bad in [
            "",
            "00",
            &long[..63],
            &long,
            &signed,
            &wide,
            &text.replace('f', "g"),
        ] {
            assert!(Sum::parse(bad).is_none(), "{bad}");
        }
    }
}
