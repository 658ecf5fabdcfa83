//! How members leave, and how owners cease to be owners: so that a circle that is left has somebody who owns it.
//!
//! Members leave, and owners remove them. The last owner makes somebody else one before leaving, or leaves last, and the
//! circle ends with it; where the last owner is removed as a user, who has been in the circle for longest takes over.

use axum::response::Response;
use serde::Deserialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::{Membership, OWNER, fallen, not_in, standing};
use crate::{
    community::circles::absent,
    http::{
        access::{Asker, allowed},
        answer::{changed, gone, tag},
        error::Problem,
        input::{Json, Path, one_of},
    },
    postgres::writer::{Write, Writer},
    relay::outbox::announce,
};

const ROLES: [&str; 2] = [OWNER, "member"];

/// What a member becomes.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Appointment {
    #[schema(pattern = "^(owner|member)$")]
    role: String,
}

fn last_owner(circle: i64) -> Problem {
    Problem::conflict(
        "urn:tidegate:last-owner",
        "The circle would have no owner",
        format!("circle {circle} has no other owner: make somebody one first"),
    )
}

/// Refuses whoever does not own the circle.
async fn owner(connection: &mut PgConnection, circle: i64, asker: Asker) -> Result<(), Problem> {
    let role = standing(connection, circle, asker).await?;
    allowed(
        role.as_deref() == Some(OWNER),
        "only an owner of the circle may",
    )
}

/// Locks a circle against all that changes who is in it, and against new messages.
async fn lock(connection: &mut PgConnection, circle: i64) -> Result<(), Problem> {
    sqlx::query_scalar!("SELECT id FROM circles WHERE id = $1 FOR UPDATE", circle)
        .fetch_optional(connection)
        .await?
        .map(drop)
        .ok_or_else(|| absent(circle))
}

/// Makes a member an owner, or an owner a member; an owner does.
#[utoipa::path(patch, path = "/circles/{id}/members/{user_id}", tag = "circles",
    params(("id" = i64, Path), ("user_id" = i64, Path),
    ("If-Match" = Option<String>, Header, description = "the `ETag` of the membership that may be changed")),
    request_body = Appointment, responses((status = 200, body = Membership), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, description = "the circle would have no owner", body = Problem),
    (status = 412, description = "somebody else has changed it", body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn appoint(
    asker: Asker,
    writer: Writer,
    Path((circle, user)): Path<(i64, i64)>,
    Json(Appointment { role }): Json<Appointment>,
) -> Result<Response, Problem> {
    one_of("role", &role, &ROLES)?;
    let mut write = writer.begin().await?;
    lock(&mut write, circle).await?;
    owner(&mut write, circle, asker).await?;
    let has_others = require(&mut write, circle, user).await? == Stays::Others;
    if role != OWNER && !has_others {
        return Err(last_owner(circle));
    }
    let membership = sqlx::query_as!(
        Membership,
        "UPDATE circle_members SET role = $3 WHERE circle_id = $1 AND user_id = $2
         RETURNING circle_id, user_id, role, joined_at",
        circle,
        user,
        role
    )
    .fetch_one(&mut *write)
    .await?;
    announce(&mut write, &fallen(circle, user)).await?;
    write.commit().await?;
    changed(&membership)
}

/// Leaves a circle, or removes a member from a circle that the asker owns. With the last member the circle ends.
#[utoipa::path(delete, path = "/circles/{id}/members/{user_id}", tag = "circles",
    params(("id" = i64, Path), ("user_id" = i64, Path),
    ("If-Match" = Option<String>, Header, description = "the `ETag` of the membership that may be given up")),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 409, description = "the circle would have no owner", body = Problem),
    (status = 412, description = "somebody else has changed it", body = Problem)))]
pub(crate) async fn leave(
    asker: Asker,
    writer: Writer,
    Path((circle, user)): Path<(i64, i64)>,
) -> Result<Response, Problem> {
    let mut write = writer.begin().await?;
    lock(&mut write, circle).await?;
    if asker.id == user {
        standing(&mut write, circle, asker).await?;
    } else {
        owner(&mut write, circle, asker).await?;
    }
    let mut tags = fallen(circle, user).to_vec();
    match require(&mut write, circle, user).await? {
        Stays::LastOwner => return Err(last_owner(circle)),
        Stays::Nobody => {
            sqlx::query!("DELETE FROM circles WHERE id = $1", circle)
                .execute(&mut *write)
                .await?;
            tags.push(tag("circle-messages", circle));
        }
        Stays::Others => {
            sqlx::query!(
                "DELETE FROM circle_members WHERE circle_id = $1 AND user_id = $2",
                circle,
                user
            )
            .execute(&mut *write)
            .await?;
            sqlx::query!(
                "UPDATE circles SET member_count = member_count - 1 WHERE id = $1",
                circle
            )
            .execute(&mut *write)
            .await?;
        }
    }
    announce(&mut write, &tags).await?;
    write.commit().await?;
    Ok(gone())
}

