//! What somebody who wrote has seen of the purge log, as a token that any edge of the deployment
//! can check: so that what they read next is no older, wherever they read it.

use std::time::Duration;

use tidegate_semantics::Timestamp;

use super::lsn::Lsn;
use super::record::Position;

/// How long a token is good for: longer than a purge takes to spread, short enough that an edge
/// which is cut off for longer is not asked to fetch everything for everybody.
pub const LIFETIME: Duration = Duration::from_secs(10);

/// No token is longer.
const MAX_LENGTH: usize = 256;

/// How far somebody has seen the log, and the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// That of their write's last record; `None` when the log did not take it, so that no edge has
    /// got there.
    pub position: Option<Position>,
    /// How far the database had got behind the write, where the origin says so.
    pub lsn: Option<Lsn>,
}

/// What a client brings: what it has seen, and for how long that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub seen: Seen,
    /// Until when no edge has got as far, whatever position it has applied: one of the client's
    /// writes has none that can be compared with `seen`'s, or has more to come.
    unreached_until: Timestamp,
    expiry: Timestamp,
}

impl Token {
    /// What a client has seen by a write that was done `now`: good for [`LIFETIME`].
    ///
    /// An origin that tells where its database is has more to say of the write: what its outbox
    /// announces comes later than the write's own records, and nobody knows when all of it is here.
    pub fn new(seen: Seen, now: Timestamp) -> Token {
        let expiry = Timestamp(now.0.saturating_add(LIFETIME.as_millis() as u64));
        let has_outbox = seen.lsn.is_some();
        Token {
            seen,
            unreached_until: if has_outbox { expiry } else { Timestamp(0) },
            expiry,
        }
    }

    /// What a client has seen that brought `earlier` with a later write: both. Where one write was
    /// not recorded, or is in another log than the other, no edge has got as far as both until the
    /// earlier one is forgotten.
    pub fn after(self, earlier: Token) -> Token {
        let mut unreached_until = self.unreached_until.max(earlier.unreached_until);
        let position = match (self.seen.position, earlier.seen.position) {
            (Some(later), Some(before)) if later.epoch == before.epoch => {
                Some(if later.seq < before.seq {
                    before
                } else {
                    later
                })
            }
            (later, _) => {
                unreached_until = unreached_until.max(earlier.expiry);
                later
            }
        };
        Token {
            seen: Seen {
                position,
                lsn: self.seen.lsn.max(earlier.seen.lsn),
            },
            unreached_until,
            expiry: self.expiry.max(earlier.expiry),
        }
    }

    /// Whether an edge that has applied the log up to `applied` at `now` has got as far. What is in
    /// another log cannot be compared, and has not.
    pub fn is_reached_by(&self, applied: Position, now: Timestamp) -> bool {
        now >= self.unreached_until
            && self
                .seen
                .position
                .is_some_and(|seen| applied.has_reached(seen))
    }
}

/// Why a token says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Nobody with our secret made it.
    #[error("forged")]
    Forged,
    #[error("expired")]
    Expired,
}

impl Invalid {
    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Invalid::Forged => "forged",
            Invalid::Expired => "expired",
        }
    }
}

/// Makes tokens and checks them, with a secret that all edges share.
pub struct Seal {
    key: [u8; 32],
}

impl Seal {
    /// The seal of a deployment.
    pub fn new(secret: &str) -> Seal {
        Seal {
            key: blake3::derive_key("tidegate 2026 what a client has seen", secret.as_bytes()),
        }
    }

    /// A token's text. It is a cookie's value and a field's: `EPOCH-SEQ.LSN.UNREACHED.EXPIRY.MAC`,
    /// numbers in hexadecimal digits, `none` for what there is not.
    pub fn write(&self, token: &Token) -> String {
        let Seen { position, lsn } = token.seen;
        let position = position.map(|position| format!("{:x}-{:x}", position.epoch, position.seq));
        let said = format!(
            "{}.{}.{:x}.{:x}",
            position.as_deref().unwrap_or(NONE),
            lsn.map(|lsn| lsn.to_string()).as_deref().unwrap_or(NONE),
            token.unreached_until.0,
            token.expiry.0,
        );
        let mac = self.mac(&said).to_hex();
        format!("{said}.{mac}")
    }

