//! The log, on standard error: `TIDEGATE_LOG` says what (a level, or levels by module), `TIDEGATE_LOG_FORMAT` how.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

/// Starts logging; `default` is the level where `TIDEGATE_LOG` is not set.
///
/// # Errors
/// A filter or a format that does not exist.
pub(crate) fn start(default: &str) -> Result<(), Failure> {
    let wanted = std::env::var("TIDEGATE_LOG")
        .ok()
        .filter(|wanted| !wanted.trim().is_empty());
    let filter = EnvFilter::try_new(wanted.as_deref().unwrap_or(default))
        .map_err(|error| Failure::refused(format!("TIDEGATE_LOG: {error}")))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match std::env::var("TIDEGATE_LOG_FORMAT").as_deref() {
        Ok("json") => log.json().flatten_event(true).init(),
        Ok("text" | "") | Err(_) => log.init(),
        Ok(other) => {
            return Err(Failure::refused(format!(
                "TIDEGATE_LOG_FORMAT: no format named {other:?}; use text or json"
            )));
        }
    }
    Ok(())
}
