//! A Redis of a test's own, and what stands in it.

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use redis::streams::StreamRangeReply;
use tidegate_services::Redis;

use super::patiently;

/// The stream that holds the purge log.
pub(crate) const LOG: &str = "tidegate:log";

/// A server that ends with the test.
pub(crate) fn started() -> Redis {
    Redis::ephemeral().expect("redis-server is installed")
}

/// A connection to it.
pub(crate) async fn connected(redis: &Redis) -> MultiplexedConnection {
    let client = redis::Client::open(redis.url()).unwrap();
    patiently("redis", client.get_multiplexed_async_connection())
        .await
        .unwrap()
}

/// Waits until the regional tier holds so many keys.
pub(crate) async fn stored(redis: &Redis, count: usize) -> Vec<String> {
    let mut connection = connected(redis).await;
    let work = async {
        loop {
            let keys: Vec<String> = connection.keys("tidegate:c:*").await.unwrap();
            if keys.len() >= count {
                return keys;
            }
            tokio::task::yield_now().await;
        }
    };
    patiently("keys in the regional tier", work).await
}

/// Adds an entry to the log, whatever it says.
pub(crate) async fn add(redis: &Redis, id: &str, fields: &[(&str, &str)]) {
    let mut connection = connected(redis).await;
    let _: String = connection.xadd(LOG, id, fields).await.unwrap();
}

/// How many entries of the log contain this.
pub(crate) async fn recorded(redis: &Redis, text: &str) -> usize {
    let mut connection = connected(redis).await;
    let log: StreamRangeReply = connection.xrange_all(LOG).await.unwrap();
    let entries = log.ids.iter();
    entries
        .filter(|entry| format!("{entry:?}").contains(text))
        .count()
}
