//! Passwords open sessions, which are used for a day and end when the user is no longer what they say.

use std::{sync::Arc, time::Duration};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tidegate_origin::{Clock, Config, access::Role};
use tidegate_services::Redis;

use crate::support::{ADMIN, Answer, Guest, House, activity, config, database, patiently, told};

const PASSWORD: &str = "high water at noon";

fn person(name: &str) -> Value {
    json!({"email": format!("{name}@example.org"), "username": name, "full_name": name, "password": PASSWORD})
}

/// An origin before Redis, with a user who has a password.
async fn open(redis: &Redis) -> (House, i64) {
    let house = House::with_activity(activity(redis)).await;
    let made = house.anonymous().post("/users", person("ada")).await;
    let id = made.expect(StatusCode::CREATED).json()["id"].as_i64();
    (house, id.unwrap())
}

async fn log_in(house: &House, password: &str) -> Answer {
    let body = json!({"username": "ada", "password": password, "data": {"theme": "sea"}});
    house.anonymous().post("/session", body).await
}

/// The house as it is seen by who has just logged in.
async fn logged_in<'a>(house: &'a House, password: &str) -> Guest<'a> {
    let begun = log_in(house, password).await.expect(StatusCode::CREATED);
    let token = begun.json()["token"].as_str().unwrap().to_owned();
    house.showing(format!("Bearer {token}"))
}

async fn keys(redis: &Redis, pattern: &str) -> Vec<String> {
    let keys = told(redis, redis::cmd("KEYS").arg(pattern)).await;
    redis::from_redis_value(keys).unwrap()
}

async fn lifetime(redis: &Redis, key: &str) -> u64 {
    redis::from_redis_value(told(redis, redis::cmd("TTL").arg(key)).await).unwrap()
}

