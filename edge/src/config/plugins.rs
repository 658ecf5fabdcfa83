//! What a configuration says about plugins: where they come from, and how a route uses them.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::sum::Sum;
use super::units::{byte_size, duration};

/// `[plugins.NAME]`: where a component comes from.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// `builtin:NAME` for one that ships with Tidegate, else a path to a `.wasm` component,
    /// relative to the configuration file.
    pub file: String,
    /// The sum that the component must have, whenever it is read; any will do when absent.
    pub sha256: Option<Sum>,
}

impl Source {
    /// The name behind `builtin:`, if that is what the source is.
    pub fn builtin(&self) -> Option<&str> {
        self.file.strip_prefix("builtin:")
    }

    /// Reads a relative path as one beside the configuration file.
    pub(super) fn resolve_beside(&mut self, folder: &Path) {
        if self.builtin().is_none() {
            self.file = folder.join(&self.file).display().to_string();
        }
    }
}

/// A capability that a route grants; all are denied by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    Limits,
    Purge,
    Log,
    Clock,
    Config,
}

impl Grant {
    /// The name in configuration and in the WIT package.
    pub fn name(self) -> &'static str {
        match self {
            Grant::Limits => "limits",
            Grant::Purge => "purge",
            Grant::Log => "log",
            Grant::Clock => "clock",
            Grant::Config => "config",
        }
    }
}

/// What happens to a request when a plugin fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// It goes on as if the plugin were not there.
    Open,
    /// It is refused with 503.
    #[default]
    Closed,
}

/// One line of a route's `plugins`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Use {
    pub name: String,
    /// Handed to the guest as JSON.
    #[serde(default)]
    pub config: toml::Table,
    #[serde(default)]
    pub grants: BTreeSet<Grant>,
    #[serde(default)]
    pub on_failure: OnFailure,
    /// How long one hook may run.
    #[serde(default = "Use::default_deadline", deserialize_with = "duration")]
    pub deadline: Duration,
    /// How much memory an instance may have, in bytes.
    #[serde(default = "Use::default_memory", deserialize_with = "byte_size")]
    pub memory: usize,
}

impl Use {
    fn default_deadline() -> Duration {
        Duration::from_millis(10)
    }

    fn default_memory() -> usize {
        16 << 20
    }
}
