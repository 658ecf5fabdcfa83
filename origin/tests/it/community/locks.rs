//! However many do whatever at once, nobody waits for somebody who waits for them.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    circle, joins, leaves,
    members::{adds, appoints, removes},
    student,
};
use crate::support::{Answer, House};

/// Numbers that look like chance, and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: i64) -> i64 {
        // Knuth's generator for MMIX; its high bits are the better ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as i64 % limit
    }
}

/// Users and circles of whom there are few, so that they meet.
const USERS: i64 = 6;
const CIRCLES: i64 = 3;

/// Something that a user does; `newest` is a circle's number.
async fn acts(house: &House, dice: &mut Dice, newest: &AtomicI64) -> Answer {
    let (user, other) = (1 + dice.below(USERS), 1 + dice.below(USERS));
    let circle = newest.load(Ordering::Relaxed) - dice.below(CIRCLES);
    let messages = format!("/circles/{circle}/messages");
    match dice.below(18) {
        0..=4 => joins(house, circle, user).await,
        5 => adds(house, user, circle, other).await,
        6 => leaves(house, circle, user).await,
        7 => removes(house, user, circle, other).await,
        8 => {
            let role = ["owner", "member"][dice.below(2) as usize];
            appoints(house, user, circle, other, role).await
        }
        9..=12 => {
            let message = json!({"text": "Ahoy", "mentions": [other]});
            student(house, user).post(&messages, message).await
        }
        13 => {
            let path = format!("/users/{user}/notifications/read");
            student(house, user)
                .ask(Method::PUT, &path, Value::Null)
                .await
        }
        14 => {
            let new = json!({"name": "New"});
            let made = student(house, user).post("/circles", new).await;
            if made.status == StatusCode::CREATED {
                let circle = made.json()["id"].as_i64().unwrap();
                newest.fetch_max(circle, Ordering::Relaxed);
            }
            made
        }
        15 => {
            let changed = json!({"full_name": "Somebody"});
            house.patch(&format!("/users/{user}"), changed).await
        }
        _ => {
            let removed = house.delete(&format!("/users/{user}")).await;
            house.sql(POPULATE).await;
            removed
        }
    }
}

/// Makes all users of whom there are none.
const POPULATE: &str = "INSERT INTO users (id, email, username, full_name)
    SELECT n, n || '@e.org', n::text, 'x' FROM generate_series(1, 6) n ON CONFLICT DO NOTHING";

#[tokio::test]
async fn whoever_joins_leaves_writes_and_is_removed_at_once_waits_for_nobody_for_ever() {
    let house = Arc::new(House::open().await);
    house.sql(POPULATE).await;
    for owner in 1..=CIRCLES {
        let made = circle(&house, owner, json!({"max_members": 4})).await;
        assert_eq!(made, owner);
    }
    let newest = Arc::new(AtomicI64::new(CIRCLES));
    let mut acting = JoinSet::new();
    // Fewer at once than there are connections: nobody is refused for want of one.
    for seed in 1..=6 {
        let (house, newest) = (house.clone(), newest.clone());
        acting.spawn(async move {
            let mut dice = Dice(seed);
            for _ in 0..60 {
                let answer = acts(&house, &mut dice, &newest).await;
                // Of two who wait for each other, PostgreSQL makes one fail.
                assert!(!answer.status.is_server_error(), "{answer:?}");
            }
        });
    }
    acting.join_all().await;
    for wrong in [
        "SELECT count(*) FROM circles WHERE member_count <> (
             SELECT count(*) FROM circle_members WHERE circle_id = circles.id)",
        "SELECT count(*) FROM circles WHERE NOT EXISTS (
             SELECT FROM circle_members WHERE circle_id = circles.id AND role = 'owner')",
    ] {
        assert_eq!(house.number(wrong).await, 0, "{wrong}");
    }
}