    /// What a text says at `now`.
    ///
    /// # Errors
    /// [`Invalid`] when it says nothing.
    pub fn open(&self, text: &str, now: Timestamp) -> Result<Token, Invalid> {
        if text.len() > MAX_LENGTH {
            return Err(Invalid::Forged);
        }
        let (said, mac) = text.rsplit_once('.').ok_or(Invalid::Forged)?;
        let mac = blake3::Hash::from_hex(mac).map_err(|_| Invalid::Forged)?;
        // How long comparing takes does not tell how much was right.
        if self.mac(said) != mac {
            return Err(Invalid::Forged);
        }
        let token = parse(said).ok_or(Invalid::Forged)?;
        if now >= token.expiry {
            return Err(Invalid::Expired);
        }
        Ok(token)
    }

    fn mac(&self, said: &str) -> blake3::Hash {
        blake3::keyed_hash(&self.key, said.as_bytes())
    }
}

/// What there is not.
const NONE: &str = "none";

fn parse(said: &str) -> Option<Token> {
    let number = |text| u64::from_str_radix(text, 16).ok();
    let mut parts = said.split('.');
    let position = match parts.next()? {
        NONE => None,
        position => {
            let (epoch, seq) = position.split_once('-')?;
            let (epoch, seq) = (number(epoch)?, number(seq)?);
            Some(Position { epoch, seq })
        }
    };
    let lsn = match parts.next()? {
        NONE => None,
        lsn => Some(lsn.parse().ok()?),
    };
    let token = Token {
        seen: Seen { position, lsn },
        unreached_until: Timestamp(number(parts.next()?)?),
        expiry: Timestamp(number(parts.next()?)?),
    };
    parts.next().is_none().then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn at(epoch: u64, seq: u64) -> Position {
        Position { epoch, seq }
    }

    #[test]
    fn a_token_says_what_was_seen_for_its_lifetime() {
        let seal = Seal::new("secret");
        let lsn = || Some("1:0/16B3748".parse().expect("a position"));
        for seen in [
            (Some(at(u64::MAX, u64::MAX)), lsn()),
            (Some(at(1, 2)), None),
            (None, Some(Lsn::PRIMARY)),
            (None, None),
        ] {
            let (position, lsn) = seen;
            let seen = Seen { position, lsn };
            let opened = Token::new(seen, NOW);
            let token = seal.write(&opened);
            let is_octet = |byte: u8| byte.is_ascii_alphanumeric() || b".-:/".contains(&byte);
            assert!(
                token.len() <= MAX_LENGTH && token.bytes().all(is_octet),
                "{token}"
            );
            assert_eq!(seal.open(&token, NOW), Ok(opened));
            let end = NOW.0 + LIFETIME.as_millis() as u64;
            assert_eq!(seal.open(&token, Timestamp(end - 1)), Ok(opened));
            assert_eq!(seal.open(&token, Timestamp(end)), Err(Invalid::Expired));
        }
    }

    #[test]
    fn a_token_of_somebody_else_says_nothing() {
        let seal = Seal::new("secret");
        let seen = Seen {
            position: Some(at(1, 2)),
            lsn: None,
        };
        let seen = Token::new(seen, NOW);
        let token = seal.write(&seen);
        let (said, mac) = token.rsplit_once('.').expect("a MAC");
        let longer = said.replace("1-2", "1-22");
        for forged in [
            String::new(),
            "x".to_owned(),
            said.to_owned(),
            format!("{said}."),
            format!("{longer}.{mac}"),
            format!("{said}.{}", "0".repeat(64)),
            format!("{token}0"),
            format!(" {token}"),
            format!("{}{token}", "x".repeat(10_000)),
            Seal::new("another").write(&seen),
            // By our secret, and yet nothing.
            format!("a.b.c.{}", seal.mac("a.b.c").to_hex()),
            format!("{said}.d.{}", seal.mac(&format!("{said}.d")).to_hex()),
        ] {
            assert_eq!(seal.open(&forged, NOW), Err(Invalid::Forged), "{forged}");
        }
    }

    #[test]
    fn what_was_seen_is_reached_in_its_own_log_alone() {
        for (position, applied, expected) in [
            (Some(at(1, 5)), at(1, 5), true),
            (Some(at(1, 5)), at(1, 6), true),
            (Some(at(1, 5)), at(1, 4), false),
            (Some(at(1, 5)), at(2, 6), false),
            (None, at(1, u64::MAX), false),
        ] {
            let token = Token::new(
                Seen {
                    position,
                    lsn: None,
                },
                NOW,
            );
            let is_reached = token.is_reached_by(applied, NOW);
            assert_eq!(is_reached, expected, "{position:?} by {applied}");
        }
    }

    #[test]
    fn a_later_write_takes_nothing_away_of_what_an_earlier_one_says() {
        let seal = Seal::new("secret");
        let lsn = |text: &str| text.parse::<Lsn>().expect("a position");
        let seconds = |seconds: u64| Timestamp(NOW.0 + 1000 * seconds);
        // The earlier write is done at 0 s, the later one at 4 s.
        let after = |earlier, later| {
            let token = |(position, lsn), now| Token::new(Seen { position, lsn }, now);
            let merged = token(later, seconds(4)).after(token(earlier, NOW));
            let text = seal.write(&merged);
            assert!(text.len() <= MAX_LENGTH, "{text}");
            assert_eq!(seal.open(&text, seconds(13)), Ok(merged));
            assert_eq!(seal.open(&text, seconds(14)), Err(Invalid::Expired));
            merged
        };
        for (earlier, later, applied, at_once, once_forgotten) in [
            (Some(at(1, 5)), Some(at(1, 7)), at(1, 6), false, false),
            (Some(at(1, 5)), Some(at(1, 7)), at(1, 7), true, true),
            (Some(at(1, 7)), Some(at(1, 5)), at(1, 6), false, false),
            (Some(at(1, 7)), Some(at(1, 5)), at(1, 7), true, true),
            // One of them is nowhere, or in another log.
            (None, Some(at(1, 5)), at(1, 9), false, true),
            (Some(at(2, 5)), Some(at(1, 5)), at(1, 9), false, true),
            (Some(at(1, 5)), Some(at(2, 5)), at(2, 9), false, true),
            (Some(at(1, 5)), Some(at(2, 5)), at(1, 9), false, false),
            (Some(at(1, 5)), None, at(1, 9), false, false),
            (None, None, at(1, 9), false, false),
        ] {
            let merged = after((earlier, None), (later, None));
            for (now, expected) in [(4, at_once), (9, at_once), (10, once_forgotten)] {
                let is_reached = merged.is_reached_by(applied, seconds(now));
                let case = format!("{earlier:?} then {later:?} by {applied} at {now} s");
                assert_eq!(is_reached, expected, "{case}");
            }
        }
        let (low, high) = (Some(lsn("1:0/10")), Some(lsn("1:0/20")));
        for (earlier, later, expected) in [
            (low, high, high),
            (high, low, high),
            (low, None, low),
            (None, low, low),
            (None, None, None),
        ] {
            assert_eq!(after((None, earlier), (None, later)).seen.lsn, expected);
        }
    }

    #[test]
    fn a_third_write_remembers_the_first_for_as_long_as_that_counts() {
        let seconds = |seconds: u64| Timestamp(NOW.0 + 1000 * seconds);
        let token = |position, now| {
            Token::new(
                Seen {
                    position,
                    lsn: None,
                },
                now,
            )
        };
        let first = token(None, NOW);
        let second = token(Some(at(1, 5)), seconds(4)).after(first);
        let third = token(Some(at(1, 6)), seconds(8)).after(second);
        assert!(!third.is_reached_by(at(1, 6), seconds(9)));
        assert!(third.is_reached_by(at(1, 6), seconds(10)));
    }
}
