//! Compiled components that are in use, so that what two configurations have in common is compiled
//! once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::source::Binary;
use crate::config::Sum;

/// The components of one kind of guests that are in use, by their bytes' sum.
pub(crate) struct InUse<T>(Mutex<BTreeMap<Sum, Weak<T>>>);

impl<T> InUse<T> {
    pub(crate) const fn new() -> InUse<T> {
        InUse(Mutex::new(BTreeMap::new()))
    }

    /// Compiles a component, unless the same bytes are in use already.
    ///
    /// # Errors
    /// What compiling says.
    pub(crate) fn or_compile<E>(
        &self,
        binary: &Binary,
        compile: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(&binary.sha256).and_then(Weak::upgrade);
        if let Some(known) = known {
            return Ok(known);
        }
        let compiled = Arc::new(compile()?);
        let mut in_use = lock();
        in_use.retain(|_, compiled| compiled.strong_count() > 0);
        in_use.insert(binary.sha256, Arc::downgrade(&compiled));
        Ok(compiled)
    }
}
