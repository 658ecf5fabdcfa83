//! Drafts on their way from Redis to the table: in parts, those that have waited longest first, and past what fails.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use crate::{
    activity::{
        behind::NotWritten,
        drafts::kept::{self, Dirty},
    },
    postgres::{
        held::{Background, in_time},
        refusal::{is_of_the_rows, is_too_much},
    },
    redis::client::Redis,
};

/// How many drafts a statement writes. So many of the longest are 4 MiB.
const PART: usize = 32;

/// Writes drafts that have changed into the table, each once. A part that the database refuses for what is in it, or that
/// takes too long, is halved; a draft that fails by itself waits for the next time.
pub(crate) async fn flush(redis: &Redis, pool: &Background) -> Result<(), NotWritten> {
    let dirty = kept::dirty(redis).await?;
    let mut parts: Vec<_> = dirty.chunks(PART).rev().collect();
    let mut failed = None;
    while let Some(part) = parts.pop() {
        match write(redis, pool, part).await {
            Ok(()) => {}
            Err(NotWritten::Database(error)) if is_too_much(&error) || is_of_the_rows(&error) => {
                if let [draft] = part {
                    tracing::warn!(%error, draft, "a draft waits in redis");
                    failed = Some(NotWritten::Database(error));
                } else {
                    let (left, right) = part.split_at(part.len() / 2);
                    parts.extend([right, left]);
                }
            }
            Err(error) => return Err(error),
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

async fn write(redis: &Redis, pool: &Background, members: &[String]) -> Result<(), NotWritten> {
    let found = kept::read(redis, members).await?;
    let drafts: Vec<_> = found.iter().flatten().collect();
    let has = if drafts.is_empty() {
        BTreeMap::new()
    } else {
        let mut held = pool.acquire().await?;
        in_time(held.until(), upsert(&mut held, &drafts)).await?
    };
    let written: Vec<_> = members
        .iter()
        .zip(&found)
        .map(|(member, found)| {
            let revision = found.as_ref().map_or(0, |draft| draft.revision);
            let has = has.get(member.as_str()).copied().unwrap_or(revision);
            (member.as_str(), revision, has)
        })
        .collect();
    Ok(kept::written(redis, &written).await?)
}

/// Writes those that are newer than what the table has; returns the revisions that it has then, by member.
async fn upsert(
    connection: &mut PgConnection,
    drafts: &[&Dirty],
) -> Result<BTreeMap<String, i64>, sqlx::Error> {
    let (mut users, mut names) = (Vec::new(), Vec::new());
    let (mut revisions, mut data) = (Vec::new(), Vec::new());
    for draft in drafts {
        let owner = draft.member.split_once(':');
        let Some((Ok(user), name)) = owner.map(|(user, name)| (user.parse::<i64>(), name)) else {
            // Of nobody's making: it is taken for written.
            continue;
        };
        users.push(user);
        names.push(name);
        revisions.push(draft.revision);
        data.push(draft.data.as_str());
    }
    sqlx::query!(
        "INSERT INTO drafts (user_id, name, revision, data)
         SELECT user_id, name, revision, data::jsonb
         FROM UNNEST($1::bigint[], $2::text[], $3::bigint[], $4::text[]) AS new (user_id, name, revision, data)
         ORDER BY user_id, name
         ON CONFLICT (user_id, name) DO UPDATE SET revision = excluded.revision, data = excluded.data,
             saved_at = excluded.saved_at
         WHERE drafts.revision < excluded.revision",
        &users,
        &names as _,
        &revisions,
        &data as _
    )
    .execute(&mut *connection)
    .await?;
    let has = sqlx::query!(
        r#"SELECT user_id || ':' || name AS "member!", revision FROM drafts
           WHERE (user_id, name) IN (SELECT * FROM UNNEST($1::bigint[], $2::text[]))"#,
        &users,
        &names as _
    )
    .fetch_all(&mut *connection)
    .await?;
    // Ends of drafts, which nothing older can come after any more. Whoever else does so skips these.
    sqlx::query!(
        "DELETE FROM drafts WHERE (user_id, name) IN (
             SELECT user_id, name FROM drafts WHERE data IS NULL AND saved_at < now() - interval '1 day'
             ORDER BY saved_at LIMIT 100 FOR UPDATE SKIP LOCKED)"
    )
    .execute(connection)
    .await?;
    Ok(has
        .into_iter()
        .map(|row| (row.member, row.revision))
        .collect())
}
