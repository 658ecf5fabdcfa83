//! Where components are taken from: sources on one side, compiled code on the other.

use wasmtime::Engine;
use wasmtime::component::Component;

use super::code::{CacheError, CodeCache};
use super::source::{Binary, Builtin, SourceError};
use crate::config::{Source, Wasm};

/// The components that ship with the edge, and the folder with compiled code, if there is one.
/// Cheap to clone.
#[derive(Clone)]
pub struct Library {
    builtin: Builtin,
    cache: Option<CodeCache>,
}

impl From<Builtin> for Library {
    /// One that keeps no compiled code.
    fn from(builtin: Builtin) -> Library {
        Library {
            builtin,
            cache: None,
        }
    }
}

impl Library {
    /// One that keeps compiled code where the settings say; where that is not possible, one that
    /// says so and keeps none.
    ///
    /// # Errors
    /// [`CacheError::Unsafe`]: the folder or its key is not this edge's own.
    pub fn open(builtin: Builtin, settings: &Wasm) -> Result<Library, CacheError> {
        let open =
            |folder| CodeCache::open(folder, settings.cache_key.as_ref(), settings.cache_files);
        let opened = settings.cache.as_deref().map(open).transpose();
        let cache = or_without(opened)?;
        Ok(Library { builtin, cache })
    }

    /// One that keeps no compiled code, where one that does could be opened, or would have none to
    /// keep it in.
    ///
    /// # Errors
    /// As [`Library::open`].
    pub fn check(builtin: Builtin, settings: &Wasm) -> Result<Library, CacheError> {
        let check = |folder| CodeCache::check(folder, settings.cache_key.as_ref());
        let checked = settings.cache.as_deref().map(check).transpose();
        or_without(checked)?;
        Ok(Library::from(builtin))
    }

    /// Reads what a source names, and compares it with its pin.
    ///
    /// # Errors
    /// [`SourceError`], naming the plugin and its file.
    pub fn read(&self, plugin: &str, source: &Source) -> Result<Binary, SourceError> {
        Binary::read(plugin, source, self.builtin)
    }

    /// The component, from compiled code that this edge has kept, or compiled now and kept.
    /// Takes as long as compiling does; a thread that answers requests is no place for it.
    ///
    /// # Errors
    /// What the engine says of bytes that are no component.
    pub fn component(&self, engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Component> {
        match &self.cache {
            Some(cache) => cache.component(engine, bytes),
            None => Component::from_binary(engine, bytes),
        }
    }
}

/// What was opened; nothing, and a word in the log, where the folder cannot be used.
fn or_without<T>(opened: Result<Option<T>, CacheError>) -> Result<Option<T>, CacheError> {
    match opened {
        Err(error @ CacheError::Unusable { .. }) => {
            tracing::warn!(%error, "compiled code is not kept");
            Ok(None)
        }
        opened => opened,
    }
}
