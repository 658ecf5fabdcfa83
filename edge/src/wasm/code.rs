//! Compiled code, kept in a folder between starts.
//!
//! Compiled code is native code: whoever decides what it is decides what this process does. So a
//! file is used only if it carries a code of authentication that only who knows the key can make,
//! over all its bytes and its name. The name says what was compiled, for which engine and by which
//! version. The key is read once, from the configuration or from a file in the folder; the folder
//! must belong to the user that the edge runs as, and nobody else may write to it.
//!
//! What does not prove to be ours, or no longer fits, is compiled anew and written over. A file
//! appears under its name when it is whole. Nothing fails because of this folder but the start,
//! and that only if the folder is not safe: one that cannot be used is done without.

mod folder;
mod key;

use std::hash::{Hash as _, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blake3::Hash;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::config::Secret;
use folder::Folder;

/// What a file begins with, before its code of authentication.
const MAGIC: &[u8; 16] = b"tidegate code 1\n";
/// Where the compiled code begins.
const HEAD: usize = MAGIC.len() + blake3::OUT_LEN;

/// Why a folder is not used for compiled code.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error("wasm.cache: cannot use {path}: {source}")]
    Unusable { path: PathBuf, source: io::Error },
    #[error("wasm.cache: {path} is not safe for compiled code: {why}")]
    Unsafe { path: PathBuf, why: &'static str },
}

/// A folder with compiled code. Cheap to clone; several processes may have the same.
#[derive(Clone)]
pub struct CodeCache {
    folder: Arc<Folder>,
    key: [u8; 32],
    most: usize,
}

impl CodeCache {
    /// Opens a folder that keeps `most` files, and makes it where there is none. Files are known
    /// by `secret`, or else by a key that is kept in the folder.
    ///
    /// # Errors
    /// [`CacheError`]: the folder or its key cannot be made or read, or belong to another user, or
    /// others may write to the folder or read the key.
    pub fn open(
        folder: &Path,
        secret: Option<&Secret>,
        most: usize,
    ) -> Result<CodeCache, CacheError> {
        let folder = Folder::open(folder)?;
        let key = match secret {
            Some(secret) => key::of_secret(secret),
            None => key::kept_in(&folder)?,
        };
        Ok(CodeCache {
            folder: Arc::new(folder),
            key,
            most,
        })
    }

    /// Says of a folder what opening it would, and makes nothing. One that is not there is good.
    ///
    /// # Errors
    /// As [`CodeCache::open`].
    pub fn check(folder: &Path, secret: Option<&Secret>) -> Result<(), CacheError> {
        if matches!(folder.try_exists(), Ok(false)) {
            return Ok(());
        }
        let folder = Folder::open_existing(folder)?;
        match secret {
            Some(_) => Ok(()),
            None => key::check(&folder),
        }
    }

    /// The component: from a file, or compiled now and written to one.
    ///
    /// # Errors
    /// What the engine says of bytes that are no component. Never because of a file.
    pub fn component(&self, engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Component> {
        let name = name(engine, bytes);
        if let Some(component) = self.read(engine, name) {
            return Ok(component);
        }
        let component = Component::from_binary(engine, bytes)?;
        if let Err(error) = self.write(name, &component) {
            let folder = self.folder.path().display();
            tracing::warn!(%folder, error = %format!("{error:#}"), "compiled code was not kept");
        }
        Ok(component)
    }

    fn read(&self, engine: &Engine, name: Hash) -> Option<Component> {
        let path = self.folder.file(&file_name(name));
        let file = match folder::read(&path) {
            Ok(file) => file?,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "compiled code was not read");
                return None;
            }
        };
        let Some(code) = self.verified(name, &file) else {
            tracing::warn!(path = %path.display(), "not what this edge has written: compiling anew");
            return None;
        };
        // SAFETY: deserializing trusts its bytes to be what wasmtime serialized. These are: they
        // carry a code of authentication that `write` alone makes, from what wasmtime gave it, and
        // they are the very bytes that were verified, since they are no longer in a file.
        match unsafe { Component::deserialize(engine, code) } {
            Ok(component) => {
                // What is used is not the oldest; where that cannot be noted, it is compiled again.
                let _ = folder::touch(&path);
                Some(component)
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "compiled code does not fit");
                None
            }
        }
    }

    fn write(&self, name: Hash, component: &Component) -> wasmtime::Result<()> {
        let code = component.serialize()?;
        let authentic = self.authentication(name, &code);
        let parts: [&[u8]; 3] = [MAGIC, authentic.as_bytes(), &code];
        self.folder.write(&file_name(name), &parts)?;
        self.folder.prune(self.most)?;
        Ok(())
    }

    /// The compiled code of a file, if the file is what we wrote under this name.
    fn verified<'a>(&self, name: Hash, file: &'a [u8]) -> Option<&'a [u8]> {
        let (head, code) = file.split_at_checked(HEAD)?;
        let said = head.strip_prefix(MAGIC)?.first_chunk()?;
        // Comparing hashes takes the same time wherever they differ.
        (self.authentication(name, code) == Hash::from_bytes(*said)).then_some(code)
    }

    fn authentication(&self, name: Hash, code: &[u8]) -> Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(MAGIC).update(name.as_bytes()).update(code);
        hasher.finalize()
    }
}

/// What was compiled, for what, by which version.
fn name(engine: &Engine, bytes: &[u8]) -> Hash {
    let mut fed = Fed(blake3::Hasher::new());
    fed.0.update(MAGIC);
    fed.0.update(blake3::hash(bytes).as_bytes());
    env!("CARGO_PKG_VERSION").hash(&mut fed);
    engine.precompile_compatibility_hash().hash(&mut fed);
    fed.0.finalize()
}

fn file_name(name: Hash) -> String {
    format!("{}.{}", name.to_hex(), folder::EXTENSION)
}

/// What hashes itself, as bytes for a hash that is the same in every process.
struct Fed(blake3::Hasher);

impl Hasher for Fed {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let hash = self.0.finalize();
        let first = hash.as_bytes().first_chunk();
        u64::from_le_bytes(*first.expect("a hash is longer than a number"))
    }
}
