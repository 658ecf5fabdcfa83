//! Drafts: shown as they were saved last, written behind, and ended by what is saved for good.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tidegate_services::{Postgres, Redis};

use crate::support::{Answer, House, database, exists, gathering, patiently, told, writing};

const DIRTY: &str = "{tidegate-origin:drafts}:dirty";
const JOURNAL: &str = "{tidegate-origin:drafts}:of:7:journal";
const PATH: &str = "/drafts/7/journal";
const FINAL: &str = "/drafts/7/journal/final";

/// Saves a draft and returns its validator.
async fn save(house: &House, path: &str, data: Value) -> String {
    let saved = house
        .ask_with(Method::PUT, path, &[], json!({"data": data}))
        .await
        .expect(StatusCode::OK);
    let etag = saved.header("etag").to_owned();
    assert_eq!(etag, format!("\"{}\"", saved.json()["revision"]));
    etag
}

async fn finish(house: &House, headers: &[(&str, &str)], data: &str) -> Answer {
    let body = json!({"data": data});
    house.ask_with(Method::POST, FINAL, headers, body).await
}

/// The draft's data, if there is one.
async fn shown(house: &House, path: &str) -> Option<Value> {
    let answer = house.get(path).await;
    match answer.status {
        StatusCode::NOT_FOUND => None,
        _ => Some(answer.expect(StatusCode::OK).json()["data"].clone()),
    }
}

async fn lifetime(redis: &Redis) -> i64 {
    let lives = told(redis, redis::cmd("TTL").arg(JOURNAL)).await;
    redis::from_redis_value(lives).unwrap()
}

async fn are_written(redis: &Redis) {
    patiently("no draft waits", || async { !exists(redis, DIRTY).await }).await;
}

#[tokio::test]
async fn a_draft_is_saved_with_every_change_and_written_now_and_then() {
    let redis = Redis::ephemeral().unwrap();
    let url = database().await;
    let house = gathering(&redis, &url).await;
    house.get(PATH).await.problem(StatusCode::NOT_FOUND);
    let first = save(&house, PATH, json!({"text": "I"})).await;
    let second = save(&house, PATH, json!({"text": "I was"})).await;
    assert!(second > first);
    let draft = house.get(PATH).await.expect(StatusCode::OK);
    assert_eq!(draft.header("cache-control"), "no-store");
    assert_eq!(draft.header("etag"), second);
    assert_eq!(draft.json()["data"], json!({"text": "I was"}));
    // No server that makes room takes what the table does not have.
    assert_eq!(lifetime(&redis).await, -1);

    let _worker = writing(&redis, &url).await;
    are_written(&redis).await;
    assert!((3_000..=3_600).contains(&lifetime(&redis).await));
    // As if its hour was over.
    told(&redis, redis::cmd("DEL").arg(JOURNAL)).await;
    let draft = house.get(PATH).await.expect(StatusCode::OK);
    assert_eq!(draft.header("etag"), second);
    assert_eq!(draft.json()["data"], json!({"text": "I was"}));
    save(&house, PATH, json!("more")).await;
    assert_eq!(lifetime(&redis).await, -1);
    let long = json!({"data": "x".repeat(128 << 10)});
    let refused = house.ask_with(Method::PUT, PATH, &[], long).await;
    let field = refused.problem(StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(field.as_deref(), Some("data"));
}

#[tokio::test]
async fn a_draft_that_redis_has_is_shown_without_the_database() {
    let redis = Redis::ephemeral().unwrap();
    let mut postgres = Postgres::ephemeral().unwrap();
    let house = gathering(&redis, &postgres.url()).await;
    postgres.halt();
    save(&house, PATH, json!("mine")).await;
    assert_eq!(shown(&house, PATH).await, Some(json!("mine")));
}

#[tokio::test]
async fn a_draft_that_was_saved_for_good_does_not_come_back() {
    let redis = Redis::ephemeral().unwrap();
    let url = database().await;
    let house = gathering(&redis, &url).await;
    house.get(FINAL).await.problem(StatusCode::NOT_FOUND);
    let old = save(&house, PATH, json!("draft")).await;
    let old = old.trim_matches('"');
    let ended = finish(&house, &[], "done").await.expect(StatusCode::OK);
    assert!(ended.json()["revision"].to_string().as_str() > old);
    assert_eq!(shown(&house, PATH).await, None);
    let finished = house.get(FINAL).await.expect(StatusCode::OK);
    assert_eq!(finished.header("cache-control"), "no-store");
    assert_eq!(finished.json()["data"], json!("done"));
    assert_eq!(finished.json()["revision"], ended.json()["revision"]);
    assert_eq!(house.number("SELECT count(*) FROM documents").await, 0);
    // Redis could not be told.
    let mut late = redis::cmd("HSET");
    let end = ended.json()["revision"].to_string();
    let late = late
        .arg(JOURNAL)
        .arg("revision")
        .arg(old)
        .arg("last")
        .arg(end);
    let late = late.arg("is_new").arg(1);
    told(&redis, late.arg("data").arg("\"draft\"")).await;
    let member = "7:journal";
    told(&redis, redis::cmd("ZADD").arg(DIRTY).arg(old).arg(member)).await;
    assert_eq!(shown(&house, PATH).await, None);
    let worker = writing(&redis, &url).await;
    are_written(&redis).await;
    assert_eq!(shown(&worker, PATH).await, None);
    // A new draft of the name is another matter.
    save(&house, PATH, json!("anew")).await;
    assert_eq!(shown(&house, PATH).await, Some(json!("anew")));
    are_written(&redis).await;
    told(&redis, redis::cmd("DEL").arg(JOURNAL)).await;
    assert_eq!(shown(&house, PATH).await, Some(json!("anew")));
}

#[tokio::test]
async fn saving_for_good_ends_nothing_that_the_client_has_not_seen() {
    let redis = Redis::ephemeral().unwrap();
    let house = gathering(&redis, &database().await).await;
    let seen = save(&house, PATH, json!("one")).await;
    let newer = save(&house, PATH, json!("two")).await;
    for demand in [
        ("if-match", seen.as_str()),
        ("if-match", "\"1\""),
        ("if-none-match", "*"),
    ] {
        finish(&house, &[demand], "one")
            .await
            .problem(StatusCode::PRECONDITION_FAILED);
    }
    assert_eq!(shown(&house, PATH).await, Some(json!("two")));
    house.get(FINAL).await.problem(StatusCode::NOT_FOUND);

    let attempt = [("if-match", newer.as_str()), ("idempotency-key", "k")];
    let first = finish(&house, &attempt, "two").await.expect(StatusCode::OK);
    // The answer was lost, and the user went on.
    save(&house, PATH, json!("three")).await;
    let again = finish(&house, &attempt, "two").await.expect(StatusCode::OK);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.bytes, first.bytes);
    assert_eq!(shown(&house, PATH).await, Some(json!("three")));
    finish(&house, &[("if-match", newer.as_str())], "two")
        .await
        .problem(StatusCode::PRECONDITION_FAILED);
    assert_eq!(shown(&house, PATH).await, Some(json!("three")));
    let latest = save(&house, PATH, json!("four")).await;
    finish(&house, &[("if-match", latest.as_str())], "four")
        .await
        .expect(StatusCode::OK);
    assert_eq!(shown(&house, PATH).await, None);
    assert_eq!(shown(&house, FINAL).await, Some(json!("four")));
    // There is none now.
    finish(&house, &[("if-match", latest.as_str())], "five")
        .await
        .problem(StatusCode::PRECONDITION_FAILED);
    finish(&house, &[("if-none-match", "*")], "six")
        .await
        .expect(StatusCode::OK);
}

