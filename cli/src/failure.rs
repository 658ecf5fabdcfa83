//! How a subcommand fails: which exit code it ends with, and the one line that says why.

use std::fmt;
use std::process::ExitCode;

#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked for makes no sense: arguments, environment or configuration. Exit code 2.
    Refused(String),
    /// It made sense and did not work. Exit code 1.
    Failed(String),
}

impl Failure {
    pub(crate) fn refused(why: impl fmt::Display) -> Failure {
        Failure::Refused(why.to_string())
    }

    pub(crate) fn failed(why: impl fmt::Display) -> Failure {
        Failure::Failed(why.to_string())
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Refused(_) => ExitCode::from(2),
            Failure::Failed(_) => ExitCode::from(1),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Failure::Refused(why) | Failure::Failed(why)) = self;
        formatter.write_str(why.trim_end())
    }
}
