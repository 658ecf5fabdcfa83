//! Transactions: a ledger of exact amounts. A user's transactions fall by `user-transactions:ID`.

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::{get, post},
};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    answer::{Policy, Representation, tag, written},
    error::Problem,
    input::{Json, Path, amount, text},
    outbox::announce,
    replicas::{Reader, Servers},
};

const POLICY: Policy = Policy::Private { browser: 10 };
const STORE: &str = "PostgreSQL";

/// A transaction to record.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewTransaction {
    user_id: i64,
    /// At most two decimals, as a string or a number.
    amount: Decimal,
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
    /// The newest 1,000, newest first.
    value: Vec<Transaction>,
    source: &'static str,
}

pub(crate) fn routes() -> Router<Servers> {
    Router::new()
        .route("/write/transaction", post(write))
        .route("/read/transaction/{user_id}", get(read))
}

/// Records a transaction.
#[utoipa::path(post, path = "/write/transaction", tag = "transactions", request_body = NewTransaction, responses(
    (status = 200, body = Recorded), (status = 422, body = Problem)))]
pub(crate) async fn write(
    State(pool): State<PgPool>,
    Json(new): Json<NewTransaction>,
) -> Result<Response, Problem> {
    let amount = amount("amount", new.amount)?;
    text("transaction_type", &new.transaction_type, 50)?;
    let mut transaction = pool.begin().await?;
    let transaction_id = sqlx::query_scalar!(
        "INSERT INTO transactions (user_id, amount, transaction_type) VALUES ($1, $2, $3) RETURNING id",
        new.user_id,
        amount,
        new.transaction_type
    )
    .fetch_one(&mut *transaction)
    .await?;
    announce(&mut transaction, &[tag("user-transactions", new.user_id)]).await?;
    transaction.commit().await?;
    let recorded = Recorded {
        success: true,
        transaction_id,
        message: "transaction recorded",
        stored_in: STORE,
    };
    written(StatusCode::OK, &recorded)
}

/// Shows a user's transactions; of an unknown user there are none.
#[utoipa::path(get, path = "/read/transaction/{user_id}", tag = "transactions", params(("user_id" = i64, Path)),
    responses((status = 200, body = Ledger), (status = 304)))]
pub(crate) async fn read(
    Path(user): Path<i64>,
    mut reader: Reader,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let value = sqlx::query_as!(
        Transaction,
        "SELECT id, user_id, amount, transaction_type, created_at FROM transactions
         WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT 1000",
        user
    )
    .fetch_all(&mut *reader)
    .await?;
    let newest = value.first().map(|transaction| transaction.created_at);
    let ledger = Ledger {
        success: true,
        key: format!("transaction:{user}"),
        value,
        source: STORE,
    };
    let mut representation = Representation::of(&ledger)?
        .policy(POLICY)
        .tags([tag("user-transactions", user)]);
    if let Some(newest) = newest {
        representation = representation.modified(newest);
    }
    Ok(representation.answer(&request))
}
