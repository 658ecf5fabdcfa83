//! Transactions: a ledger of exact amounts. A user's transactions fall by `user-transactions:ID`.

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::Response,
    routing::{get, post},
};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, PrimitiveDateTime};
use utoipa::ToSchema;

use crate::{
    clock::Clock,
    http::{
        access::Asker,
        amount::{amount, exact, in_full, money},
        answer::{Policy, Representation, tag, written},
        error::Problem,
        idempotency::{Begun, Once},
        input::{Path, Query, text},
        paging::{Cursor, Paging, Start},
    },
    postgres::{
        replicas::{Reading, Servers},
        writer::Write,
    },
    relay::outbox::announce,
};

/// For how many seconds a ledger may be used: by the browser, which nobody can purge, and by the edge.
const BROWSER: u32 = 10;
const EDGE: u32 = 60;
/// How many rows a page has unless it is said otherwise.
const PAGE: i64 = 100;
const STORE: &str = "PostgreSQL";

/// A transaction to record.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewTransaction {
    user_id: i64,
    /// At most two decimals, as a string or a number.
    #[schema(schema_with = money)]
    amount: Decimal,
    #[schema(min_length = 1, max_length = 50)]
    transaction_type: String,
}

/// What was recorded.
#[derive(Serialize, ToSchema)]
pub(crate) struct Recorded {
    success: bool,
    transaction_id: i64,
    message: &'static str,
    stored_in: &'static str,
}

/// A transaction.
#[derive(Serialize, ToSchema)]
pub(crate) struct Transaction {
    id: i64,
    user_id: i64,
    /// Exact, with two decimals, as a string.
    #[serde(serialize_with = "in_full")]
    #[schema(schema_with = exact)]
    amount: Decimal,
    transaction_type: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

/// A user's transactions.
#[derive(Serialize, ToSchema)]
pub(crate) struct Ledger {
    success: bool,
    key: String,
    /// A page of them, newest first.
    value: Vec<Transaction>,
    source: &'static str,
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .route("/write/transaction", post(write))
        .route("/read/transaction/{user_id}", get(read))
}

/// Records a transaction.
#[utoipa::path(post, path = "/write/transaction", tag = "transactions", request_body = NewTransaction,
    params(("Idempotency-Key" = Option<String>, Header, description = "names the attempt, so that a repeat is done once")),
    responses((status = 200, body = Recorded),
    (status = 409, description = "a request with this key is in progress", body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn write(
    asker: Asker,
    Once(attempt, new): Once<NewTransaction>,
) -> Result<Response, Problem> {
    asker.must_be(new.user_id)?;
    let amount = amount("amount", new.amount)?;
    text("transaction_type", &new.transaction_type, 50)?;
    match attempt.begin().await? {
        Begun::Answered(answer) => Ok(answer),
        Begun::First(mut first) => {
            let outcome = insert(&mut first.write, new, amount).await;
            first.end(outcome).await
        }
    }
}

async fn insert(
    write: &mut Write,
    new: NewTransaction,
    amount: Decimal,
) -> Result<Response, Problem> {
    let transaction_id = sqlx::query_scalar!(
        "INSERT INTO transactions (user_id, amount, transaction_type) VALUES ($1, $2, $3) RETURNING id",
        new.user_id,
        amount,
        new.transaction_type
    )
    .fetch_one(&mut **write)
    .await?;
    announce(write, &[tag("user-transactions", new.user_id)]).await?;
    let recorded = Recorded {
        success: true,
        transaction_id,
        message: "transaction recorded",
        stored_in: STORE,
    };
    written(StatusCode::OK, &recorded)
}

/// Shows a user's transactions, the newest first; of an unknown user there are none.
#[utoipa::path(get, path = "/read/transaction/{user_id}", tag = "transactions",
    params(("user_id" = i64, Path), Paging), responses((status = 200, body = Ledger,
    headers(("Link" = String, description = "next, prev, first"))), (status = 304), (status = 422, body = Problem)))]
pub(crate) async fn read(
    asker: Asker,
    State(clock): State<Clock>,
    Path(user): Path<i64>,
    Query(paging): Query<Paging>,
    reading: Reading,
    uri: Uri,
    request: HeaderMap,
) -> Result<Response, Problem> {
    asker.must_be(user)?;
    let page = paging.page(PAGE)?;
    let mut reader = reading.begin().await?;
    let mut value = match page.start {
        Start::First => {
            sqlx::query_as!(
                Transaction,
                "SELECT id, user_id, amount, transaction_type, created_at FROM transactions
                 WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2",
                user,
                page.fetch()
            )
            .fetch_all(&mut *reader)
            .await?
        }
        Start::After(cursor) => {
            sqlx::query_as!(
                Transaction,
                "SELECT id, user_id, amount, transaction_type, created_at FROM transactions
                 WHERE user_id = $1 AND created_at <= $2 AND (created_at < $2 OR id < $3)
                 ORDER BY created_at DESC, id DESC LIMIT $4",
                user,
                moment(cursor.rank),
                cursor.id,
                page.fetch()
            )
            .fetch_all(&mut *reader)
            .await?
        }
        Start::Before(cursor) => {
            sqlx::query_as!(
                Transaction,
                "SELECT id, user_id, amount, transaction_type, created_at FROM transactions
                 WHERE user_id = $1 AND created_at >= $2 AND (created_at > $2 OR id > $3)
                 ORDER BY created_at, id LIMIT $4",
                user,
                moment(cursor.rank),
                cursor.id,
                page.fetch()
            )
            .fetch_all(&mut *reader)
            .await?
        }
    };
    let link = page.cut(&mut value, &uri, |transaction| Cursor {
        rank: micros(transaction.created_at),
        id: transaction.id,
    });
    let newest = value.first().map(|transaction| transaction.created_at);
    let ledger = Ledger {
        success: true,
        key: format!("transaction:{user}"),
        value,
        source: STORE,
    };
    let mut representation = Representation::of(&ledger)?
        .policy(Policy::of_owner(asker, clock.now(), BROWSER, EDGE))
        .link(link)
        .tags([tag("user-transactions", user)]);
    if let Some(newest) = newest {
        representation = representation.modified(newest);
    }
    Ok(representation.answer(&request))
}

/// Microseconds since 1970, which is as exact as PostgreSQL is.
fn micros(moment: OffsetDateTime) -> i64 {
    i64::try_from(moment.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
}

/// The moment of a place in the list; one beyond all that can be said is behind all that there is.
fn moment(micros: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000)
        .unwrap_or(PrimitiveDateTime::MAX.assume_utc())
}
