//! The lease of fetching: who is missing something in the region takes it before asking the origin,
//! so that others of the region wait for what is coming instead of asking too.
//!
//! A lease is a short-lived key. Its holder gives it back in the very call that stores the response
//! ([`Regional::put`]); one that has nothing to share leaves a mark in its place, so that those who
//! wait go at once; one that dies is outlived by Redis. Nothing is decided by a lease but who asks
//! the origin first: what is found is judged like anything else, and without leases there are only
//! more fetches.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use redis::Script;
use tidegate_stored::{Encoded, RECENCY, Recency, decode};

use super::entry::Entry;
use super::key::KeyParts;
use super::redis::{Name, Regional, selected};
use crate::purge::{Index, Position};
use crate::redis::Unavailable;

/// How long the mark stands that a holder with nothing to share leaves: longer than anybody who waits
/// takes to look again.
const ALONE_FOR: Duration = Duration::from_secs(5);

/// Takes the lease KEYS[1] for what is stored under KEYS[2], or says who has it: `stored` and what
/// stands there if its `RECENCY` is not ARGV[5], `alone`, `waiting`, or `held` by the caller now.
/// ARGV[1] is the caller's token and ARGV[2] its position (epoch and number, in hexadecimal), which
/// become the lease for ARGV[4] milliseconds. A lease whose position is before ARGV[3] is taken over:
/// what comes of it is purged already. One of another log helps nobody here.
const TAKE: &str = r"
local stored = redis.pcall('GETRANGE', KEYS[2], 18, 41)
if type(stored) == 'string' and stored ~= '' and stored ~= ARGV[5] then
  return {'stored', redis.call('GET', KEYS[2])}
end
local function half(position, at) return tonumber(position:sub(at, at + 7), 16) or 0 end
local function is_before(one, other)
  if half(one, 17) ~= half(other, 17) then return half(one, 17) < half(other, 17) end
  return half(one, 25) < half(other, 25)
end
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' then
  local position = held:sub(33)
  if position:sub(1, 16) ~= ARGV[2]:sub(1, 16) then return {'alone'} end
  if not is_before(position, ARGV[3]) then return {'waiting'} end
end
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'PX', ARGV[4])
return {'held'}
";

/// Leaves the mark at KEYS[1] for ARGV[2] milliseconds, or nothing for none, if the token ARGV[1]
/// holds the lease.
const LEAVE: &str = r"
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' and held:sub(1, 32) == ARGV[1] then
  if ARGV[2] == '0' then redis.call('DEL', KEYS[1])
  else redis.call('SET', KEYS[1], 'alone', 'PX', ARGV[2]) end
end
return 0
";

/// How leases are taken and left, and for how long.
pub(super) struct Scripts {
    take: Script,
    leave: Script,
    duration: Duration,
}

impl Scripts {
    pub(super) fn new(duration: Duration) -> Scripts {
        Scripts {
            take: Script::new(TAKE),
            leave: Script::new(LEAVE),
            duration,
        }
    }
}

/// A lease that is asked for, again and again while another has it.
pub struct Claim {
    regional: Regional,
    scripts: Arc<Scripts>,
    name: Name,
    token: String,
    /// The recency of what was found of no use: not to be told of again.
    seen: Vec<u8>,
}

/// What became of a [`Claim`], for now.
pub enum Claimed {
    /// The caller fetches, and others wait for it.
    Held(Lease),
    /// Another edge is fetching.
    Waiting,
    /// What comes is not to be shared, or did not come: everybody goes for themselves.
    Alone,
    /// This is stored. If it is of no use, the next claim passes it over.
    Stored(Arc<Entry>),
    /// What is stored is not for this request; the next claim passes it over, or is for the variant
    /// that the request selects.
    Other,
}

impl Claim {
    pub(super) fn new(regional: &Regional, scripts: &Arc<Scripts>, name: Name) -> Claim {
        Claim {
            regional: regional.clone(),
            scripts: Arc::clone(scripts),
            name,
            token: format!(
                "{:016x}{:016x}",
                crate::random::word(),
                crate::random::word()
            ),
            seen: Vec::new(),
        }
    }

    /// Passes over what is as new as this, which is known and of no use.
    pub fn pass_over(&mut self, entry: &Entry) {
        self.seen = Recency::of(entry).to_bytes().to_vec();
    }

    /// How long others are waited for, which is as long as a lease holds.
    pub fn patience(&self) -> Duration {
        self.scripts.duration
    }

