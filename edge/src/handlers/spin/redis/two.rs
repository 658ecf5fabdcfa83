//! `fermyon:spin/redis@2.0.0`: a guest waits for each of its calls.

use std::sync::Arc;

use wasmtime::component::Resource;

use super::super::bindings::classic;

types!(classic::redis);

impl HostConnection for State {
    async fn open(&mut self, address: String) -> Answer<Resource<Connection>> {
        let servers = Arc::clone(&self.reach.servers);
        let connection = match Connection::open(servers, &address).await {
            Ok(connection) => connection,
            Err(refusal) => return Ok(Err(refusal.into())),
        };
        Ok(self.keep(connection).map_err(Error::from))
    }

    async fn publish(
        &mut self,
        connection: Resource<Connection>,
        channel: String,
        payload: Vec<u8>,
    ) -> Answer<()> {
        let connection = self.connection(&connection)?;
        Ok(connection
            .publish(channel, payload)
            .await
            .map_err(Error::from))
    }

    async fn get(
        &mut self,
        connection: Resource<Connection>,
        key: String,
    ) -> Answer<Option<Vec<u8>>> {
        let connection = self.connection(&connection)?;
        Ok(connection.get(key).await.map_err(Error::from))
    }

    async fn set(
        &mut self,
        connection: Resource<Connection>,
        key: String,
        value: Vec<u8>,
    ) -> Answer<()> {
        let connection = self.connection(&connection)?;
        Ok(connection.set(key, value).await.map_err(Error::from))
    }

    async fn incr(&mut self, connection: Resource<Connection>, key: String) -> Answer<i64> {
        let connection = self.connection(&connection)?;
        Ok(connection.incr(key).await.map_err(Error::from))
    }

    async fn del(&mut self, connection: Resource<Connection>, keys: Vec<String>) -> Answer<u32> {
        let connection = self.connection(&connection)?;
        Ok(connection.del(keys).await.map_err(Error::from))
    }

    async fn sadd(
        &mut self,
        connection: Resource<Connection>,
        key: String,
        values: Vec<String>,
    ) -> Answer<u32> {
        let connection = self.connection(&connection)?;
        Ok(connection.sadd(key, values).await.map_err(Error::from))
    }

    async fn smembers(
        &mut self,
        connection: Resource<Connection>,
        key: String,
    ) -> Answer<Vec<String>> {
        let connection = self.connection(&connection)?;
        Ok(connection.smembers(key).await.map_err(Error::from))
    }

    async fn srem(
        &mut self,
        connection: Resource<Connection>,
        key: String,
        values: Vec<String>,
    ) -> Answer<u32> {
        let connection = self.connection(&connection)?;
        Ok(connection.srem(key, values).await.map_err(Error::from))
    }

    async fn execute(
        &mut self,
        connection: Resource<Connection>,
        command: String,
        arguments: Vec<RedisParameter>,
    ) -> Answer<Vec<RedisResult>> {
        let connection = self.connection(&connection)?;
        let arguments = arguments.into_iter().map(Parameter::from);
        let reply = connection.execute(command, arguments).await;
        Ok(reply.map(results).map_err(Error::from))
    }

    async fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.let_go(connection)
    }
}