#[tokio::test]
async fn a_save_is_newer_than_what_the_table_has_although_redis_has_lost_count() {
    let redis = Redis::ephemeral().unwrap();
    let url = database().await;
    let house = gathering(&redis, &url).await;
    house
        .sql("INSERT INTO drafts VALUES (7, 'journal', 9000000000000000, '\"old\"')")
        .await;
    save(&house, PATH, json!("new")).await;
    let worker = writing(&redis, &url).await;
    are_written(&redis).await;
    assert_eq!(shown(&worker, PATH).await, Some(json!("new")));
    told(&redis, redis::cmd("DEL").arg(JOURNAL)).await;
    assert_eq!(shown(&worker, PATH).await, Some(json!("new")));
}

#[tokio::test]
async fn a_draft_that_fails_is_gone_past_by_those_behind_it() {
    let redis = Redis::ephemeral().unwrap();
    let url = database().await;
    let house = gathering(&redis, &url).await;
    house
        .sql(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN RAISE EXCEPTION 'too slow' USING ERRCODE = 'query_canceled'; END $$;
             CREATE TRIGGER slow BEFORE INSERT ON drafts FOR EACH ROW WHEN (new.name = 'slow')
                 EXECUTE FUNCTION slow();",
        )
        .await;
    save(&house, "/drafts/1/slow", json!("s")).await;
    for user in 0..40 {
        save(&house, &format!("/drafts/{user}/quick"), json!(user)).await;
    }
    let _worker = writing(&redis, &url).await;
    patiently("the others are in the table", || async {
        house.number("SELECT count(*) FROM drafts").await == 40
    })
    .await;
    assert_eq!(shown(&house, "/drafts/1/slow").await, Some(json!("s")));
    house.sql("DROP TRIGGER slow ON drafts").await;
    are_written(&redis).await;
    assert_eq!(house.number("SELECT count(*) FROM drafts").await, 41);
}

#[tokio::test]
async fn of_two_who_save_for_good_what_both_have_seen_one_does() {
    let redis = Redis::ephemeral().unwrap();
    let house = gathering(&redis, &database().await).await;
    for _ in 0..8 {
        let seen = save(&house, PATH, json!("one")).await;
        let demand = [("if-match", seen.as_str())];
        let (one, other) = tokio::join!(finish(&house, &demand, "a"), finish(&house, &demand, "b"));
        let mut statuses = [one.status.as_u16(), other.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412]);
        let won = if one.status.is_success() { "a" } else { "b" };
        let kept = house.get(FINAL).await.expect(StatusCode::OK);
        assert_eq!(kept.json()["data"], json!(won));
    }
}
