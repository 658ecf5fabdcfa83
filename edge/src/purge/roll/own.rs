//! What this edge is called on the roll.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What this edge is called among those that follow its log.
pub struct Own {
    instance: Mutex<Arc<str>>,
    pub region: String,
}

impl Own {
    /// By these names; a random one for an instance without.
    pub fn new(instance: Option<&str>, region: &str) -> Own {
        let instance = instance.map_or_else(suffix, str::to_owned);
        Own {
            instance: Mutex::new(instance.into()),
            region: region.to_owned(),
        }
    }

    /// The name of this edge.
    pub fn instance(&self) -> Arc<str> {
        Arc::clone(&self.named())
    }

    /// Takes another name, since a second edge goes by ours.
    pub(super) fn rename(&self) -> Arc<str> {
        let new: Arc<str> = format!("{}-{}", self.instance(), suffix()).into();
        *self.named() = Arc::clone(&new);
        new
    }

    fn named(&self) -> MutexGuard<'_, Arc<str>> {
        self.instance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Eight hexadecimal digits.
fn suffix() -> String {
    format!("{:08x}", crate::random::word() >> 32)
}
