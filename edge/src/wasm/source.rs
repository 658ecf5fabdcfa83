//! Where a component comes from, and whether it is the one that was meant.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::config::{Source, Sum};

/// The largest component that is read, in MiB.
const LARGEST: u64 = 256;

/// Components that `builtin:NAME` may name.
pub type Builtin = &'static [(&'static str, &'static [u8])];

/// A component as it was read.
pub struct Binary {
    /// Where it came from, as the configuration has it.
    pub file: String,
    pub bytes: Cow<'static, [u8]>,
    pub sha256: Sum,
}

/// Why a source has nothing to compile.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("plugin {plugin:?}: cannot read {file}: {source}")]
    Read {
        plugin: String,
        file: String,
        source: io::Error,
    },
    #[error("plugin {plugin:?}: nothing called {name:?} ships with tidegate, only {known}")]
    NoBuiltin {
        plugin: String,
        name: String,
        known: String,
    },
    #[error(
        "plugin {plugin:?}: {file} has the sha256 {found}, and not {pinned} as the configuration asks"
    )]
    OtherSum {
        plugin: String,
        file: String,
        // Boxed, so that an error is not larger than what it is the error of.
        found: Box<Sum>,
        pinned: Box<Sum>,
    },
}

impl Binary {
    /// Reads what a source names, and compares it with its pin.
    ///
    /// # Errors
    /// [`SourceError`], naming the plugin and its file.
    pub fn read(plugin: &str, source: &Source, builtin: Builtin) -> Result<Binary, SourceError> {
        let bytes = match source.builtin() {
            Some(name) => Cow::Borrowed(find(plugin, name, builtin)?),
            None => {
                let read = read_component(Path::new(&source.file));
                Cow::Owned(read.map_err(|error| SourceError::Read {
                    plugin: plugin.to_owned(),
                    file: source.file.clone(),
                    source: error,
                })?)
            }
        };
        let sha256 = Sum::new(Sha256::digest(&bytes).into());
        match source.sha256 {
            Some(pinned) if pinned != sha256 => Err(SourceError::OtherSum {
                plugin: plugin.to_owned(),
                file: source.file.clone(),
                found: Box::new(sha256),
                pinned: Box::new(pinned),
            }),
            _ => Ok(Binary {
                file: source.file.clone(),
                bytes,
                sha256,
            }),
        }
    }
}

/// Reads a component's file.
///
/// # Errors
/// When it cannot be read, is larger than any component, or is no regular file: a pipe is waited for,
/// and a device has no end.
pub fn read_component(path: &Path) -> io::Result<Vec<u8>> {
    let most = LARGEST << 20;
    let too_large = || io::Error::other(format!("it is larger than {LARGEST} MiB"));
    let found = fs::metadata(path)?;
    if !found.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if found.len() > most {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    // It may be growing.
    match File::open(path)?.take(most + 1).read_to_end(&mut bytes)? {
        read if read as u64 > most => Err(too_large()),
        _ => Ok(bytes),
    }
}

fn find(plugin: &str, wanted: &str, builtin: Builtin) -> Result<&'static [u8], SourceError> {
    let found = builtin.iter().find(|(name, _)| *name == wanted);
    found.map(|(_, bytes)| *bytes).ok_or_else(|| {
        let known: Vec<&str> = builtin.iter().map(|(name, _)| *name).collect();
        SourceError::NoBuiltin {
            plugin: plugin.to_owned(),
            name: wanted.to_owned(),
            known: known.join(", "),
        }
    })
}
