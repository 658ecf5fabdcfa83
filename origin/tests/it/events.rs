//! Events: at least once in, exactly once in the table, and never dropped in silence.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};
use tidegate_origin::Activity;
use tidegate_services::{Postgres, Redis};
use uuid::Uuid;

use crate::support::{House, activity, config, database, gathering, patiently, told, writing};

const STREAM: &str = "{tidegate-origin:events}";
const DEAD: &str = "{tidegate-origin:events}:dead";

/// Waits until so many events are in the table.
async fn rows(house: &House, count: i64) {
    patiently(&format!("{count} events are in the table"), || async {
        let rows: Result<i64, _> = sqlx::query_scalar("SELECT count(*) FROM events")
            .fetch_one(&house.pool)
            .await;
        rows.unwrap() == count
    })
    .await;
}

#[tokio::test]
async fn an_event_that_is_sent_again_is_in_the_table_once() {
    let redis = Redis::ephemeral().unwrap();
    let house = House::with_activity(activity(&redis)).await;
    let id = Uuid::now_v7();
    let event = json!({
        "id": id, "user_id": 7, "event_type": "course_view", "event_data": {"course_id": 3},
        "metadata": {"ip_address": "192.0.2.1", "user_agent": "a browser", "referrer": "https://example.org/"},
    });
    for _ in 0..2 {
        let answer = house
            .post("/events", event.clone())
            .await
            .expect(StatusCode::ACCEPTED);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("tidegate-lsn"), "");
        assert_eq!(answer.json(), json!({"accepted": 1, "ids": [id]}));
    }
    // The same id is the same event, whatever else is said of it.
    let other = json!({"id": id, "user_id": 8, "event_type": "other"});
    let fresh = json!({"user_id": 7, "event_type": "user_registered"});
    let answer = house.post("/events", json!([other, fresh])).await;
    let ids = answer.expect(StatusCode::ACCEPTED).json()["ids"].clone();
    assert_eq!(ids[0], json!(id));
    let made: Uuid = ids[1].as_str().unwrap().parse().unwrap();
    assert_eq!(made.get_version_num(), 7);
    patiently("all four are done with", || async {
        let inserted = house.metric("tidegate_events_inserted_total").await;
        let repeated = house.metric("tidegate_events_repeated_total").await;
        inserted == Some(2.0) && repeated == Some(2.0)
    })
    .await;
    rows(&house, 2).await;
    let shown = house
        .get("/events?event_type=course_view")
        .await
        .expect(StatusCode::OK)
        .json()["events"]
        .clone();
    assert_eq!(shown[0]["id"], json!(id));
    for member in ["user_id", "event_type", "event_data", "metadata"] {
        assert_eq!(shown[0][member], event[member]);
    }
    patiently("nothing waits any more", || async {
        house.metric("tidegate_events_stream_length").await == Some(0.0)
            && house.metric("tidegate_events_pending").await == Some(0.0)
    })
    .await;
}

