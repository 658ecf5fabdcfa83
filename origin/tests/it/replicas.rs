//! A replica answers what it is known to show, and nothing else, before real servers that stream from each other.

use std::{os::unix::fs::PermissionsExt, time::Duration};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tidegate_origin::{Lsn, Origin};
use tidegate_services::Postgres;

use crate::{
    support::{House, config, patiently},
    wire::Wire,
};

const DOCUMENT: &str = "/read/document/a";

/// A primary, its standby, and an origin that knows both.
struct Pair {
    house: House,
    /// Straight to the standby.
    standby: PgPool,
    replica: Postgres,
    primary: Postgres,
}

fn pool(server: &Postgres) -> PgPool {
    PgPoolOptions::new()
        .max_connections(1)
        .connect_lazy(&server.url())
        .unwrap()
}

/// Writes the document and returns the position from which on that is seen.
async fn write(house: &House, data: i32) -> String {
    let answer = house
        .post("/write/document", json!({"key": "a", "data": data}))
        .await
        .expect(StatusCode::OK);
    let lsn = answer.header("tidegate-lsn").to_owned();
    assert!(lsn.parse::<Lsn>().is_ok(), "{lsn:?}");
    lsn
}

async fn read(house: &House, lsn: &str) -> Value {
    let answer = house.get_from(DOCUMENT, lsn).await;
    answer.expect(StatusCode::OK).json()["data"].clone()
}

async fn fallbacks(house: &House, reason: &str) -> f64 {
    let metric = format!("tidegate_replica_fallbacks_total{{reason=\"{reason}\"}}");
    house.metric(&metric).await.unwrap_or_default()
}

async fn replica_reads(house: &House) -> f64 {
    let reads = house.metric("tidegate_replica_reads_total").await;
    reads.expect("the counter is always there")
}

async fn replayed(standby: &PgPool, lsn: &str) {
    let (_, position) = lsn.split_once(':').unwrap();
    patiently("the standby has replayed it", || async {
        sqlx::query_scalar("SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn")
            .bind(position)
            .fetch_one(standby)
            .await
            .unwrap()
    })
    .await;
}

impl Pair {
    async fn start() -> Self {
        let primary = Postgres::ephemeral().unwrap();
        let replica = primary.replica().unwrap();
        let house = House::with_replica(primary.url(), replica.url()).await;
        Self {
            house,
            standby: pool(&replica),
            replica,
            primary,
        }
    }

    /// Makes the standby stay where it is.
    async fn hold(&self) {
        sqlx::query("SELECT pg_wal_replay_pause()")
            .execute(&self.standby)
            .await
            .unwrap();
        patiently("the standby holds", || async {
            sqlx::query_scalar("SELECT pg_get_wal_replay_pause_state() = 'paused'")
                .fetch_one(&self.standby)
                .await
                .unwrap()
        })
        .await;
    }
}

#[tokio::test]
async fn a_position_that_the_replica_has_replayed_is_read_there_and_a_newer_one_on_the_primary() {
    let pair = Pair::start().await;
    let house = &pair.house;
    let old = write(house, 1).await;
    replayed(&pair.standby, &old).await;
    pair.hold().await;
    let new = write(house, 2).await;

    assert_eq!(
        read(house, &old).await,
        1,
        "it did not come from the replica"
    );
    assert_eq!(read(house, &new).await, 2);
    assert_eq!(fallbacks(house, "Behind").await, 1.0);
    let lag = house.metric("tidegate_replica_lag_bytes").await.unwrap();
    assert!(lag > 0.0, "{lag}");

    sqlx::query("SELECT pg_wal_replay_resume()")
        .execute(&pair.standby)
        .await
        .unwrap();
    replayed(&pair.standby, &new).await;
    assert_eq!(replica_reads(house).await, 1.0);
    assert_eq!(read(house, &new).await, 2);
    assert_eq!(replica_reads(house).await, 2.0);
}

