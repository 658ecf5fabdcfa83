//! Passwords: kept as hashes by Argon2id with 19 MiB, two passes and one lane (OWASP's Password Storage Cheat Sheet), and
//! changed by whoever knows the present one.
//!
//! A hash takes tens of milliseconds of a processor and its memory, so it is made on a thread that may block, and only so
//! many are made at once: who comes beyond them is told to come again, and no burst of logins takes the machine's memory.
//! Whoever asks learns nothing of who is known here: an unknown user costs a hash too, and has the same answer.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use axum::{
    Router,
    extract::{FromRef, State},
    response::Response,
    routing::put,
};
use serde::Deserialize;
use tokio::{sync::Semaphore, task::spawn_blocking};
use utoipa::ToSchema;

use crate::{
    activity::sessions,
    http::{
        access::Asker,
        answer::{gone, tag},
        error::Problem,
        input::{Json, Path},
    },
    learning::users,
    postgres::{
        replicas::{PrimaryReader, Servers},
        writer::Writer,
    },
    redis::on_redis::OnRedis,
    relay::outbox::announce,
};

/// How many characters a password has.
const LENGTH: std::ops::RangeInclusive<usize> = 8..=128;
/// How many hashes are made at once: with 19 MiB each, 152 MiB.
const AT_ONCE: usize = 8;
/// Memory in KiB, passes, lanes.
const COSTS: (u32, u32, u32) = (19_456, 2, 1);

static ARGON: LazyLock<Argon2<'static>> = LazyLock::new(|| {
    let params = Params::new(COSTS.0, COSTS.1, COSTS.2, None).expect("costs within their bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
});

/// Stands for the hash of a user who is unknown or has no password: it costs as much, and fits none that anyone has.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgc2FsdC4uLg$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A password as it comes. It is never shown.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, min_length = 8, max_length = 128)]
pub(crate) struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password")
    }
}

impl Password {
    /// Refuses one that is too short to be chosen, or longer than is read.
    pub(crate) fn check(&self, field: &'static str) -> Result<(), Problem> {
        if LENGTH.contains(&self.0.chars().count()) {
            return Ok(());
        }
        let (least, most) = (LENGTH.start(), LENGTH.end());
        Err(
            Problem::invalid(format!("{field} must have {least} to {most} characters"))
                .field(field),
        )
    }
}

/// The hash of a password, as the database keeps it (a PHC string).
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Hash(pub(crate) String);

impl fmt::Debug for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Hash")
    }
}

/// Where hashes are made, so many at once.
#[derive(Clone)]
pub(crate) struct Hashing(Arc<Semaphore>);

impl Default for Hashing {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Hashing {
    /// The hash of a password, with a salt of its own.
    pub(crate) async fn hash(&self, password: Password) -> Result<Hash, Problem> {
        let hash = move || ARGON.hash_password(password.0.as_bytes());
        let hash = self.apart(hash).await?;
        let hash = hash.map_err(|error| Problem::failed("a password is not hashed", &error))?;
        Ok(Hash(hash.to_string()))
    }

    /// Whether the password is that of the hash. Takes as long where there is none.
    pub(crate) async fn fits(
        &self,
        password: Password,
        hash: Option<&Hash>,
    ) -> Result<bool, Problem> {
        let is_somebodys = hash.is_some();
        let hash = hash.map_or(NOBODYS.to_owned(), |hash| hash.0.clone());
        let fits = move || {
            let hash = PasswordHash::new(&hash)?;
            ARGON.verify_password(password.0.as_bytes(), &hash)
        };
        match self.apart(fits).await? {
            Ok(()) => Ok(is_somebodys),
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(Problem::failed(
                "a hash of a password cannot be read",
                &error,
            )),
        }
    }

    /// Does it on a thread that may block, if not too many do so already. It is done to its end, also when nobody waits for
    /// it any more.
    async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = self.0.clone().try_acquire_owned();
        let permit = permit.map_err(|_| Problem::hashing())?;
        let done = spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await
            .map_err(|error| Problem::failed("a password is not hashed", &error))
    }
}

impl FromRef<Servers> for Hashing {
    fn from_ref(servers: &Servers) -> Self {
        servers.hashing().clone()
    }
}

/// A password to have from now on.
#[derive(Deserialize, ToSchema)]
pub(crate) struct PasswordChange {
    /// The present one; an admin may leave it out for others.
    current_password: Option<Password>,
    /// 8 to 128 characters.
    password: Password,
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new().route("/users/{id}/password", put(change))
}

