//! What an origin that reads from replicas is asked for, and what its answers tell.

use http::{Extensions, HeaderMap, HeaderValue};

use super::Proxy;
use crate::purge::{Lsn, Needed};
use crate::upstream::{Destination, LSN, ToldLsn};

/// How far replicas had to be for a request, where its origin reads from any.
#[derive(Clone, Copy, Default)]
pub(super) struct Asked(Option<(Needed, Lsn)>);

impl Proxy {
    /// Answers no older than what is known of the purge log, and than `at_least`, are what to ask
    /// for. To be called once the fence is read: a record that is applied in between counts too.
    pub(super) fn ask_replicas(&self, upstream: &Destination, at_least: Option<Lsn>) -> Asked {
        if !upstream.has_replicas() {
            return Asked(None);
        }
        let needed = self.log.index().newest().needed();
        let lsn = at_least.map_or(needed.lsn, |seen| seen.max(needed.lsn));
        Asked(Some((needed, lsn)))
    }

    /// How far the origin's database had got when it answered, as it says; remembered too. `None`
    /// where it says nothing that can be read.
    pub(super) fn told_lsn(&self, response: &Extensions, asked: Asked) -> Option<Lsn> {
        let told = response.get::<ToldLsn>()?.0.to_str().ok()?;
        let lsn = match told.parse() {
            Ok(lsn) => lsn,
            Err(error) => {
                tracing::warn!(%error, "the origin's Tidegate-Lsn is not used");
                return None;
            }
        };
        if let Asked(Some((needed, _))) = asked {
            self.log.index().newest().told(lsn, needed);
        }
        Some(lsn)
    }
}

impl Asked {
    /// Says it in a request to the origin.
    pub(super) fn say(self, headers: &mut HeaderMap) {
        if let Asked(Some((_, lsn))) = self {
            let lsn = HeaderValue::try_from(lsn.to_string()).expect("made of visible characters");
            headers.insert(LSN, lsn);
        }
    }

    /// What the records of a write say of the database, whose answer told `told`. Where replicas
    /// are read and nothing was told, they may be behind the write for as long as they like.
    pub(super) fn lsn(self, told: Option<Lsn>) -> Option<Lsn> {
        told.or(self.0.map(|_| Lsn::PRIMARY))
    }
}