#[tokio::test]
async fn whoever_does_not_say_what_must_be_seen_is_shown_the_primary() {
    let pair = Pair::start().await;
    let house = &pair.house;
    replayed(&pair.standby, &write(house, 1).await).await;
    pair.hold().await;
    write(house, 2).await;
    let shown = house.get(DOCUMENT).await.expect(StatusCode::OK).json();
    assert_eq!(shown["data"], 2);
    assert_eq!(fallbacks(house, "NoPosition").await, 1.0);
    for unreadable in ["primary", "", "0/1", "1:0/1, 1:0/2", "nonsense"] {
        assert_eq!(read(house, unreadable).await, 2, "{unreadable:?}");
    }
    assert_eq!(fallbacks(house, "Unreadable").await, 5.0);
    assert_eq!(read(house, "2:0/1").await, 2);
    assert_eq!(fallbacks(house, "OtherTimeline").await, 1.0);
    assert_eq!(replica_reads(house).await, 0.0);
}

#[tokio::test]
async fn a_replica_that_was_promoted_is_no_longer_read() {
    let pair = Pair::start().await;
    let house = &pair.house;
    let old = write(house, 1).await;
    replayed(&pair.standby, &old).await;
    assert_eq!(read(house, &old).await, 1);
    sqlx::query("SELECT pg_promote()")
        .execute(&pair.standby)
        .await
        .unwrap();
    write(house, 2).await;
    for position in [old.as_str(), "2:0/1"] {
        assert_eq!(read(house, position).await, 2, "{position}");
    }
    assert_eq!(fallbacks(house, "NotAReplica").await, 2.0);
    assert_eq!(replica_reads(house).await, 1.0);
}

#[tokio::test]
async fn after_a_promotion_positions_are_those_of_the_new_timeline_and_standbys_follow_it() {
    let pair = Pair::start().await;
    let old = write(&pair.house, 1).await;
    replayed(&pair.standby, &old).await;
    let follower = pair.replica.replica().unwrap();
    sqlx::query("SELECT pg_promote()")
        .execute(&pair.standby)
        .await
        .unwrap();
    let house = House::with_replica(pair.replica.url(), follower.url()).await;
    let new = write(&house, 2).await;
    assert!(new.starts_with("2:"), "{new}");
    house.sink.wait_for(&["document:a"]).await;
    let seen = house.sink.seen().last().copied().flatten().unwrap();
    assert!(seen.to_string().starts_with("2:"), "{seen}");

    patiently("the follower answers for the new timeline", || async {
        assert_eq!(read(&house, &new).await, 2);
        replica_reads(&house).await > 0.0
    })
    .await;
    // What the old timeline says of positions means nothing on the new one.
    let before = replica_reads(&house).await;
    assert_eq!(read(&house, &old).await, 2);
    assert_eq!(replica_reads(&house).await, before);
    drop(pair.primary);
}