#[tokio::test]
async fn a_session_lives_for_a_day_after_its_last_use_and_its_token_is_not_in_redis() {
    let redis = Redis::ephemeral().unwrap();
    let (house, ada) = open(&redis).await;
    let begun = log_in(&house, PASSWORD).await;
    assert_eq!(begun.header("cache-control"), "no-store");
    let begun = begun.expect(StatusCode::CREATED).json();
    assert_eq!(
        (&begun["expires_in"], &begun["user_id"]),
        (&json!(86_400), &json!(ada))
    );
    let token = begun["token"].as_str().unwrap();
    assert_eq!(token.len(), 64);
    let session = keys(&redis, "tidegate-origin:session:*").await.remove(0);
    let stamp = format!("tidegate-origin:sessions-of:{ada}");
    assert!(!session.contains(token));
    for key in [&session, &stamp] {
        told(&redis, redis::cmd("EXPIRE").arg(key).arg(1_000)).await;
    }

    let guest = house.showing(format!("Bearer {token}"));
    let shown = guest.get("/session").await.expect(StatusCode::OK);
    assert_eq!(shown.header("cache-control"), "no-store");
    let shown = shown.json();
    let expected =
        json!({"user_id": ada, "role": "student", "data": {"theme": "sea"}, "jwt": shown["jwt"]});
    assert_eq!(shown, expected);
    for key in [&session, &stamp] {
        let lives = lifetime(&redis, key).await;
        assert!((80_000..=86_400).contains(&lives), "{key}: {lives}");
    }
    // It says who asks.
    let own = guest.get(&format!("/users/{ada}")).await;
    own.expect(StatusCode::OK);
    for wrong in ["Bearer x", "Basic x", "x"] {
        let refused = house.showing(wrong.to_owned());
        let refused = refused.get("/session").await;
        assert_eq!(
            refused.header("www-authenticate"),
            "Bearer error=\"invalid_token\""
        );
        refused.problem(StatusCode::UNAUTHORIZED);
    }
    house
        .anonymous()
        .get("/session")
        .await
        .problem(StatusCode::UNAUTHORIZED);
    for status in [StatusCode::NO_CONTENT, StatusCode::UNAUTHORIZED] {
        let ended = guest.ask(Method::DELETE, "/session", Value::Null).await;
        ended.expect(status);
        guest
            .get("/session")
            .await
            .problem(StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_session_is_good_for_tokens_that_say_the_same_for_a_quarter_of_an_hour() {
    let redis = Redis::ephemeral().unwrap();
    let clock = Clock::manual();
    let config = Config {
        activity: activity(&redis),
        ..config(database().await)
    };
    let house = House::by(&clock, config).await;
    let made = house.anonymous().post("/users", person("ada")).await;
    let path = made
        .expect(StatusCode::CREATED)
        .header("location")
        .to_owned();
    let begun = log_in(&house, PASSWORD)
        .await
        .expect(StatusCode::CREATED)
        .json();
    let shown = |token: &Value| house.showing(format!("Bearer {}", token.as_str().unwrap()));
    let old = shown(&begun["jwt"]);
    old.get(&path).await.expect(StatusCode::OK);
    old.get("/stats").await.problem(StatusCode::FORBIDDEN);
    clock.advance(Duration::from_secs(15 * 60 + 10));
    old.get(&path).await.problem(StatusCode::UNAUTHORIZED);
    let session = shown(&begun["token"]).get("/session").await;
    let new = session.expect(StatusCode::OK).json()["jwt"].clone();
    shown(&new).get(&path).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn nobody_learns_who_is_known_here() {
    let redis = Redis::ephemeral().unwrap();
    let (house, _) = open(&redis).await;
    house.user("ben").await;
    let right = json!({"email": "ada@example.org", "password": PASSWORD});
    let begun = house.anonymous().post("/session", right).await;
    begun.expect(StatusCode::CREATED);
    let mut answers = Vec::new();
    for wrong in [
        json!({"username": "ada", "password": "low water at noon"}),
        json!({"username": "Ada", "password": PASSWORD}),
        json!({"email": "ada", "password": PASSWORD}),
        // Who has no password.
        json!({"username": "ben", "password": PASSWORD}),
        json!({"username": "nobody", "password": PASSWORD}),
        json!({"username": "ada' OR 1=1 --", "password": PASSWORD}),
    ] {
        let refused = house.anonymous().post("/session", wrong).await;
        answers.push(refused.bytes.clone());
        refused.problem(StatusCode::UNAUTHORIZED);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
    for (body, field) in [
        (json!({"username": "ada"}), "password"),
        (json!({"username": "ada", "password": "short"}), "password"),
        (
            json!({"username": "ada", "password": "x".repeat(129)}),
            "password",
        ),
        (json!({"password": PASSWORD}), "email"),
        (
            json!({"email": "a@b.c", "username": "ada", "password": PASSWORD}),
            "email",
        ),
        (
            json!({"username": "ada", "password": PASSWORD, "data": "x".repeat(10_000)}),
            "data",
        ),
        (json!({"user_id": 1, "password": PASSWORD}), "email"),
    ] {
        let refused = house.anonymous().post("/session", body).await;
        let named = refused.problem(StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(named.as_deref(), Some(field));
    }
}

#[tokio::test]
async fn sessions_end_when_the_user_is_no_longer_what_they_say() {
    let redis = Redis::ephemeral().unwrap();
    let (house, ada) = open(&redis).await;
    let path = format!("/users/{ada}");
    let guests = [
        logged_in(&house, PASSWORD).await,
        logged_in(&house, PASSWORD).await,
    ];
    // What changes nothing of it ends none.
    for change in [json!({"full_name": "Ada Park"}), json!({"role": "student"})] {
        house.patch(&path, change).await.expect(StatusCode::OK);
        guests[0].get("/session").await.expect(StatusCode::OK);
    }
    house
        .patch(&path, json!({"role": "instructor"}))
        .await
        .expect(StatusCode::OK);
    for guest in &guests {
        guest
            .get("/session")
            .await
            .problem(StatusCode::UNAUTHORIZED);
        guest.get(&path).await.problem(StatusCode::UNAUTHORIZED);
    }
    let guest = logged_in(&house, PASSWORD).await;
    let shown = guest.get("/session").await.expect(StatusCode::OK);
    assert_eq!(shown.json()["role"], "instructor");

    let secret = format!("{path}/password");
    let change = json!({"current_password": PASSWORD, "password": "low water at six"});
    let changed = guest.ask(Method::PUT, &secret, change).await;
    changed.expect(StatusCode::NO_CONTENT);
    guest
        .get("/session")
        .await
        .problem(StatusCode::UNAUTHORIZED);
    log_in(&house, PASSWORD)
        .await
        .problem(StatusCode::UNAUTHORIZED);
    let guest = logged_in(&house, "low water at six").await;

    house.delete(&path).await.expect(StatusCode::NO_CONTENT);
    guest
        .get("/session")
        .await
        .problem(StatusCode::UNAUTHORIZED);
    let again = log_in(&house, "low water at six").await;
    again.problem(StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn no_session_is_begun_by_a_password_that_is_changed_meanwhile() {
    let redis = Redis::ephemeral().unwrap();
    let (house, _) = open(&redis).await;
    let house = Arc::new(house);
    let mut change = house.pool.begin().await.unwrap();
    sqlx::query("UPDATE users SET password_hash = NULL")
        .execute(&mut *change)
        .await
        .unwrap();
    let begins = tokio::spawn({
        let house = house.clone();
        async move { log_in(&house, PASSWORD).await }
    });
    // It has found the password right by now.
    patiently("it waits for the row", || async {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
            AND application_name = 'tidegate-origin' AND wait_event_type = 'Lock'";
        house.number(waiting).await == 1
    })
    .await;
    change.commit().await.unwrap();
    begins.await.unwrap().problem(StatusCode::UNAUTHORIZED);
    assert!(keys(&redis, "tidegate-origin:session*").await.is_empty());
}

#[tokio::test]
async fn a_password_is_changed_by_who_knows_it() {
    let redis = Redis::ephemeral().unwrap();
    let (house, ada) = open(&redis).await;
    let ben = house.user("ben").await;
    let path = |user| format!("/users/{user}/password");
    let new = "low water at six";
    let own = house.as_user(ada, Role::Student);
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    for (body, field) in [
        (json!({"password": new}), "current_password"),
        (
            json!({"current_password": new, "password": new}),
            "current_password",
        ),
        (
            json!({"current_password": "x".repeat(1_000), "password": new}),
            "current_password",
        ),
        (
            json!({"current_password": PASSWORD, "password": "short"}),
            "password",
        ),
        (json!({"current_password": PASSWORD}), "password"),
    ] {
        let refused = own.ask(Method::PUT, &path(ada), body).await;
        assert_eq!(refused.problem(unprocessable).as_deref(), Some(field));
    }
    let change = json!({"current_password": PASSWORD, "password": new});
    let forbidden = own.ask(Method::PUT, &path(ben), change.clone()).await;
    forbidden.problem(StatusCode::FORBIDDEN);
    let anonymous = house.anonymous();
    let anonymous = anonymous.ask(Method::PUT, &path(ada), change.clone()).await;
    anonymous.problem(StatusCode::UNAUTHORIZED);
    log_in(&house, PASSWORD).await.expect(StatusCode::CREATED);

    // Who has none is given one by an admin, who need not know what there was, but for their own.
    let admin = house.as_user(ADMIN, Role::Admin);
    let given = json!({"password": new});
    for (user, status) in [
        (ben, StatusCode::NO_CONTENT),
        (ada, StatusCode::NO_CONTENT),
        (99, StatusCode::NOT_FOUND),
    ] {
        let set = admin.ask(Method::PUT, &path(user), given.clone()).await;
        set.expect(status);
    }
    let admin = house.as_user(ada, Role::Admin);
    let refused = admin.ask(Method::PUT, &path(ada), given).await;
    refused.problem(unprocessable);
    log_in(&house, new).await.expect(StatusCode::CREATED);
}

#[tokio::test]
async fn no_answer_and_no_row_but_one_has_a_password_or_its_hash() {
    let redis = Redis::ephemeral().unwrap();
    let (house, ada) = open(&redis).await;
    let key = [("idempotency-key", "k")];
    let anonymous = house.anonymous();
    let made = anonymous
        .ask_with(Method::POST, "/users", &key, person("cleo"))
        .await;
    let made = made.expect(StatusCode::CREATED);
    let again = anonymous
        .ask_with(Method::POST, "/users", &key, person("cleo"))
        .await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    let other = anonymous
        .ask_with(Method::POST, "/users", &key, json!({"password": 1}))
        .await;
    let shown = house.get(&format!("/users/{ada}")).await;
    let changed = house
        .patch(&format!("/users/{ada}"), json!({"full_name": "A"}))
        .await;
    let session = log_in(&house, PASSWORD).await;
    for answer in [made, again, other, shown, changed, session] {
        let text = String::from_utf8(answer.bytes.to_vec()).unwrap();
        for secret in ["argon2", "password_hash", PASSWORD] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    let hashes: Vec<String> = sqlx::query_scalar("SELECT password_hash FROM users")
        .fetch_all(&house.pool)
        .await
        .unwrap();
    assert_eq!(hashes.len(), 2);
    assert_ne!(hashes[0], hashes[1]);
    for hash in hashes {
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
    }
    // What is kept for repeats is keyed: who reads the table cannot try passwords on it.
    let body = person("cleo").to_string();
    let mut plain = blake3::Hasher::new();
    plain.update(b"POST\n/users\n").update(body.as_bytes());
    let kept: Vec<u8> = sqlx::query_scalar("SELECT request FROM idempotency_keys")
        .fetch_one(&house.pool)
        .await
        .unwrap();
    assert_ne!(kept, plain.finalize().as_bytes());
}

#[tokio::test]
async fn without_redis_sessions_rest_and_other_tokens_do_not() {
    let mut redis = Redis::ephemeral().unwrap();
    let (house, ada) = open(&redis).await;
    let path = format!("/users/{ada}");
    let guest = logged_in(&house, PASSWORD).await;
    redis.kill();
    for answer in [
        guest.get(&path).await,
        guest.get("/session").await,
        log_in(&house, PASSWORD).await,
        // Whose sessions would stay.
        house.patch(&path, json!({"role": "admin"})).await,
        house.delete(&path).await,
    ] {
        assert!(answer.header("retry-after").parse::<u32>().is_ok());
        answer.problem(StatusCode::SERVICE_UNAVAILABLE);
    }
    let shown = house.as_user(ada, Role::Student).get(&path).await;
    assert_eq!(shown.expect(StatusCode::OK).json()["role"], "student");
    guest.get("/courses").await.expect(StatusCode::OK);

    let house = House::told(config(database().await)).await;
    let ada = house.user("ada").await;
    log_in(&house, PASSWORD)
        .await
        .problem(StatusCode::SERVICE_UNAVAILABLE);
    let removed = house.delete(&format!("/users/{ada}")).await;
    removed.expect(StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn of_a_user_who_is_removed_what_is_theirs_goes_too() {
    let redis = Redis::ephemeral().unwrap();
    let house = House::told(Config {
        activity: tidegate_origin::Activity {
            events_workers: 0,
            ..activity(&redis)
        },
        ..config(database().await)
    })
    .await;
    let made = house.anonymous();
    let key = [("idempotency-key", "k")];
    let made = made
        .ask_with(Method::POST, "/users", &key, person("ada"))
        .await;
    let ada = made.expect(StatusCode::CREATED).json()["id"]
        .as_i64()
        .unwrap();
    let other = house.user("ben").await;
    for user in [ada, other] {
        let guest = house.as_user(user, Role::Student);
        for path in ["waiting", "done"] {
            let path = format!("/drafts/{user}/{path}");
            let saved = guest
                .ask(Method::PUT, &path, json!({"data": "secret"}))
                .await;
            saved.expect(StatusCode::OK);
        }
        let done = format!("/drafts/{user}/done/final");
        guest
            .post(&done, json!({"data": "secret"}))
            .await
            .expect(StatusCode::OK);
        let payment = json!({"user_id": user, "amount": "1.00", "transaction_type": "fee"});
        let paid = guest.ask_with(Method::POST, "/write/transaction", &key, payment);
        paid.await.expect(StatusCode::OK);
    }
    house
        .sql("INSERT INTO search_logs (user_id, query, search_type) SELECT id, 'q', 'click' FROM users;
              INSERT INTO drafts (user_id, name, revision, data) SELECT id, 'written', 1, '1' FROM users")
        .await;
    house
        .delete(&format!("/users/{ada}"))
        .await
        .expect(StatusCode::NO_CONTENT);
    for (rows, left) in [
        ("SELECT count(*) FROM drafts WHERE data IS NOT NULL", 1),
        ("SELECT count(*) FROM finished_drafts", 1),
        ("SELECT count(*) FROM idempotency_keys", 1),
        (
            "SELECT count(*) FROM search_logs WHERE user_id IS NOT NULL",
            1,
        ),
        // A ledger outlives the users in it.
        ("SELECT count(*) FROM transactions", 2),
    ] {
        assert_eq!(house.number(rows).await, left, "{rows}");
    }
    let mut drafts = keys(&redis, "{tidegate-origin:drafts}:of:*").await;
    drafts.sort();
    // Of what has ended the last revision is remembered.
    let left =
        ["done", "waiting"].map(|name| format!("{{tidegate-origin:drafts}}:of:{other}:{name}"));
    assert_eq!(drafts, left);
    let dirty = redis::cmd("ZRANGE")
        .arg("{tidegate-origin:drafts}:dirty")
        .arg(0)
        .arg(-1)
        .clone();
    let dirty: Vec<String> =
        redis::from_redis_value(told(&redis, &mut dirty.clone()).await).unwrap();
    assert_eq!(dirty, [format!("{other}:waiting")]);
}
