//! Documents and amounts come back as they were given, and documents are found by what they hold.

use hyper::StatusCode;
use serde_json::json;

use crate::support::{Answer, House, patiently};

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

fn keys(answer: &Answer) -> Vec<String> {
    let body = answer.json();
    let documents = body["value"].as_array().unwrap().iter();
    documents
        .map(|document| document["key"].as_str().unwrap().to_owned())
        .collect()
}

async fn filtered(house: &House, filter: &str) -> Answer {
    let encoded: String = filter.bytes().map(|byte| format!("%{byte:02X}")).collect();
    house.get(&format!("/documents?filter={encoded}")).await
}

#[tokio::test]
async fn documents_are_found_by_what_they_contain() {
    let house = House::open().await;
    house
        .sql(
            r#"INSERT INTO documents (key, data) VALUES
                 ('sea', '{"theme": "sea", "tags": ["a", "b"], "size": {"w": 1, "h": 2}}'),
                 ('land', '{"theme": "land", "tags": ["b"], "size": {"w": 1}}'),
                 ('list', '[1, {"theme": "sea"}]'),
                 ('number', '7')"#,
        )
        .await;
    for (filter, expected) in [
        (r#"{"theme":"sea"}"#, vec!["sea"]),
        (r#"{"tags":["b"]}"#, vec!["sea", "land"]),
        (r#"{"tags":["b","a"]}"#, vec!["sea"]),
        (r#"{"size":{"w":1}}"#, vec!["sea", "land"]),
        (r#"{"size":{"w":"1"}}"#, vec![]),
        (r#"{"theme":"sea","size":{"w":2}}"#, vec![]),
        (r#"[{"theme":"sea"}]"#, vec!["list"]),
        // A value by itself is contained in an array that has it.
        ("1", vec!["list"]),
        ("7", vec!["number"]),
        ("{}", vec!["sea", "land"]),
    ] {
        let answer = filtered(&house, filter).await.expect(StatusCode::OK);
        assert_eq!(keys(&answer), expected, "{filter}");
    }
    let all = house.get("/documents").await.expect(StatusCode::OK);
    assert_eq!(keys(&all), ["sea", "land", "list", "number"]);
    assert_eq!(all.json()["value"][3]["data"], 7);
}

#[tokio::test]
async fn a_filter_that_is_none_is_refused_by_its_name() {
    let house = House::open().await;
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(2_048));
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for filter in [
        "",
        "{",
        "{'a':1}",
        "{\"a\":1} {}",
        "1e999",
        r#"{"a":"\u0000"}"#,
        r#"{"\u0000":1}"#,
        &long,
        &deep,
    ] {
        let named = filtered(&house, filter).await;
        let named = named.problem(StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(named.as_deref(), Some("filter"), "{filter}");
    }
    let longest = format!(r#"{{"a":"{}"}}"#, "x".repeat(2_040));
    assert_eq!(longest.len(), 2_048);
    filtered(&house, &longest).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_list_of_documents_falls_with_any_of_them() {
    let house = House::open().await;
    let list = filtered(&house, r#"{"n":1}"#).await.expect(StatusCode::OK);
    assert_eq!(list.header("cache-control"), "public, max-age=60");
    assert_eq!(
        list.header("cdn-cache-control"),
        "public, max-age=300, stale-while-revalidate=60, stale-if-error=600"
    );
    assert_eq!(list.header("surrogate-key"), "documents table:documents");
    assert_eq!(keys(&list), Vec::<String>::new());
    let document = json!({"key": "a", "data": {"n": 1}});
    house
        .post("/write/document", document)
        .await
        .expect(StatusCode::OK);
    house.sink.wait_for(&["documents"]).await;
    assert_eq!(keys(&filtered(&house, r#"{"n":1}"#).await), ["a"]);
}

#[tokio::test]
async fn a_filter_that_fits_few_documents_goes_by_the_index_of_what_they_hold() {
    let house = House::open().await;
    house
        .sql(
            "INSERT INTO documents (key, data)
                 SELECT n::text, jsonb_build_object('n', n, 'kind', 'k' || n % 4) FROM generate_series(1, 20000) n;
             ANALYZE documents",
        )
        .await;
    let plan: Vec<String> = sqlx::query_scalar(
        r#"EXPLAIN SELECT id, key, data, created_at, updated_at FROM documents
           WHERE ('{"n": 77}'::jsonb IS NULL OR data @> '{"n": 77}') AND id > 0
           ORDER BY id LIMIT 21"#,
    )
    .fetch_all(&house.pool)
    .await
    .unwrap();
    let plan = plan.join("\n");
    assert!(
        plan.contains("Bitmap Index Scan on documents_data"),
        "{plan}"
    );

    // And the origin's own statement, by what PostgreSQL counts of the use of each index.
    let scans = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'documents_data'";
    let before = house.number(scans).await;
    for n in [77, 20_000] {
        let found = filtered(&house, &format!(r#"{{"n":{n}}}"#)).await;
        assert_eq!(keys(&found.expect(StatusCode::OK)), [n.to_string()]);
    }
    patiently("the index was used", || async {
        // A connection tells what it has counted when it has been used for a second.
        filtered(&house, r#"{"n":78}"#).await.expect(StatusCode::OK);
        house.number(scans).await >= before + 3
    })
    .await;
    // Of those that fit many, the first are had without looking at all of them.
    let many = filtered(&house, r#"{"kind":"k1"}"#).await;
    assert_eq!(keys(&many.expect(StatusCode::OK)).len(), 20);
}
