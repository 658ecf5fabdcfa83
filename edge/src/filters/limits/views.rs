//! What this process knows of the keys that Redis counts for several.

use super::shards::Shards;
use super::view::View;
use super::{Identity, Take, Window};

/// Views of a bounded number of keys. One that is forgotten takes with it what it has not settled.
pub(super) struct Views(Shards<View>);

/// Which view. Routes that count a key in other windows have views of their own.
#[derive(Clone, Copy)]
pub(super) struct Place(Identity);

impl Place {
    pub(super) fn of(take: &Take<'_>, counter: &Identity) -> Place {
        let mut hasher = blake3::Hasher::new();
        hasher.update(counter);
        for Window { limit, seconds } in take.windows {
            hasher.update(&limit.to_le_bytes());
            hasher.update(&seconds.to_le_bytes());
        }
        let mut identity = Identity::default();
        identity.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Place(identity)
    }
}

impl Views {
    pub(super) fn new(keys: usize) -> Views {
        Views(Shards::new(keys))
    }

    /// Works on a view, made where there is none.
    pub(super) fn with<T>(
        &self,
        place: Place,
        windows: &[Window],
        work: impl FnOnce(&mut View) -> T,
    ) -> T {
        let mut views = self.0.of(&place.0);
        work(views.get_or_insert_mut(place.0, || View::new(windows)))
    }
}
