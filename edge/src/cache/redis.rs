//! L2: the regional tier in Redis. Slow or absent, it is a miss.
//!
//! What stands there carries its fence, and is judged by whoever reads it with their own index:
//! an edge that lags behind the purge log cannot bring back what was purged. Nor can it take the
//! place of what is newer: writing compares, in the one round trip that it takes anyway.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use redis::Script;
use tidegate_semantics::{Timestamp, Vary, has_validator};
use tidegate_stored::{Encoded, Recency, decode, encode, encode_varies};

use super::entry::Entry;
use super::key::KeyParts;
use super::lease::{self, Claim, Lease};
use crate::purge::Index;
use crate::redis::{Redis, Unavailable};

/// Writes ARGV[5..] to KEYS[2..] for ARGV[4] milliseconds, each unless what stands there is newer:
/// it has a later fence of the same log, or the same and was fetched after ARGV[2], when the exchange
/// began that brought this, and not after ARGV[3], which is now. Then takes back the lease KEYS[1] if
/// it is that of the token ARGV[1].
///
/// Numbers are read from `RECENCY`, by halves where they do not fit a double.
const PUT: &str = r"
local function number(bytes, at)
  local a, b, c, d = bytes:byte(at, at + 3)
  return a + b * 256 + c * 65536 + d * 16777216
end
local function is_newer(stored, value)
  if type(stored) ~= 'string' or #stored < 42 or stored:byte() ~= value:byte()
    or stored:sub(19, 26) ~= value:sub(19, 26) then return false end
  for _, half in ipairs({31, 27}) do
    local one, other = number(stored, half), number(value, half)
    if one ~= other then return one > other end
  end
  local fetched = number(stored, 39) * 4294967296 + number(stored, 35)
  return fetched > tonumber(ARGV[2]) and fetched <= tonumber(ARGV[3])
end
for at = 2, #KEYS do
  local value = ARGV[at + 3]
  if not is_newer(redis.pcall('GETRANGE', KEYS[at], 0, 41), value) then
    redis.call('SET', KEYS[at], value, 'PX', ARGV[4])
  end
end
local lease = redis.pcall('GET', KEYS[1])
if type(lease) == 'string' and lease:sub(1, 32) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return #KEYS
";

/// The regional tier as one worker reaches it.
#[derive(Clone)]
pub struct Regional {
    pub(super) redis: Arc<Redis>,
    prefix: Arc<str>,
    max_entry: usize,
    put: Arc<Script>,
    /// How leases for fetching are taken; `None` where they are not.
    leases: Option<Arc<lease::Scripts>>,
}

impl Regional {
    /// A tier that keeps bodies of at most `max_entry` bytes under keys that begin with `prefix`.
    pub fn new(redis: Arc<Redis>, prefix: &str, max_entry: usize) -> Regional {
        Regional {
            redis,
            prefix: prefix.into(),
            max_entry,
            put: Arc::new(Script::new(PUT)),
            leases: None,
        }
    }

    /// The same tier, in which who fetches holds a lease for that, for so long at most. Zero: nobody
    /// does.
    #[must_use]
    pub fn with_leases_of(self, duration: Duration) -> Regional {
        let leases = (!duration.is_zero()).then(|| Arc::new(lease::Scripts::new(duration)));
        Regional { leases, ..self }
    }

    /// The stored response that this request selects, if there is one.
    ///
    /// # Errors
    /// When Redis does not answer in time; the caller goes on without.
    pub async fn get(
        &self,
        parts: &KeyParts<'_>,
        request: &HeaderMap,
        index: &Index,
    ) -> Result<Option<Arc<Entry>>, Unavailable> {
        let names = match self.read(&Name::of(parts)).await? {
            Some(Encoded::Varies(names)) => names,
            other => return Ok(selected(other, request, index)),
        };
        let variant = Name::of(parts).selected(parts, &names, request);
        let found = self.read(&variant).await?;
        Ok(selected(found, request, index))
    }

