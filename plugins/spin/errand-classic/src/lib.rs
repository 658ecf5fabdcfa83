//! The errands of spin-sdk 5: the same paths, the same query.

use std::fmt::Debug;

use spin_sdk::http::{IntoResponse, Request, Response};
use spin_sdk::http_component;
use spin_sdk::key_value::{self, Store};
use spin_sdk::redis::{self, Connection, RedisParameter};
use spin_sdk::variables;

#[http_component]
fn run(request: Request) -> impl IntoResponse {
    let query = Query(
        form_urlencoded::parse(request.query().as_bytes())
            .into_owned()
            .collect(),
    );
    let path = request.path();
    let told = if let Some(command) = path.strip_prefix("/kv/") {
        told(key_value(command, &query))
    } else if let Some(command) = path.strip_prefix("/redis/") {
        told(redis(command, &query))
    } else {
        told(variables::get(query.get("name")))
    };
    Response::new(200, told)
}

fn key_value(command: &str, query: &Query) -> Result<String, key_value::Error> {
    let store = Store::open(query.get("store"))?;
    let key = query.get("key");
    Ok(match command {
        "get" => text(store.get(key)?.map(lossy)),
        "set" => text(store.set(key, query.get("value").as_bytes())?),
        "delete" => text(store.delete(key)?),
        "exists" => text(store.exists(key)?),
        _ => {
            let mut keys = store.get_keys()?;
            keys.sort();
            text(keys)
        }
    })
}

fn redis(command: &str, query: &Query) -> Result<String, redis::Error> {
    let connection = Connection::open(query.get("address"))?;
    let key = query.get("key");
    let values = query.all("value");
    Ok(match command {
        "get" => text(connection.get(key)?.map(lossy)),
        "set" => text(connection.set(key, query.get("value").as_bytes())?),
        "incr" => text(connection.incr(key)?),
        "del" => text(connection.del(&query.all("key"))?),
        "sadd" => text(connection.sadd(key, &values)?),
        "smembers" => {
            let mut members = connection.smembers(key)?;
            members.sort();
            text(members)
        }
        "srem" => text(connection.srem(key, &values)?),
        "publish" => text(connection.publish(key, query.get("value").as_bytes())?),
        _ => {
            let parameters = values.into_iter().map(|value| match value.parse() {
                Ok(number) => RedisParameter::Int64(number),
                Err(_) => RedisParameter::Binary(value.into_bytes()),
            });
            text(connection.execute(key, &parameters.collect::<Vec<_>>())?)
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
