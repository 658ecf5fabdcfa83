//! `spin:redis@3.0.0`: a call that waits lets its guest go on.

use std::sync::Arc;

use wasmtime::component::{Accessor, Resource};

use super::super::Spin;
use super::super::bindings::current;

types!(current::redis);
use version::HostConnectionWithStore;

fn find<T>(
    accessor: &Accessor<T, Spin>,
    connection: &Resource<Connection>,
) -> wasmtime::Result<Connection> {
    accessor.with(|mut access| access.get().connection(connection))
}

impl HostConnection for State {
    fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.let_go(connection)
    }
}

impl<T: Send + 'static> HostConnectionWithStore<T> for Spin {
    async fn open(accessor: &Accessor<T, Spin>, address: String) -> Answer<Resource<Connection>> {
        let servers = accessor.with(|mut access| Arc::clone(&access.get().reach.servers));
        let connection = match Connection::open(servers, &address).await {
            Ok(connection) => connection,
            Err(refusal) => return Ok(Err(refusal.into())),
        };
        Ok(accessor.with(|mut access| access.get().keep(connection).map_err(Error::from)))
    }

    async fn publish(
        accessor: &Accessor<T, Spin>,
        connection: Resource<Connection>,
        channel: String,
        payload: Vec<u8>,
    ) -> Answer<()> {
        let connection = find(accessor, &connection)?;
        Ok(connection
            .publish(channel, payload)
            .await
            .map_err(Error::from))
    }

    async fn get(
        accessor: &Accessor<T, Spin>,
        connection: Resource<Connection>,
        key: String,
    ) -> Answer<Option<Vec<u8>>> {
        let connection = find(accessor, &connection)?;
        Ok(connection.get(key).await.map_err(Error::from))
    }

    async fn set(
        accessor: &Accessor<T, Spin>,
        connection: Resource<Connection>,
        key: String,
        value: Vec<u8>,
    ) -> Answer<()> {
        let connection = find(accessor, &connection)?;
        Ok(connection.set(key, value).await.map_err(Error::from))
    }

    async fn incr(
        accessor: &Accessor<T, Spin>,
        connection: Resource<Connection>,
        key: String,
    ) -> Answer<i64> {
        let connection = find(accessor, &connection)?;
        Ok(connection.incr(key).await.map_err(Error::from))
    }

    async fn del(
        accessor: &Accessor<T, Spin>,
        connection: Resource<Connection>,
        keys: Vec<String>,
    ) -> Answer<u32> {
        let connection = find(accessor, &connection)?;
        Ok(connection.del(keys).await.map_err(Error::from))
    }

    async fn sadd(
        accessor: &Accessor<T, Spin>,
        connection: Resource<Connection>,
        key: String,
        values: Vec<String>,
    ) -> Answer<u32> {
        let connection = find(accessor, &connection)?;
        Ok(connection.sadd(key, values).await.map_err(Error::from))
    }

    async fn smembers(
        accessor: &Accessor<T, Spin>,
        connection: Resource<Connection>,
        key: String,
    ) -> Answer<Vec<String>> {
        let connection = find(accessor, &connection)?;
        Ok(connection.smembers(key).await.map_err(Error::from))
    }

    async fn srem(
        accessor: &Accessor<T, Spin>,
        connection: Resource<Connection>,
        key: String,
        values: Vec<String>,
    ) -> Answer<u32> {
        let connection = find(accessor, &connection)?;
        Ok(connection.srem(key, values).await.map_err(Error::from))
    }

    async fn execute(
        accessor: &Accessor<T, Spin>,
        connection: Resource<Connection>,
        command: String,
        arguments: Vec<RedisParameter>,
    ) -> Answer<Vec<RedisResult>> {
        let connection = find(accessor, &connection)?;
        let arguments = arguments.into_iter().map(Parameter::from);
        let reply = connection.execute(command, arguments).await;
        Ok(reply.map(results).map_err(Error::from))
    }
}
