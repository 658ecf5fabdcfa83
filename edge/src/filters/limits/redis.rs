//! Counting in Redis, for all edges of a region.

use std::fmt::Write;
use std::pin::Pin;
use std::sync::Arc;

use redis::Script;

use super::{Limits, LocalLimits, Standing, Verdict, Window, identity};
use crate::redis::{Redis, Unavailable};

/// [`crate::gcra::decide`] in Lua: one key, a hash with a field for each window.
///
/// The time is Redis's own, so that edges whose clocks differ count alike. Lua's numbers hold
/// whole microseconds exactly until the year 2255. The answer is flat: 1 or 0, then for each
/// window the units remaining, microseconds to its reset, microseconds to a retry.
const TAKE: &str = r#"
local cost = tonumber(ARGV[1])
local now = tonumber(ARGV[2])
if now == 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local before, after, latest, interval, fields = {}, {}, {}, {}, {}
local allowed, count = true, (#ARGV - 2) / 2
for i = 1, count do
  local limit, each = tonumber(ARGV[1 + 2 * i]), tonumber(ARGV[2 + 2 * i])
  fields[i] = ARGV[1 + 2 * i] .. '/' .. ARGV[2 + 2 * i]
  interval[i] = each
  before[i] = math.max(tonumber(redis.call('HGET', KEYS[1], fields[i]) or 0), now)
  after[i] = before[i] + each * cost
  latest[i] = now + each * limit
  if after[i] > latest[i] then allowed = false end
end
local answer = { allowed and 1 or 0 }
local expiry = now
for i = 1, count do
  local kept = before[i]
  local retry = 0
  if allowed then
    kept = after[i]
    if cost > 0 then redis.call('HSET', KEYS[1], fields[i], string.format('%.0f', kept)) end
  else
    retry = math.max(after[i] - latest[i], 0)
  end
  expiry = math.max(expiry, kept)
  answer[#answer + 1] = math.max(math.floor((latest[i] - kept) / interval[i]), 0)
  answer[#answer + 1] = kept - now
  answer[#answer + 1] = retry
end
if allowed and cost > 0 then
  redis.call('PEXPIRE', KEYS[1], math.floor((expiry - now) / 1000) + 1000)
end
return answer
"#;

/// Counters in Redis, and in this process while Redis does not answer: each edge then allows the
/// whole limit by itself.
pub struct RedisLimits {
    redis: Redis,
    local: Arc<LocalLimits>,
    script: Script,
    prefix: String,
    now: Option<Box<dyn Fn() -> u64 + Send + Sync>>,
}

impl RedisLimits {
    /// Counts in `redis`, and in `local` where that fails.
    pub fn new(redis: Redis, local: Arc<LocalLimits>) -> RedisLimits {
        RedisLimits {
            redis,
            local,
            script: Script::new(TAKE),
            prefix: "tidegate".to_owned(),
            now: None,
        }
    }

    /// Begins every key with `prefix` instead of `tidegate`.
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> RedisLimits {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// Takes the time, in milliseconds, from `now` instead of from Redis: for tests, which move it.
    #[must_use]
    pub fn with_clock(mut self, now: impl Fn() -> u64 + Send + Sync + 'static) -> RedisLimits {
        self.now = Some(Box::new(now));
        self
    }

    async fn ask(
        &self,
        name: &str,
        key: &str,
        windows: &[Window],
        cost: u32,
    ) -> Result<Verdict, Unavailable> {
        let now = self
            .now
            .as_ref()
            .map_or(0, |now| now().saturating_mul(1_000));
        let mut call = self.script.key(self.key(name, key));
        call.arg(cost).arg(now);
        for window in windows {
            call.arg(window.limit).arg(window.interval());
        }
        let answer: Vec<i64> = self.redis.script(&call).await?;
        Ok(read(&answer, windows.len()).unwrap_or_else(|| {
            tracing::warn!(
                limit = name,
                "redis answered a limit with something else; counted locally"
            );
            self.local.take_now(name, key, windows, cost)
        }))
    }

    fn key(&self, name: &str, key: &str) -> String {
        let mut text = format!("{}:limit:", self.prefix);
        for byte in identity(name, key) {
            write!(text, "{byte:02x}").expect("writing to a string does not fail");
        }
        text
    }
}

impl Limits for RedisLimits {
    fn take<'a>(
        &'a self,
        name: &'a str,
        key: &'a str,
        windows: &'a [Window],
        cost: u32,
    ) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>> {
        Box::pin(async move {
            match self.ask(name, key, windows, cost).await {
                Ok(verdict) => verdict,
                Err(unavailable) => {
                    tracing::debug!(limit = name, reason = unavailable.name(), "counted locally");
                    self.local.take_now(name, key, windows, cost)
                }
            }
        })
    }
}

/// The script's answer, if that is what it is.
fn read(answer: &[i64], windows: usize) -> Option<Verdict> {
    let (allowed, standings) = answer.split_first()?;
    let (standings, []) = standings.as_chunks::<3>() else {
        return None;
    };
    let standings: Option<Vec<Standing>> = standings
        .iter()
        .map(|[remaining, reset, retry]| {
            Some(Standing {
                remaining: u32::try_from(*remaining).ok()?,
                reset_after: u64::try_from(*reset).ok()?.div_ceil(1_000),
                retry_after: u64::try_from(*retry).ok()?.div_ceil(1_000),
            })
        })
        .collect();
    let standings = standings.filter(|standings| standings.len() == windows)?;
    Some(Verdict {
        allowed: *allowed == 1,
        standings,
    })
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn only_the_scripts_own_answer_is_a_verdict() {
        assert!(
            read(&[1, 5, 9_001, 0], 1)
                .is_some_and(|verdict| verdict.standings[0].reset_after == 10)
        );
        for wrong in [&[][..], &[1], &[1, 5, 9], &[1, -5, 9, 0], &[1, 5, 9, 0, 1]] {
            assert_eq!(read(wrong, 1), None, "{wrong:?}");
        }
    }
}
