//! What the main paths took when somebody last looked, and whether they take more now.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use toml::{Table, Value};

/// How much more a path may take than its baseline, and how much less it may take without a new one, in percent.
pub const TOLERANCE: f64 = 3.0;

/// What counts depend on beside the code: another compiler makes other instructions, and libraries choose theirs by
/// what the processor can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The compiler's version.
    pub rust: String,
    /// `x86_64-linux`, and ` avx2` after it where the processor has that.
    pub target: String,
}

/// Instructions a request, by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Baseline {
    pub machine: Machine,
    pub paths: BTreeMap<String, u64>,
}

/// What a count is, beside its baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is no baseline.
    New,
    AsBefore,
    More,
    Less,
}

impl Machine {
    /// The one that this program was made for and runs on.
    pub fn here() -> Machine {
        let mut target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            target.push_str(" avx2");
        }
        Machine {
            rust: env!("COMPILER_VERSION").to_owned(),
            target,
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Rust {} on {}", self.rust, self.target)
    }
}

impl Baseline {
    /// Reads what [`Baseline::to_toml`] wrote.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_toml(text: &str) -> Result<Baseline, String> {
        let table: Table = text.parse().map_err(|error| format!("{error}"))?;
        let word = |key: &str| match table.get(key) {
            Some(Value::String(word)) => Ok(word.clone()),
            _ => Err(format!("{key} is not a string")),
        };
        let Some(Value::Table(counts)) = table.get("instructions") else {
            return Err("instructions is not a table".to_owned());
        };
        let counts = counts.iter().map(|(path, count)| {
            let count = count.as_integer().and_then(|count| count.try_into().ok());
            let count = count.ok_or_else(|| format!("instructions.{path} is not a count"))?;
            Ok((path.clone(), count))
        });
        Ok(Baseline {
            machine: Machine {
                rust: word("rust")?,
                target: word("target")?,
            },
            paths: counts.collect::<Result<_, String>>()?,
        })
    }

    pub fn to_toml(&self) -> String {
        let Machine { rust, target } = &self.machine;
        let mut text = format!(
            "# Instructions that a request takes on each path, user space, the serving thread alone.\n\
             # Written by: make bench-check ARGS=--update\n\n\
             rust = \"{rust}\"\ntarget = \"{target}\"\n\n[instructions]\n"
        );
        for (path, count) in &self.paths {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{path} = {count}");
        }
        text
    }

    pub fn verdict(&self, path: &str, count: u64) -> Verdict {
        match self.paths.get(path) {
            None => Verdict::New,
            Some(&before) if change(before, count) > TOLERANCE => Verdict::More,
            Some(&before) if change(before, count) < -TOLERANCE => Verdict::Less,
            Some(_) => Verdict::AsBefore,
        }
    }
}

/// How much more that is, in percent.
pub fn change(before: u64, now: u64) -> f64 {
    (now as f64 / before as f64 - 1.0) * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline() -> Baseline {
        Baseline {
            machine: Machine {
                rust: "1.95.0".to_owned(),
                target: "x86_64-linux avx2".to_owned(),
            },
            paths: BTreeMap::from([("hit".to_owned(), 10_000), ("miss".to_owned(), 50_000)]),
        }
    }

    #[test]
    fn a_baseline_that_is_written_is_read_again() {
        let read = Baseline::from_toml(&baseline().to_toml());
        assert_eq!(read, Ok(baseline()));
    }

    #[test]
    fn what_is_no_baseline_is_refused_with_the_reason() {
        for (text, reason) in [
            ("target = \"a\"\n[instructions]", "rust is not a string"),
            (
                "rust = \"1\"\ntarget = 2\n[instructions]",
                "target is not a string",
            ),
            (
                "rust = \"1\"\ntarget = \"a\"",
                "instructions is not a table",
            ),
            (
                "rust = \"1\"\ntarget = \"a\"\n[instructions]\nhit = -1",
                "instructions.hit is not a count",
            ),
        ] {
            assert_eq!(Baseline::from_toml(text), Err(reason.to_owned()), "{text}");
        }
        assert!(Baseline::from_toml("rust =").is_err());
    }

    #[test]
    fn more_than_three_percent_either_way_is_noticed() {
        for (count, verdict) in [
            (9_699, Verdict::Less),
            (9_701, Verdict::AsBefore),
            (10_000, Verdict::AsBefore),
            (10_299, Verdict::AsBefore),
            (10_301, Verdict::More),
        ] {
            assert_eq!(baseline().verdict("hit", count), verdict, "{count}");
        }
        assert_eq!(baseline().verdict("other", 1), Verdict::New);
    }
}