/// Changes a user's password. All sessions of the user end.
#[utoipa::path(put, path = "/users/{id}/password", tag = "users", params(("id" = i64, Path)),
    request_body = PasswordChange, responses((status = 204), (status = 404, body = Problem),
    (status = 409, description = "it has been changed meanwhile", body = Problem),
    (status = 422, description = "the current password is another one, or the new one is too short or too long",
    body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn change(
    asker: Asker,
    writer: Writer,
    reader: PrimaryReader,
    State(hashing): State<Hashing>,
    State(on_redis): State<Arc<OnRedis>>,
    Path(id): Path<i64>,
    Json(change): Json<PasswordChange>,
) -> Result<Response, Problem> {
    asker.must_be(id)?;
    change.password.check("password")?;
    let mut reader = reader.begin().await?;
    let kept = sqlx::query_scalar!("SELECT password_hash FROM users WHERE id = $1", id)
        .fetch_optional(&mut *reader)
        .await?
        .ok_or_else(|| users::absent(id))?
        .map(Hash);
    let is_for_another = asker.is_admin() && asker.id != id;
    if is_for_another {
        users::is_admin_still(&mut reader, asker).await?;
    }
    // Nobody else waits for a connection while hashes are made.
    drop(reader);
    match change.current_password {
        None if is_for_another => {}
        None => return Err(wrong()),
        Some(current) => {
            if current.0.chars().count() > *LENGTH.end()
                || !hashing.fits(current, kept.as_ref()).await?
            {
                return Err(wrong());
            }
        }
    }
    let hash = hashing.hash(change.password).await?;
    let mut write = writer.begin().await?;
    let changed = sqlx::query!(
        "UPDATE users SET password_hash = $2 WHERE id = $1 AND password_hash IS NOT DISTINCT FROM $3",
        id,
        hash.0,
        kept.map(|kept| kept.0)
    )
    .execute(&mut *write)
    .await?;
    if changed.rows_affected() == 0 {
        return Err(Problem::conflict(
            "urn:tidegate:password-changed",
            "The password has been changed meanwhile",
            "another request has changed it, or the user is gone",
        ));
    }
    announce(&mut write, &[tag("user", id)]).await?;
    sessions::end_all(&on_redis, id).await?;
    write.commit().await?;
    Ok(gone())
}

fn wrong() -> Problem {
    Problem::invalid("current_password is not the user's password").field("current_password")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password(text.to_owned())
    }

    #[tokio::test]
    async fn a_hash_is_of_one_password_and_says_how_it_was_made() {
        let hashing = Hashing::default();
        let hash = hashing.hash(password("high water")).await.unwrap();
        assert!(hash.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_ne!(hashing.hash(password("high water")).await.unwrap(), hash);
        for (text, fits) in [("high water", true), ("low water", false), ("", false)] {
            let found = hashing.fits(password(text), Some(&hash)).await.unwrap();
            assert_eq!(found, fits, "{text}");
        }
        let nobody = hashing.fits(password("high water"), None).await.unwrap();
        assert!(!nobody);
        let unreadable = Hash("$1$old".to_owned());
        let unreadable = hashing.fits(password("high water"), Some(&unreadable));
        assert!(unreadable.await.is_err());
        assert_eq!(
            format!("{hash:?} {:?}", password("high water")),
            "Hash Password"
        );
    }

    #[tokio::test]
    async fn who_comes_beyond_those_at_work_is_told_to_come_again() {
        let hashing = Hashing::default();
        let at_work = hashing.0.clone().acquire_many_owned(AT_ONCE as u32).await;
        let refused = hashing.hash(password("high water")).await.unwrap_err();
        let refused = serde_json::to_value(&refused).unwrap();
        assert_eq!(refused["status"], 503);
        drop(at_work);
        hashing.hash(password("high water")).await.unwrap();
        // What was at work is done, and nothing of it is kept.
        assert_eq!(hashing.0.available_permits(), AT_ONCE);
    }

    #[test]
    fn a_password_has_its_length() {
        for (length, is_right) in [(0, false), (7, false), (8, true), (128, true), (129, false)] {
            let checked = password(&"ü".repeat(length)).check("password");
            assert_eq!(checked.is_ok(), is_right, "{length}");
        }
    }
}