#[tokio::test]
async fn a_replica_that_is_away_is_done_without_until_it_is_back() {
    let mut pair = Pair::start().await;
    let lsn = write(&pair.house, 1).await;
    replayed(&pair.standby, &lsn).await;
    assert_eq!(read(&pair.house, &lsn).await, 1);
    pair.replica.halt();
    for _ in 0..3 {
        assert_eq!(read(&pair.house, &lsn).await, 1);
    }
    assert_eq!(fallbacks(&pair.house, "Unavailable").await, 3.0);
    let lag = pair.house.metric("tidegate_replica_lag_bytes").await;
    assert!(lag.unwrap().is_nan());
    pair.replica.restart().unwrap();
    patiently("the replica is read again", || async {
        assert_eq!(read(&pair.house, &lsn).await, 1);
        replica_reads(&pair.house).await > 1.0
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_takes_connections_and_says_nothing_is_given_up() {
    let primary = Postgres::ephemeral().unwrap();
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!(
        "postgres://postgres@{}/tidegate",
        silent.local_addr().unwrap()
    );
    let config = tidegate_origin::Config {
        replica_url: Some(url),
        replica_deadline: Duration::from_millis(50),
        ..config(primary.url())
    };
    let house = House::told(config).await;
    let lsn = write(&house, 1).await;
    assert_eq!(read(&house, &lsn).await, 1);
    assert_eq!(fallbacks(&house, "Unavailable").await, 1.0);
}

#[tokio::test]
async fn a_read_that_fails_on_the_replica_is_done_again_on_the_primary() {
    let primary = Postgres::ephemeral().unwrap();
    let replica = primary.replica().unwrap();
    let standby = pool(&replica);
    // It never sees the tables, and position 1 is behind everything.
    sqlx::query("SELECT pg_wal_replay_pause()")
        .execute(&standby)
        .await
        .unwrap();
    let house = House::with_replica(primary.url(), replica.url()).await;
    write(&house, 1).await;
    assert_eq!(read(&house, "1:0/1").await, 1);
    assert_eq!(fallbacks(&house, "Failed").await, 1.0);
    assert_eq!(replica_reads(&house).await, 1.0);
}

#[tokio::test]
async fn a_replica_that_stops_in_the_midst_of_a_read_is_not_waited_for() {
    let primary = Postgres::ephemeral().unwrap();
    let replica = primary.replica().unwrap();
    let wire = Wire::to(&replica.url()).await;
    wire.catch(["FROM documents"]);
    let house = House::with_replica(primary.url(), wire.url()).await;
    let lsn = write(&house, 1).await;
    replayed(&pool(&replica), &lsn).await;
    let reading = tokio::time::timeout(Duration::from_secs(30), read(&house, &lsn));
    assert_eq!(reading.await.expect("the primary is never asked"), 1);
    assert_eq!(fallbacks(&house, "Failed").await, 1.0);
    assert_eq!(read(&house, &lsn).await, 1);
    assert_eq!(fallbacks(&house, "Unavailable").await, 1.0);
}

#[tokio::test]
async fn what_is_no_standby_of_this_database_is_never_read() {
    let primary = Postgres::ephemeral().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let stranger = Postgres::start_in(&folder.path().join("stranger")).unwrap();
    let its_standby = stranger.replica().unwrap();
    for url in [primary.url(), its_standby.url()] {
        let house = House::with_replica(primary.url(), url).await;
        write(&house, 1).await;
        assert_eq!(read(&house, "1:0/1").await, 1);
        assert_eq!(fallbacks(&house, "NotAReplica").await, 1.0);
    }
    let config = tidegate_origin::Config {
        replica_url: Some("mysql://someone:hunter2@h/d".to_owned()),
        ..config(primary.url())
    };
    let refused = Origin::start(config, House::sink()).await.err().unwrap();
    assert!(!format!("{refused} {refused:?}").contains("hunter2"));
}

#[tokio::test]
async fn the_answer_to_every_write_says_from_where_on_it_is_seen() {
    let house = House::open().await;
    let mut last = None;
    for data in 0..3 {
        let lsn: Lsn = write(&house, data).await.parse().unwrap();
        assert_ne!(last.replace(lsn), Some(lsn));
    }
    let refused = house
        .ask_with(
            Method::POST,
            "/write/document",
            &[("if-none-match", "*")],
            json!({"key": "a", "data": 4}),
        )
        .await
        .expect(StatusCode::PRECONDITION_FAILED);
    assert!(refused.header("tidegate-lsn").parse::<Lsn>().is_ok());
    // What was refused without a look at the database says nothing of it.
    let refused = house.post("/courses", json!({"title": 7})).await;
    assert!(refused.status.is_client_error());
    assert_eq!(refused.header("tidegate-lsn"), "");
    assert_eq!(house.get(DOCUMENT).await.header("tidegate-lsn"), "");
    let demanded = house.get_from(DOCUMENT, "primary").await;
    assert!(demanded.header("tidegate-lsn").parse::<Lsn>().is_ok());
}

#[tokio::test]
async fn a_write_that_may_have_happened_is_seen_on_the_primary_alone() {
    let postgres = Postgres::ephemeral().unwrap();
    let house = House::before(postgres.url()).await;
    postgres.stop();
    let answer = house
        .post("/write/document", json!({"key": "a", "data": 1}))
        .await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("tidegate-lsn"), "primary");
}
