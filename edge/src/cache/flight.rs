//! One fetch for many: requests for a key that is being fetched wait for that fetch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, HeaderValue, StatusCode};
use tidegate_semantics::{Terms, Timestamp, Vary};
use tidegate_stored::Given;
use tokio::sync::watch;

use super::entry::Entry;
use super::filling::Filling;
use super::key::{Key, KeyState};
use crate::error::Failure;
use crate::purge::{Marks, Position};

/// The fetches under way in this process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Flights {
    by_key: Arc<Mutex<UnderWay>>,
}

type UnderWay = HashMap<Key, watch::Receiver<Option<Landing>>, KeyState>;

/// How a fetch came out, as far as others may know.
#[derive(Clone)]
pub enum Landing {
    /// A response that may be stored, and its body while it arrives.
    Shared(Arc<Head>, Filling),
    /// A stored response was validated.
    Validated(Arc<Entry>),
    /// Another edge of the region fetched it.
    Regional(Arc<Entry>),
    /// A response that is for one client only: everybody goes for themselves.
    Alone,
    /// The origin failed; so it does for all who wait.
    Failed(Failure),
}

/// The head of a response that may be stored.
pub struct Head {
    pub status: StatusCode,
    /// The status of the origin's answer: 206 where the rest of what is stored was asked for.
    pub answered: StatusCode,
    /// As they go to those who share this fetch.
    pub headers: HeaderMap,
    /// As they are stored: without what may not be reused (`no-cache="…"`), and without
    /// Content-Range.
    pub stored: HeaderMap,
    /// The `Content-Range` of a 206.
    pub range: Option<HeaderValue>,
    /// Surrogate fields, which are not for clients.
    pub hidden: HeaderMap,
    /// The lifetime that a filter gave.
    pub given: Given,
    pub terms: Terms,
    pub vary: Vary,
    pub tags: Vec<String>,
    pub marks: Marks,
    pub fence: Position,
    /// When the origin was asked.
    pub requested_at: Timestamp,
}

/// What a request that needs a fetch shall do.
pub enum Role {
    /// Fetch; others wait.
    Lead(Lead),
    /// Wait.
    Follow(Follow),
}

/// The duty to land a flight. Dropped without landing, it lets those who wait go for themselves.
pub struct Lead(
    /// None where nobody can join.
    Option<Joinable>,
);

/// A flight in the table of flights.
struct Joinable {
    flights: Flights,
    key: Key,
    landing: watch::Sender<Option<Landing>>,
}

/// A place among those who wait.
pub struct Follow(watch::Receiver<Option<Landing>>);

impl Flights {
    /// Joins the fetch of a key, or begins it.
    pub fn join(&self, key: Key) -> Role {
        let mut by_key = self.by_key();
        if let Some(flight) = by_key.get(&key) {
            return Role::Follow(Follow(flight.clone()));
        }
        let (landing, flight) = watch::channel(None);
        by_key.insert(key, flight);
        Role::Lead(Lead(Some(Joinable {
            flights: self.clone(),
            key,
            landing,
        })))
    }

    fn by_key(&self) -> MutexGuard<'_, UnderWay> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lead {
    /// A fetch for one client alone, which nobody can join.
    pub fn alone() -> Lead {
        Lead(None)
    }

    /// Whether others can join it.
    pub fn is_shared(&self) -> bool {
        self.0.is_some()
    }

    /// Tells those who wait. After [`Landing::Shared`] others may join until the lead is dropped.
    pub fn land(&self, landing: Landing) {
        if let Some(joinable) = &self.0 {
            joinable.landing.send_replace(Some(landing));
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let Some(Joinable {
            flights,
            key,
            landing,
        }) = &self.0
        else {
            return;
        };
        flights.by_key().remove(key);
        landing.send_if_modified(|landing| {
            let lost = landing.is_none();
            if lost {
                *landing = Some(Landing::Alone);
            }
            lost
        });
    }
}

impl Follow {
    /// Waits for the landing.
    pub async fn landing(mut self) -> Landing {
        match self.0.wait_for(Option::is_some).await {
            Ok(landing) => landing.clone().unwrap_or(Landing::Alone),
            // The lead lands before it goes; a lost one lets everybody go for themselves.
            Err(_) => Landing::Alone,
        }
    }
}