#[tokio::test]
async fn an_event_that_could_not_be_kept_is_refused_with_its_place() {
    let redis = Redis::ephemeral().unwrap();
    let house = House::with_activity(activity(&redis)).await;
    let good = json!({"user_id": 1, "event_type": "a"});
    let with = |name: &str, value: Value| {
        let mut event = good.clone();
        event[name] = value;
        event
    };
    let id_of = |year: i64| {
        Uuid::from_u128((((year - 1970) * 31_556_952_000) as u128) << 80 | 7 << 76 | 2 << 62)
    };
    for (event, field) in [
        (with("event_type", json!("")), Some("[0].event_type")),
        (
            with("event_data", json!({"a": ["b\0"]})),
            Some("[0].event_data"),
        ),
        (
            with("event_data", json!({"b\0": 1})),
            Some("[0].event_data"),
        ),
        (
            with("event_data", json!("a".repeat(64 << 10))),
            Some("[0].event_data"),
        ),
        (
            with("id", json!(Uuid::from_u128(4 << 76 | 2 << 62))),
            Some("[0].id"),
        ),
        (with("id", json!(id_of(2001))), Some("[0].id")),
        (with("id", json!(id_of(9000))), Some("[0].id")),
        (
            with("timestamp", json!("2001-01-01T00:00:00Z")),
            Some("[0].timestamp"),
        ),
        (
            with("metadata", json!({"user_agent": "x".repeat(1_001)})),
            Some("[0].metadata.user_agent"),
        ),
        (
            with("metadata", json!({"ip_address": "here"})),
            Some("metadata.ip_address"),
        ),
        (with("user_id", json!("one")), Some("user_id")),
        (json!({"user_id": 1}), Some("event_type")),
        (json!([]), None),
        (
            json!([good, with("event_type", json!("x".repeat(101)))]),
            Some("[1].event_type"),
        ),
        (Value::Array(vec![good.clone(); 1_001]), None),
    ] {
        let answer = house.post("/events", event.clone()).await;
        let named = answer.problem(StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(named.as_deref(), field, "{event}");
    }
    let apart = json!({"id": Uuid::now_v7(), "user_id": 1, "event_type": "a", "timestamp": "2001-01-01T00:00:00Z"});
    let named = house
        .post("/events", apart)
        .await
        .problem(StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(named.as_deref(), Some("[0].timestamp"));
    // Of a request that is refused nothing is kept.
    assert_eq!(
        house.metric("tidegate_events_accepted_total").await,
        Some(0.0)
    );
    assert_eq!(
        house.metric("tidegate_events_stream_length").await,
        Some(0.0)
    );
}

#[tokio::test]
async fn past_its_length_the_stream_takes_nothing_and_says_so() {
    let redis = Redis::ephemeral().unwrap();
    let house = House::with_activity(Activity {
        events_limit: 3,
        events_workers: 0,
        ..activity(&redis)
    })
    .await;
    let event = json!({"user_id": 1, "event_type": "a"});
    let two = json!([event, event]);
    house
        .post("/events", two.clone())
        .await
        .expect(StatusCode::ACCEPTED);
    let full = house.post("/events", two).await;
    assert!(full.header("retry-after").parse::<u32>().is_ok());
    full.problem(StatusCode::SERVICE_UNAVAILABLE);
    // All or nothing: none of the two is there.
    assert_eq!(
        house.metric("tidegate_events_stream_length").await,
        Some(2.0)
    );
    house
        .post("/events", event.clone())
        .await
        .expect(StatusCode::ACCEPTED);
    house
        .post("/events", event)
        .await
        .problem(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        house.metric("tidegate_events_accepted_total").await,
        Some(3.0)
    );
    assert_eq!(
        house.metric("tidegate_events_refused_total").await,
        Some(3.0)
    );
    assert!(
        house
            .metric("tidegate_events_oldest_seconds")
            .await
            .unwrap()
            >= 0.0
    );
}

#[tokio::test]
async fn past_its_memory_the_stream_takes_nothing_either() {
    let redis = Redis::ephemeral().unwrap();
    let house = House::with_activity(Activity {
        events_memory: 100,
        events_workers: 0,
        ..activity(&redis)
    })
    .await;
    let event = json!({"user_id": 1, "event_type": "a"});
    house
        .post("/events", event.clone())
        .await
        .expect(StatusCode::ACCEPTED);
    let full = house.post("/events", event).await;
    full.problem(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        house.metric("tidegate_events_stream_length").await,
        Some(1.0)
    );
}

#[tokio::test]
async fn without_redis_events_are_refused_and_all_else_goes_on() {
    let event = json!({"user_id": 1, "event_type": "a"});
    let house = House::open().await;
    let answer = house.post("/events", event.clone()).await;
    assert!(answer.header("retry-after").parse::<u32>().is_ok());
    assert!(
        answer.json()["detail"]
            .as_str()
            .unwrap()
            .contains("REDIS_URL")
    );
    answer.problem(StatusCode::SERVICE_UNAVAILABLE);

    let mut redis = Redis::ephemeral().unwrap();
    let house = House::with_activity(Activity {
        redis_deadline: Duration::from_millis(100),
        ..activity(&redis)
    })
    .await;
    redis.pause();
    house
        .post("/events", event.clone())
        .await
        .problem(StatusCode::SERVICE_UNAVAILABLE);
    house.get("/courses").await.expect(StatusCode::OK);
    redis.resume();
    redis.kill();
    house
        .post("/events", event.clone())
        .await
        .problem(StatusCode::SERVICE_UNAVAILABLE);
    house.get("/courses").await.expect(StatusCode::OK);
    redis.restart().unwrap();
    patiently("events are accepted again", || async {
        let answer = house.post("/events", event.clone()).await;
        answer.status == StatusCode::ACCEPTED
    })
    .await;
}

#[tokio::test]
async fn without_the_database_events_are_accepted() {
    let mut postgres = Postgres::ephemeral().unwrap();
    let redis = Redis::ephemeral().unwrap();
    let house = House::told(tidegate_origin::Config {
        activity: activity(&redis),
        ..config(postgres.url())
    })
    .await;
    postgres.halt();
    let ids: Vec<_> = (0..3).map(|_| Uuid::now_v7()).collect();
    for id in &ids {
        let event = json!({"id": id, "user_id": 1, "event_type": "a"});
        house
            .post("/events", event)
            .await
            .expect(StatusCode::ACCEPTED);
    }
    assert_eq!(
        house.metric("tidegate_events_stream_length").await,
        Some(3.0)
    );
    postgres.restart().unwrap();
    patiently("they are inserted when it is back", || async {
        house.metric("tidegate_events_inserted_total").await == Some(3.0)
    })
    .await;
    rows(&house, 3).await;
    assert_eq!(house.metric("tidegate_events_dead_total").await, Some(0.0));
}

#[tokio::test]
async fn a_poisoned_event_becomes_a_dead_letter_and_its_batch_is_inserted() {
    let redis = Redis::ephemeral().unwrap();
    let settings = Activity {
        events_tries: 2,
        ..activity(&redis)
    };
    let accepting = Activity {
        events_workers: 0,
        ..settings.clone()
    };
    let url = database().await;
    let house = House::told(tidegate_origin::Config {
        activity: accepting,
        ..config(url.clone())
    })
    .await;
    let good = || json!({"id": Uuid::now_v7(), "user_id": 1, "event_type": "a"});
    let batch = |count| Value::Array((0..count).map(|_| good()).collect());
    house
        .post("/events", batch(5))
        .await
        .expect(StatusCode::ACCEPTED);
    // A number that JSON can say and the database cannot hold, an entry of another kind, and one that is no JSON.
    let id = Uuid::now_v7();
    let huge = format!(
        r#"{{"id":"{id}","user_id":1,"event_type":"a","event_data":1e999999,"timestamp":"2026-01-01T00:00:00Z"}}"#
    );
    for (field, value) in [
        ("event", huge.as_str()),
        ("else", "x"),
        ("event", "no json"),
    ] {
        told(
            &redis,
            redis::cmd("XADD")
                .arg(STREAM)
                .arg("*")
                .arg(field)
                .arg(value),
        )
        .await;
    }
    house
        .post("/events", batch(6))
        .await
        .expect(StatusCode::ACCEPTED);
    // All of it has been with readers that were killed, more often than it may fail.
    let mut group = redis::cmd("XGROUP");
    group.arg("CREATE").arg(STREAM).arg("table").arg("0");
    told(&redis, &mut group).await;
    let mut read = redis::cmd("XREADGROUP");
    read.arg("GROUP").arg("table").arg("a reader that crashed");
    let read = told(&redis, read.arg("STREAMS").arg(STREAM).arg(">")).await;
    let read: redis::streams::StreamReadReply = redis::from_redis_value(read).unwrap();
    let mut claim = redis::cmd("XCLAIM");
    claim.arg(STREAM).arg("table").arg("another").arg(0);
    for entry in &read.keys[0].ids {
        claim.arg(&entry.id);
    }
    told(&redis, claim.arg("RETRYCOUNT").arg(9)).await;

    let worker = House::told(tidegate_origin::Config {
        activity: settings,
        ..config(url)
    })
    .await;
    rows(&house, 11).await;
    patiently("three are dead letters", || async {
        worker.metric("tidegate_events_dead_total").await == Some(3.0)
    })
    .await;
    assert_eq!(
        house.metric("tidegate_events_dead_letters").await,
        Some(3.0)
    );
    assert_eq!(
        house.metric("tidegate_events_stream_length").await,
        Some(0.0)
    );
    let letters = told(&redis, redis::cmd("XRANGE").arg(DEAD).arg("-").arg("+")).await;
    let letters: Vec<redis::streams::StreamId> =
        redis::from_redis_value::<redis::streams::StreamRangeReply>(letters)
            .unwrap()
            .ids;
    let letter = letters
        .iter()
        .find(|letter| {
            letter
                .get::<String>("event")
                .is_some_and(|event| event == huge)
        })
        .unwrap();
    assert_eq!(letter.get::<i64>("tries"), Some(2));
    assert!(!letter.get::<String>("error").unwrap().is_empty());
    rows(&house, 11).await;
}

#[tokio::test]
async fn what_a_reader_has_taken_and_left_is_inserted_by_another() {
    let redis = Redis::ephemeral().unwrap();
    let url = database().await;
    let house = House::told(tidegate_origin::Config {
        activity: Activity {
            events_workers: 0,
            ..activity(&redis)
        },
        ..config(url.clone())
    })
    .await;
    let event = json!({"user_id": 1, "event_type": "a"});
    house
        .post("/events", json!([event, event]))
        .await
        .expect(StatusCode::ACCEPTED);
    let mut group = redis::cmd("XGROUP");
    told(
        &redis,
        group.arg("CREATE").arg(STREAM).arg("table").arg("0"),
    )
    .await;
    let mut read = redis::cmd("XREADGROUP");
    read.arg("GROUP").arg("table").arg("a reader that crashed");
    told(&redis, read.arg("STREAMS").arg(STREAM).arg(">")).await;
    assert_eq!(house.metric("tidegate_events_pending").await, Some(2.0));
    let _worker = House::told(tidegate_origin::Config {
        activity: activity(&redis),
        ..config(url)
    })
    .await;
    rows(&house, 2).await;
}

#[tokio::test]
async fn days_are_made_ahead_when_they_are_missing_and_dropped_when_they_are_over() {
    let redis = Redis::ephemeral().unwrap();
    let url = database().await;
    let house = House::before(url.clone()).await;
    house
        .sql(
            "SELECT tidegate_make_event_days('2020-01-01Z', '2020-01-03Z');
             INSERT INTO events VALUES (tidegate_event_floor('2020-01-02Z'), 1, 'a', '{}', NULL, NULL, NULL, '2020-01-02Z');
             SELECT tidegate_drop_event_days('2020-01-03Z');
             DO $$ BEGIN
                 ASSERT (SELECT count(*) FROM events) = 0;
                 ASSERT to_regclass('events_20200102') IS NULL;
                 ASSERT to_regclass('events_20200103') IS NOT NULL;
                 ASSERT (SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass) >= 9;
             END $$;",
        )
        .await;
    let worker = House::told(tidegate_origin::Config {
        activity: activity(&redis),
        ..config(url)
    })
    .await;
    let days = || async {
        let days: Vec<String> = sqlx::query_scalar(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'events'::regclass",
        )
        .fetch_all(&house.pool)
        .await
        .unwrap();
        days
    };
    patiently("the old day is dropped", || async {
        !days().await.contains(&"events_20200103".to_owned())
    })
    .await;
    // As if nobody had made partitions for long.
    house
        .sql("SELECT tidegate_drop_event_days(now() + interval '30 days')")
        .await;
    assert!(days().await.is_empty());
    let event = json!({"user_id": 1, "event_type": "a"});
    worker
        .post("/events", event)
        .await
        .expect(StatusCode::ACCEPTED);
    rows(&house, 1).await;
    assert_eq!(worker.metric("tidegate_events_dead_total").await, Some(0.0));
}

#[tokio::test]
async fn what_no_index_could_take_whole_is_kept() {
    let redis = Redis::ephemeral().unwrap();
    let house = House::with_activity(activity(&redis)).await;
    let long: String = (0..300).map(|_| Uuid::now_v7().to_string()).collect();
    let view = |course: Value| json!({"user_id": 1, "event_type": "course_view", "event_data": {"course_id": course}});
    let batch = json!([
        view(json!(long)),
        view(json!("12 and more")),
        view(json!("12")),
        view(json!(12))
    ]);
    house
        .post("/events", batch)
        .await
        .expect(StatusCode::ACCEPTED);
    rows(&house, 4).await;
    let views = house.get("/courses/12/views").await.expect(StatusCode::OK);
    assert_eq!(views.json()["views"], 2);
}

#[tokio::test]
async fn workers_that_wait_for_the_database_take_no_request_its_connection() {
    let redis = Redis::ephemeral().unwrap();
    let house = House::told(tidegate_origin::Config {
        pool_min: 1,
        pool_max: 2,
        activity: activity(&redis),
        ..config(database().await)
    })
    .await;
    let mut holder = house.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE events")
        .execute(&mut *holder)
        .await
        .unwrap();
    patiently("both workers wait for the table", || async {
        let event = json!({"user_id": 1, "event_type": "a"});
        house
            .post("/events", event)
            .await
            .expect(StatusCode::ACCEPTED);
        let waiting: Result<i64, _> = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                AND query LIKE 'INSERT INTO events%' AND wait_event_type = 'Lock'",
        )
        .fetch_one(&house.pool)
        .await;
        waiting.unwrap() == 2
    })
    .await;
    house.get("/courses").await.expect(StatusCode::OK);
    house
        .post("/write/document", json!({"key": "k", "data": 1}))
        .await
        .expect(StatusCode::OK);
    holder.rollback().await.unwrap();
}

#[tokio::test]
async fn a_batch_that_takes_too_long_is_halved_and_an_event_that_does_is_gone_past() {
    let redis = Redis::ephemeral().unwrap();
    let url = database().await;
    let house = gathering(&redis, &url).await;
    house
        .sql(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF (SELECT count(*) > 3 OR bool_or(event_type = 'slow') FROM new_events) THEN
                     RAISE EXCEPTION 'too slow' USING ERRCODE = 'query_canceled';
                 END IF;
                 RETURN NULL;
             END $$;
             CREATE TRIGGER slow AFTER INSERT ON events REFERENCING NEW TABLE AS new_events
                 FOR EACH STATEMENT EXECUTE FUNCTION slow();",
        )
        .await;
    let event =
        |event_type: &str| json!({"id": Uuid::now_v7(), "user_id": 1, "event_type": event_type});
    let mut batch = vec![event("slow")];
    batch.extend((0..20).map(|_| event("quick")));
    house
        .post("/events", Value::Array(batch))
        .await
        .expect(StatusCode::ACCEPTED);
    let worker = writing(&redis, &url).await;
    rows(&house, 20).await;
    house.sql("DROP TRIGGER slow ON events").await;
    rows(&house, 21).await;
    assert_eq!(worker.metric("tidegate_events_dead_total").await, Some(0.0));
}

#[tokio::test]
async fn a_day_that_was_detached_takes_no_events_and_is_in_nobodys_way() {
    let redis = Redis::ephemeral().unwrap();
    let url = database().await;
    let house = gathering(&redis, &url).await;
    house
        .sql(
            "DO $$ DECLARE day text; BEGIN
                 FOR day IN SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'events'::regclass LOOP
                     EXECUTE 'ALTER TABLE events DETACH PARTITION ' || day;
                 END LOOP;
             END $$",
        )
        .await;
    let event = json!({"user_id": 1, "event_type": "a"});
    house
        .post("/events", event)
        .await
        .expect(StatusCode::ACCEPTED);
    let worker = writing(&redis, &url).await;
    rows(&house, 1).await;
    assert_eq!(worker.metric("tidegate_events_dead_total").await, Some(0.0));
    // One of another name that has the days is as good.
    house
        .sql(
            "SELECT tidegate_drop_event_days(now() + interval '30 days');
             CREATE TABLE everything PARTITION OF events DEFAULT;
             ALTER TABLE events DETACH PARTITION everything;
             ALTER TABLE events ATTACH PARTITION everything FOR VALUES FROM (MINVALUE) TO (MAXVALUE);
             DO $$ BEGIN ASSERT tidegate_make_event_days(now(), now()) = 0; END $$",
        )
        .await;
}

#[tokio::test]
async fn an_event_is_of_the_last_days_however_long_events_are_kept() {
    let redis = Redis::ephemeral().unwrap();
    let house = House::with_activity(Activity {
        events_retention_days: u16::MAX,
        events_workers: 0,
        ..activity(&redis)
    })
    .await;
    for (days, status) in [
        (30, StatusCode::ACCEPTED),
        (32, StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let moment = time::OffsetDateTime::now_utc() - time::Duration::days(days);
        let moment = moment
            .format(&time::format_description::well_known::Rfc3339)
            .unwrap();
        let event = json!({"user_id": 1, "event_type": "a", "timestamp": moment});
        house.post("/events", event).await.expect(status);
    }
}
