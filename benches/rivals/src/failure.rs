//! How a run fails: with one line for people.

use std::{fmt, io};

#[derive(Debug)]
pub enum Failure {
    /// What was asked for makes no sense.
    Refused(String),
    Failed(String),
    /// Somebody pressed Ctrl-C, or sent SIGTERM.
    Interrupted,
}

pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// For `map_err`: what was tried, before the error.
    pub fn to<E: fmt::Display>(what: impl fmt::Display) -> impl FnOnce(E) -> Failure {
        move |error| Failure::Failed(format!("cannot {what}: {error}"))
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Failed(_) => 1,
            Failure::Refused(_) => 2,
            Failure::Interrupted => 130,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused(line) | Failure::Failed(line) => f.write_str(line),
            Failure::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Failed(error.to_string())
    }
}