    /// Stores a response for as long as it can be of use, unless a newer one is there, and gives back
    /// the lease under which it was fetched.
    ///
    /// # Errors
    /// As [`Regional::get`].
    pub async fn put(
        &self,
        parts: &KeyParts<'_>,
        entry: &Entry,
        now: Timestamp,
        lease: Option<Lease>,
    ) -> Result<(), Unavailable> {
        let useful = entry
            .terms
            .useless_after(has_validator(&entry.headers()))
            .since(now);
        if !self.takes(entry.content.len() as u64) || useful < Duration::from_secs(1) {
            return Ok(());
        }
        // Parts of a representation stay here.
        let Some(encoded) = encode(entry, entry.marks.url()) else {
            return Ok(());
        };
        let own = Name::of(parts);
        let variant = own.variant(parts, &entry.vary);
        // Who waits for a variant that this turned out not to be is left the mark.
        let lease = lease.filter(|lease| {
            [&own, &variant]
                .map(|name| self.lease_key(name))
                .contains(&lease.key)
        });
        let mut call = self.put.prepare_invoke();
        match &lease {
            Some(lease) => call.key(&lease.key).arg(&lease.token),
            None => call.key(self.lease_key(&own)).arg(""),
        };
        let keep = u64::try_from(useful.as_millis()).unwrap_or(u64::MAX);
        call.arg(entry.asked_at().0).arg(now.0).arg(keep);
        if entry.vary.is_empty() {
            call.key(self.entry_key(&own)).arg(encoded);
        } else {
            let names = encode_varies(entry.vary.names(), Recency::of(entry));
            call.key(self.entry_key(&variant)).arg(encoded);
            call.key(self.entry_key(&own)).arg(names);
        }
        let () = self.redis.script(&call).await?;
        if let Some(lease) = lease {
            lease.given_back();
        }
        Ok(())
    }

    /// A claim to the lease of fetching what these parts name; `None` where there are no leases.
    pub fn claim(&self, parts: &KeyParts<'_>) -> Option<Claim> {
        let scripts = self.leases.as_ref()?;
        Some(Claim::new(self, scripts, Name::of(parts)))
    }

    /// Whether a body of so many bytes is kept here.
    pub(super) fn takes(&self, length: u64) -> bool {
        length <= self.max_entry as u64
    }

    pub(super) fn entry_key(&self, name: &Name) -> String {
        format!("{}:c:{}", self.prefix, name.0)
    }

    pub(super) fn lease_key(&self, name: &Name) -> String {
        format!("{}:l:{}", self.prefix, name.0)
    }

    async fn read(&self, name: &Name) -> Result<Option<Encoded>, Unavailable> {
        let command = redis::Cmd::get(self.entry_key(name));
        let bytes: Option<Vec<u8>> = self.redis.query(&command).await?;
        Ok(bytes.and_then(|bytes| decode(&Bytes::from(bytes))))
    }
}

/// What something is called between processes: by its key, and by its variant, if it is one. The
/// braces keep what belongs to one key on one server of a cluster.
#[derive(Clone)]
pub(super) struct Name(String);

impl Name {
    pub(super) fn of(parts: &KeyParts<'_>) -> Name {
        Name(format!("{{{}}}", parts.shared(b"")))
    }

    fn variant(&self, parts: &KeyParts<'_>, vary: &Vary) -> Name {
        Name(format!("{}{}", self.0, parts.shared(&vary.variant())))
    }

    /// That of the variant which `request` selects, where these fields count.
    pub(super) fn selected(
        &self,
        parts: &KeyParts<'_>,
        names: &[HeaderName],
        request: &HeaderMap,
    ) -> Name {
        self.variant(parts, &Vary::select(names, request))
    }
}

pub(super) fn selected(
    encoded: Option<Encoded>,
    request: &HeaderMap,
    index: &Index,
) -> Option<Arc<Entry>> {
    match encoded {
        Some(Encoded::Response(stored, url)) if stored.vary.matches(request) => {
            Some(Arc::new(Entry::new(*stored, &url, index)))
        }
        _ => None,
    }
}
