//! The one call to Redis: [`crate::gcra::decide`] in Lua, and what it answers.

use redis::{Script, ScriptInvocation};

use super::{MOST_WINDOWS_OF_A_KEY, NotCounted, Standing, Verdict, Window};

/// One key, a hash with a field for each window: its arrival time.
///
/// The time is Redis's own, so that edges whose clocks differ count alike. Lua's numbers hold
/// whole microseconds exactly until the year 2255. What an edge has let through already and owes
/// is added first, whatever the limit: it is paid back before anybody gets more. It puts an
/// arrival at most one more window ahead, so that nobody pays longer than that.
///
/// A cost beyond all bounds is refused for as long as a number holds whole.
///
/// The answer is flat: 1 or 0, the time, then for each window the units remaining, microseconds
/// to its reset, microseconds to a retry. It is 2 alone where the key would be counted in too many
/// windows; those that are whole again make room.
const TAKE: &str = r#"
local cost = tonumber(ARGV[1])
local now = tonumber(ARGV[2])
if now == 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local before, after, latest, interval, fields = {}, {}, {}, {}, {}
local most = tonumber(ARGV[3])
local allowed, paid, fresh, count = true, false, 0, (#ARGV - 3) / 3
for i = 1, count do
  local limit, each, owed = tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * i + 2]), tonumber(ARGV[3 * i + 3])
  fields[i] = ARGV[3 * i + 1] .. '/' .. ARGV[3 * i + 2]
  interval[i] = each
  latest[i] = now + each * limit
  local kept = redis.call('HGET', KEYS[1], fields[i])
  if not kept then fresh = fresh + 1 end
  before[i] = math.max(tonumber(kept or 0), now)
  if owed > 0 then
    before[i] = math.max(before[i], math.min(before[i] + owed, latest[i] + each * limit))
    paid = true
  end
  after[i] = before[i] + each * cost
  if after[i] > latest[i] then allowed = false end
end
if fresh > 0 and redis.call('HLEN', KEYS[1]) + fresh > most then
  local all = redis.call('HGETALL', KEYS[1])
  local others = 0
  for i = 1, #all, 2 do
    local is_own = false
    for j = 1, count do is_own = is_own or fields[j] == all[i] end
    if not is_own then
      if tonumber(all[i + 1]) > now then
        others = others + 1
      else
        redis.call('HDEL', KEYS[1], all[i])
      end
    end
  end
  if others + count > most then return { 2 } end
end
local answer = { allowed and 1 or 0, now }
local writes = paid or (allowed and cost > 0)
local expiry = now
for i = 1, count do
  local kept = before[i]
  local retry = 0
  if allowed then
    kept = after[i]
  else
    retry = math.min(math.max(after[i] - latest[i], 0), 9007199254740991)
  end
  if writes then redis.call('HSET', KEYS[1], fields[i], string.format('%.0f', kept)) end
  expiry = math.max(expiry, kept)
  answer[#answer + 1] = math.max(math.floor((latest[i] - kept) / interval[i]), 0)
  answer[#answer + 1] = kept - now
  answer[#answer + 1] = retry
end
if writes then
  local life = math.floor((expiry - now) / 1000) + 1000
  -- Another route may count in the same key, in longer windows.
  if redis.call('PTTL', KEYS[1]) < life then redis.call('PEXPIRE', KEYS[1], life) end
end
return answer
"#;

/// The script, to be made once.
pub(super) fn take() -> Script {
    Script::new(TAKE)
}

/// A call of it. `now` is the time to take in place of Redis's own, in microseconds; 0 for none.
/// `owed` has microseconds for each window; empty, nothing is owed.
pub(super) fn call<'a>(
    script: &'a Script,
    key: String,
    windows: &[Window],
    owed: &[u64],
    cost: u32,
    now: u64,
) -> ScriptInvocation<'a> {
    let mut call = script.key(key);
    call.arg(cost).arg(now).arg(MOST_WINDOWS_OF_A_KEY);
    for (at, window) in windows.iter().enumerate() {
        let owed = owed.get(at).copied().unwrap_or(0);
        call.arg(window.limit).arg(window.interval()).arg(owed);
    }
    call
}

/// What Redis counts, after a call.
#[derive(Debug, PartialEq)]
pub(super) struct Counted {
    pub(super) verdict: Verdict,
    /// Redis's time, in microseconds.
    pub(super) at: u64,
    /// Microseconds from then to the arrival time, for each window.
    pub(super) resets: Vec<u64>,
}

/// The script's answer, if that is what it is.
pub(super) fn read(answer: &[i64], windows: usize) -> Option<Result<Counted, NotCounted>> {
    match answer {
        [2] => Some(Err(NotCounted::TooManyWindows)),
        answer => read_counted(answer, windows).map(Ok),
    }
}

fn read_counted(answer: &[i64], windows: usize) -> Option<Counted> {
    let (&[allowed, at], standings) = answer.split_first_chunk::<2>()?;
    let (standings, []) = standings.as_chunks::<3>() else {
        return None;
    };
    if standings.len() != windows {
        return None;
    }
    let mut resets = Vec::with_capacity(windows);
    let mut read = Vec::with_capacity(windows);
    for [remaining, reset, retry] in standings {
        let reset = u64::try_from(*reset).ok()?;
        resets.push(reset);
        read.push(Standing {
            remaining: u32::try_from(*remaining).ok()?,
            reset_after: reset.div_ceil(1_000),
            retry_after: u64::try_from(*retry).ok()?.div_ceil(1_000),
        });
    }
    Some(Counted {
        verdict: Verdict {
            allowed: allowed == 1,
            standings: read,
        },
        at: u64::try_from(at).ok()?,
        resets,
    })
}

#[cfg(test)]
mod tests {
    use super::{NotCounted, read};

    #[test]
    fn only_the_scripts_own_answer_is_a_verdict() {
        let counted = read(&[1, 77, 5, 9_001, 0], 1);
        assert!(counted.is_some_and(|counted| counted.is_ok_and(|counted| {
            counted.at == 77
                && counted.resets == [9_001]
                && counted.verdict.standings[0].reset_after == 10
        })));
        assert_eq!(read(&[2], 1), Some(Err(NotCounted::TooManyWindows)));
        for wrong in [
            &[][..],
            &[1],
            &[1, 77],
            &[1, 77, 5, 9],
            &[1, 77, -5, 9, 0],
            &[1, -7, 5, 9, 0],
            &[1, 77, 5, 9, 0, 1],
            &[3],
        ] {
            assert_eq!(read(wrong, 1), None, "{wrong:?}");
        }
    }
}
