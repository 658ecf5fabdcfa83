//! The fields of a request, which a fetch may have to keep for longer than its client stays.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use http::HeaderMap;

/// A request's fields: its own, until they are shared. Changing shared ones copies them.
#[derive(Clone, Debug)]
pub enum Fields {
    Own(HeaderMap),
    Shared(Arc<HeaderMap>),
}

impl Fields {
    /// Makes them cheap to [share](Fields::shared).
    pub fn share(&mut self) {
        if let Fields::Own(fields) = self {
            *self = Fields::Shared(Arc::new(std::mem::take(fields)));
        }
    }

    /// The same fields for somebody else: a copy, unless they are shared already.
    pub fn shared(&self) -> Arc<HeaderMap> {
        match self {
            Fields::Own(fields) => Arc::new(fields.clone()),
            Fields::Shared(fields) => Arc::clone(fields),
        }
    }

    /// Takes them out, and leaves none.
    pub fn take(&mut self) -> HeaderMap {
        match std::mem::replace(self, Fields::Own(HeaderMap::new())) {
            Fields::Own(fields) => fields,
            Fields::Shared(fields) => Arc::unwrap_or_clone(fields),
        }
    }
}

impl From<HeaderMap> for Fields {
    fn from(fields: HeaderMap) -> Fields {
        Fields::Own(fields)
    }
}

impl Deref for Fields {
    type Target = HeaderMap;

    fn deref(&self) -> &HeaderMap {
        match self {
            Fields::Own(fields) => fields,
            Fields::Shared(fields) => fields,
        }
    }
}

impl DerefMut for Fields {
    fn deref_mut(&mut self) -> &mut HeaderMap {
        match self {
            Fields::Own(fields) => fields,
            Fields::Shared(fields) => Arc::make_mut(fields),
        }
    }
}
