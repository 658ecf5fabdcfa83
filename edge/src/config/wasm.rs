//! What a configuration says about the life of components: where compiled code is kept, and how
//! often files are looked at.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::secret::Secret;
use super::units::duration;

/// Bytes of `wasm.cache_key` at least.
const MIN_KEY: usize = 16;

/// `[wasm]`: how components are compiled and replaced.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wasm {
    /// The folder in which compiled code is kept between starts, this edge's own, relative to the
    /// configuration file. Without it each start compiles anew.
    pub cache: Option<PathBuf>,
    /// The secret by which an edge knows the files that it wrote itself. Without it one is made
    /// and kept in the folder.
    pub cache_key: Option<Secret>,
    /// How many compiled components are kept.
    pub cache_files: usize,
    /// How often the files of plugins are looked at; zero, and they are reloaded on order alone.
    #[serde(deserialize_with = "duration")]
    pub watch: Duration,
}

impl Default for Wasm {
    fn default() -> Wasm {
        Wasm {
            cache: None,
            cache_key: None,
            cache_files: 64,
            watch: Duration::from_secs(1),
        }
    }
}

impl Wasm {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.cache_files == 0 {
            return Err("wasm.cache_files: at least one is needed".to_owned());
        }
        match &self.cache_key {
            Some(key) if key.expose().len() < MIN_KEY => {
                Err(format!("wasm.cache_key is shorter than {MIN_KEY} bytes"))
            }
            _ => Ok(()),
        }
    }

    /// Reads a relative path as one beside the configuration file.
    pub(super) fn resolve_beside(&mut self, folder: &Path) {
        if let Some(cache) = &mut self.cache {
            *cache = folder.join(&*cache);
        }
    }
}