    /// Claims the lease for a fetch that begins at `fence`. Holders whose fetch began before
    /// `not_before` are not waited for.
    ///
    /// # Errors
    /// When Redis does not answer in time. The lease may be held then, and [`Claim::into_lease`] gives
    /// it back.
    pub async fn ask(
        &mut self,
        (fence, not_before): (Position, Position),
        parts: &KeyParts<'_>,
        request: &HeaderMap,
        index: &Index,
    ) -> Result<Claimed, Unavailable> {
        // Positions of different logs are not compared.
        let not_before = if not_before.epoch == fence.epoch {
            not_before
        } else {
            Position::default()
        };
        let millis = u64::try_from(self.scripts.duration.as_millis()).unwrap_or(u64::MAX);
        let mut call = self.scripts.take.key(self.regional.lease_key(&self.name));
        call.key(self.regional.entry_key(&self.name))
            .arg(&self.token)
            .arg(hex(fence))
            .arg(hex(not_before))
            .arg(millis)
            .arg(&self.seen);
        let answer: Vec<Vec<u8>> = self.regional.redis.script(&call).await?;
        let mut answer = answer.into_iter();
        Ok(match answer.next().as_deref() {
            Some(b"stored") => {
                let bytes = Bytes::from(answer.next().unwrap_or_default());
                self.found(&bytes, parts, request, index)
            }
            Some(b"held") => Claimed::Held(self.lease()),
            Some(b"waiting") => Claimed::Waiting,
            _ => Claimed::Alone,
        })
    }

    /// Claims for the variant that `request` selects, where these fields count.
    pub fn select(&mut self, names: &[HeaderName], parts: &KeyParts<'_>, request: &HeaderMap) {
        self.name = Name::of(parts).selected(parts, names, request);
        self.seen.clear();
    }

    fn found(
        &mut self,
        bytes: &Bytes,
        parts: &KeyParts<'_>,
        request: &HeaderMap,
        index: &Index,
    ) -> Claimed {
        let decoded = decode(bytes);
        if let Some(Encoded::Varies(names)) = &decoded {
            self.select(names, parts, request);
            return Claimed::Other;
        }
        let end = RECENCY.end.min(bytes.len());
        self.seen = bytes[RECENCY.start.min(end)..end].to_vec();
        selected(decoded, request, index).map_or(Claimed::Other, Claimed::Stored)
    }

    /// The lease, as far as this claim may have got it.
    pub fn into_lease(self) -> Lease {
        self.lease()
    }

    fn lease(&self) -> Lease {
        Lease {
            regional: self.regional.clone(),
            scripts: Arc::clone(&self.scripts),
            key: self.regional.lease_key(&self.name),
            token: self.token.clone(),
            is_due: true,
            leaves: ALONE_FOR,
        }
    }
}

/// The duty of the one who fetches for the region. Dropped without having been given back, it leaves
/// the mark that lets those who wait go for themselves.
pub struct Lease {
    regional: Regional,
    scripts: Arc<Scripts>,
    pub(super) key: String,
    pub(super) token: String,
    is_due: bool,
    /// For how long the mark stands that it leaves.
    leaves: Duration,
}

impl Lease {
    /// Whether a body of so many bytes can be shared in the region at all.
    pub fn covers(&self, length: u64) -> bool {
        self.regional.takes(length)
    }

    /// Gives it back without a mark: what came of it is of no use, and what comes next may be.
    pub fn end(mut self) {
        self.leaves = Duration::ZERO;
    }

    /// Storing the response gave it back.
    pub(super) fn given_back(mut self) {
        self.is_due = false;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_due {
            return;
        }
        // Where no runtime is left, the lease lapses by itself.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let redis = Arc::clone(&self.regional.redis);
        let scripts = Arc::clone(&self.scripts);
        let (key, token) = (
            std::mem::take(&mut self.key),
            std::mem::take(&mut self.token),
        );
        let leaves = self.leaves;
        runtime.spawn(async move {
            let millis = u64::try_from(leaves.as_millis()).unwrap_or(u64::MAX);
            let mut call = scripts.leave.key(key);
            call.arg(token).arg(millis);
            if let Err(error) = redis.script::<()>(&call).await {
                tracing::debug!(%error, "a lease is left to lapse");
            }
        });
    }
}

/// A position in hexadecimal, epoch first.
fn hex(position: Position) -> String {
    format!("{:016x}{:016x}", position.epoch, position.seq)
}
