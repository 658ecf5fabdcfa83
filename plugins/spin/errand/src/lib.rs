//! A fixture that does what the path and the query say with what Spin provides, and tells what came
//! of it, errors as Rust prints them.
//!
//! ```text
//! /kv/get?store=default&key=a      also set (value), delete, exists, keys
//! /variable?name=greeting
//! /redis/get?address=redis://…&key=a   also set, incr, del, sadd, smembers, srem, publish, execute
//! ```

use std::fmt::Debug;

use spin_sdk::http::{IntoResponse, Request};
use spin_sdk::http_service;
use spin_sdk::key_value::{self, Store};
use spin_sdk::redis::{self, Connection, RedisParameter};
use spin_sdk::variables;

#[http_service]
async fn run(request: Request) -> impl IntoResponse {
    let query = request.uri().query().unwrap_or_default();
    let query = Query(
        form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect(),
    );
    let path = request.uri().path();
    if let Some(command) = path.strip_prefix("/kv/") {
        told(key_value(command, &query).await)
    } else if let Some(command) = path.strip_prefix("/redis/") {
        told(redis(command, &query).await)
    } else {
        told(variables::get(query.get("name")).await)
    }
}

async fn key_value(command: &str, query: &Query) -> Result<String, key_value::Error> {
    let store = Store::open(query.get("store")).await?;
    let key = query.get("key");
    Ok(match command {
        "get" => text(store.get(key).await?.map(lossy)),
        "set" => text(store.set(key, query.get("value")).await?),
        "delete" => text(store.delete(key).await?),
        "exists" => text(store.exists(key).await?),
        _ => {
            let mut keys = store.get_keys().await.collect().await?;
            keys.sort();
            text(keys)
        }
    })
}

async fn redis(command: &str, query: &Query) -> Result<String, redis::Error> {
    let connection = Connection::open(query.get("address")).await?;
    let key = query.get("key");
    let values = query.all("value");
    Ok(match command {
        "get" => text(connection.get(key).await?.map(lossy)),
        "set" => text(connection.set(key, query.get("value")).await?),
        "incr" => text(connection.incr(key).await?),
        "del" => text(connection.del(query.all("key")).await?),
        "sadd" => text(connection.sadd(key, values).await?),
        "smembers" => {
            let mut members = connection.smembers(key).await?;
            members.sort();
            text(members)
        }
        "srem" => text(connection.srem(key, values).await?),
        "publish" => text(connection.publish(key, query.get("value")).await?),
        _ => {
            let parameters = values.into_iter().map(|value| match value.parse() {
                Ok(number) => RedisParameter::Int64(number),
                Err(_) => RedisParameter::Binary(value.into_bytes()),
            });
            text(connection.execute(key, parameters).await?)
        }
    })
}

fn told<E: Debug>(result: Result<String, E>) -> String {
    result.unwrap_or_else(|error| format!("{error:?}"))
}

fn text(value: impl Debug) -> String {
    format!("{value:?}")
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

struct Query(Vec<(String, String)>);

impl Query {
    fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }

    fn all(&self, name: &str) -> Vec<String> {
        let found = self.0.iter().filter(|(key, _)| key == name);
        found.map(|(_, value)| value.clone()).collect()
    }
}
