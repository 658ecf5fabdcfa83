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

impl Seen {
    /// Whether an edge that has applied the log up to `applied` has got as far. What is in another
    /// log cannot be compared, and has not.
    pub fn is_reached_by(&self, applied: Position) -> bool {
        self.position.is_some_and(|seen| applied.has_reached(seen))
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

    /// A token that is good for [`LIFETIME`] from `now`. It is a cookie's value and a field's:
    /// `EPOCH-SEQ.LSN.EXPIRY.MAC`, numbers in hexadecimal digits, `none` for what there is not.
    pub fn token(&self, seen: &Seen, now: Timestamp) -> String {
        let position = seen
            .position
            .map(|position| format!("{:x}-{:x}", position.epoch, position.seq));
        let said = format!(
            "{}.{}.{:x}",
            position.as_deref().unwrap_or(NONE),
            seen.lsn
                .map(|lsn| lsn.to_string())
                .as_deref()
                .unwrap_or(NONE),
            now.0.saturating_add(LIFETIME.as_millis() as u64),
        );
        let mac = self.mac(&said).to_hex();
        format!("{said}.{mac}")
    }

    /// What a token says at `now`.
    ///
    /// # Errors
    /// [`Invalid`] when it says nothing.
    pub fn open(&self, token: &str, now: Timestamp) -> Result<Seen, Invalid> {
        if token.len() > MAX_LENGTH {
            return Err(Invalid::Forged);
        }
        let (said, mac) = token.rsplit_once('.').ok_or(Invalid::Forged)?;
        let mac = blake3::Hash::from_hex(mac).map_err(|_| Invalid::Forged)?;
        // How long comparing takes does not tell how much was right.
        if self.mac(said) != mac {
            return Err(Invalid::Forged);
        }
        let (seen, expiry) = parse(said).ok_or(Invalid::Forged)?;
        if now >= expiry {
            return Err(Invalid::Expired);
        }
        Ok(seen)
    }

    fn mac(&self, said: &str) -> blake3::Hash {
        blake3::keyed_hash(&self.key, said.as_bytes())
    }
}

/// What there is not.
const NONE: &str = "none";

fn parse(said: &str) -> Option<(Seen, Timestamp)> {
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
    let expiry = Timestamp(number(parts.next()?)?);
    Some((Seen { position, lsn }, expiry)).filter(|_| parts.next().is_none())
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
            let token = seal.token(&seen, NOW);
            let is_octet = |byte: u8| byte.is_ascii_alphanumeric() || b".-:/".contains(&byte);
            assert!(
                token.len() <= MAX_LENGTH && token.bytes().all(is_octet),
                "{token}"
            );
            assert_eq!(seal.open(&token, NOW), Ok(seen));
            let end = NOW.0 + LIFETIME.as_millis() as u64;
            assert_eq!(seal.open(&token, Timestamp(end - 1)), Ok(seen));
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
        let token = seal.token(&seen, NOW);
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
            Seal::new("another").token(&seen, NOW),
            // By our secret, and yet nothing.
            format!("a.b.c.{}", seal.mac("a.b.c").to_hex()),
            format!("{said}.d.{}", seal.mac(&format!("{said}.d")).to_hex()),
        ] {
            assert_eq!(seal.open(&forged, NOW), Err(Invalid::Forged), "{forged}");
        }
    }

    #[test]
    fn what_was_seen_is_reached_in_its_own_log_alone() {
        let seen = |position| Seen {
            position,
            lsn: None,
        };
        for (position, applied, expected) in [
            (Some(at(1, 5)), at(1, 5), true),
            (Some(at(1, 5)), at(1, 6), true),
            (Some(at(1, 5)), at(1, 4), false),
            (Some(at(1, 5)), at(2, 6), false),
            (None, at(1, u64::MAX), false),
        ] {
            let is_reached = seen(position).is_reached_by(applied);
            assert_eq!(is_reached, expected, "{position:?} by {applied}");
        }
    }
}