/// What a locked circle would have without a member.
#[derive(PartialEq, Eq)]
enum Stays {
    /// Members, an owner among them.
    Others,
    /// Members and no owner: the member is the last one.
    LastOwner,
    /// Neither: the member is the last one.
    Nobody,
}

/// What would be left of the locked circle; refuses a write that demands another state of the membership.
async fn require(write: &mut Write, circle: i64, user: i64) -> Result<Stays, Problem> {
    let membership = sqlx::query_as!(
        Membership,
        "SELECT circle_id, user_id, role, joined_at FROM circle_members WHERE circle_id = $1 AND user_id = $2",
        circle,
        user
    )
    .fetch_optional(&mut **write)
    .await?
    .ok_or_else(|| not_in(user, circle))?;
    write.conditions.require(Some(&membership))?;
    let others = sqlx::query!(
        r#"SELECT count(*) AS "members!", count(*) FILTER (WHERE role = $3) AS "owners!"
           FROM circle_members WHERE circle_id = $1 AND user_id <> $2"#,
        circle,
        user,
        OWNER
    )
    .fetch_one(&mut **write)
    .await?;
    Ok(match (others.members, others.owners) {
        (0, _) => Stays::Nobody,
        (_, 0) => Stays::LastOwner,
        _ => Stays::Others,
    })
}

/// Takes a user, whose row is locked, out of all circles, before the user is removed; returns the tags that fall.
///
/// Circles in which nobody else is end. Others that the user alone owned pass to whoever has been in them for longest. What
/// the user has written in circles goes with the user: those are locked too, so that none ends meanwhile.
pub(crate) async fn forget(
    connection: &mut PgConnection,
    user: i64,
) -> Result<Vec<String>, sqlx::Error> {
    let circles = sqlx::query_scalar!(
        "SELECT id FROM circles
         WHERE id IN (SELECT circle_id FROM circle_members WHERE user_id = $1
                      UNION ALL SELECT circle_id FROM messages WHERE author_id = $1)
         ORDER BY id FOR UPDATE",
        user
    )
    .fetch_all(&mut *connection)
    .await?;
    // Places that were given up while this waited for a circle are no longer the user's.
    let left = sqlx::query_scalar!(
        "DELETE FROM circle_members WHERE user_id = $1 RETURNING circle_id",
        user
    )
    .fetch_all(&mut *connection)
    .await?;
    sqlx::query!(
        "UPDATE circles SET member_count = member_count - 1 WHERE id = ANY ($1)",
        &left
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "DELETE FROM circles WHERE id = ANY ($1) AND member_count = 0",
        &left
    )
    .execute(&mut *connection)
    .await?;
    let heirs = sqlx::query_scalar!(
        "UPDATE circle_members SET role = $2 WHERE id IN (
             SELECT min(id) FROM circle_members WHERE circle_id = ANY ($1)
             GROUP BY circle_id HAVING bool_and(role <> $2))
         RETURNING user_id",
        &left,
        OWNER
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut tags: Vec<_> = left.iter().map(|id| tag("circle-members", id)).collect();
    tags.extend(circles.iter().map(|id| tag("circle-messages", id)));
    tags.extend(heirs.iter().map(|id| tag("user-circles", id)));
    tags.extend([tag("user-circles", user), tag("user-notifications", user)]);
    Ok(tags)
}

/// What falls when a user is called something else: the lists of members that show names.
pub(crate) async fn renamed(
    connection: &mut PgConnection,
    user: i64,
) -> Result<Vec<String>, sqlx::Error> {
    let circles = sqlx::query_scalar!(
        "SELECT circle_id FROM circle_members WHERE user_id = $1",
        user
    )
    .fetch_all(connection)
    .await?;
    Ok(circles
        .into_iter()
        .map(|circle| tag("circle-members", circle))
        .collect())
}
