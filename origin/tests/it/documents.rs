//! Documents and amounts come back as they were given.

use hyper::StatusCode;
use serde_json::json;

use crate::support::House;

#[tokio::test]
async fn a_document_comes_back_under_whatever_key_and_the_database_makes_the_same_tag() {
    let house = House::open().await;
    for (key, path, tag) in [
        ("plain", "plain", "document:plain"),
        ("a/b c", "a%2Fb%20c", "document:a%2Fb%20c"),
        ("50%, ü", "50%25%2C%20%C3%BC", "document:50%25%2C%20%C3%BC"),
        ("🦀", "%F0%9F%A6%80", "document:%F0%9F%A6%80"),
    ] {
        let data = json!({"n": 1.5, "list": [null, true, "x"], "key": key});
        let written = house
            .post("/write/document", json!({"key": key, "data": data}))
            .await
            .expect(StatusCode::OK);
        let expected = json!({
            "success": true, "key": key, "data": data, "from_cache": false, "stored_in": "PostgreSQL",
        });
        assert_eq!(written.json(), expected);
        let read = house
            .get(&format!("/read/document/{path}"))
            .await
            .expect(StatusCode::OK);
        assert_eq!(read.json(), expected);
        assert!(read.header("surrogate-key").starts_with(tag), "{key}");
        house.sink.wait_for(&[tag]).await;
    }
}

#[tokio::test]
async fn writing_a_document_again_replaces_it() {
    let house = House::open().await;
    for n in [1, 2] {
        house
            .post("/write/document", json!({"key": "k", "data": {"n": n}}))
            .await
            .expect(StatusCode::OK);
        assert_eq!(house.get("/read/document/k").await.json()["data"]["n"], n);
    }
    assert_eq!(house.get("/stats").await.json()["total_documents"], 1);
}

#[tokio::test]
async fn amounts_are_kept_to_the_cent() {
    let house = House::open().await;
    for (given, kept) in [
        (json!("0.10"), "0.10"),
        (json!(0.2), "0.20"),
        (json!("99999999.99"), "99999999.99"),
        (json!(12345678.91), "12345678.91"),
        (json!(-5), "-5.00"),
    ] {
        let recorded = house
            .post(
                "/write/transaction",
                json!({"user_id": 7, "amount": given, "transaction_type": "purchase"}),
            )
            .await
            .expect(StatusCode::OK)
            .json();
        assert_eq!(
            (&recorded["success"], &recorded["stored_in"]),
            (&json!(true), &json!("PostgreSQL"))
        );
        let ledger = house
            .get("/read/transaction/7")
            .await
            .expect(StatusCode::OK)
            .json();
        assert_eq!(ledger["value"][0]["id"], recorded["transaction_id"]);
        assert_eq!(ledger["value"][0]["amount"], kept);
    }
    let sum: String = sqlx::query_scalar("SELECT sum(amount)::text FROM transactions")
        .fetch_one(&house.pool)
        .await
        .unwrap();
    assert_eq!(sum, "112345674.20");
    let ledger = house.get("/read/transaction/7").await.json();
    assert_eq!(
        (&ledger["key"], &ledger["source"]),
        (&json!("transaction:7"), &json!("PostgreSQL"))
    );
    assert_eq!(house.get("/stats").await.json()["total_transactions"], 5);
    house.sink.wait_for(&["user-transactions:7"]).await;
}
