//! `spin:redis`: commands to the servers that the route lists. What they do is here; how a guest of
//! either version asks for them is in `three` and `two`.

use std::sync::Arc;

use redis::{Cmd, ErrorKind, RedisError, Value};
use wasmtime::component::Resource;

use super::servers::{Lease, NoConnection, Servers};
use crate::handlers::state::State;

/// The types of one version, which are the same in both but for their names.
macro_rules! types {
    ($version:path) => {
        use super::{Connection, Parameter, Part, Refusal};
        use crate::handlers::state::State;
        use version::{Error, Host, HostConnection, RedisParameter, RedisResult};
        use $version as version;

        impl From<Refusal> for Error {
            fn from(refusal: Refusal) -> Error {
                match refusal {
                    Refusal::Address => Error::InvalidAddress,
                    Refusal::TooMany => Error::TooManyConnections,
                    Refusal::Type => Error::TypeError,
                    Refusal::Other(reason) => Error::Other(reason),
                }
            }
        }

        impl From<RedisParameter> for Parameter {
            fn from(parameter: RedisParameter) -> Parameter {
                match parameter {
                    RedisParameter::Int64(number) => Parameter::Int64(number),
                    RedisParameter::Binary(bytes) => Parameter::Binary(bytes),
                }
            }
        }

        impl From<Part> for RedisResult {
            fn from(part: Part) -> RedisResult {
                match part {
                    Part::Nil => RedisResult::Nil,
                    Part::Status(status) => RedisResult::Status(status),
                    Part::Int64(number) => RedisResult::Int64(number),
                    Part::Binary(bytes) => RedisResult::Binary(bytes),
                }
            }
        }

        type Answer<T> = wasmtime::Result<Result<T, Error>>;

        fn results(parts: Vec<Part>) -> Vec<RedisResult> {
            parts.into_iter().map(RedisResult::from).collect()
        }

        impl Host for State {}
    };
}

mod three;
mod two;

/// A connection that a guest has opened.
#[derive(Clone)]
#[allow(unreachable_pub, reason = "the generated bindings export it again")]
pub struct Connection(Arc<Lease>);

/// An argument of a command.
enum Parameter {
    Int64(i64),
    Binary(Vec<u8>),
}

/// A part of a reply.
enum Part {
    Nil,
    Status(String),
    Int64(i64),
    Binary(Vec<u8>),
}

/// Why a command, or opening a connection, did not go through.
enum Refusal {
    Address,
    TooMany,
    Type,
    Other(String),
}

impl Connection {
    async fn open(servers: Arc<Servers>, address: &str) -> Result<Connection, Refusal> {
        match servers.open(address).await {
            Ok(lease) => Ok(Connection(Arc::new(lease))),
            Err(NoConnection::Address) => Err(Refusal::Address),
            Err(NoConnection::TooMany) => Err(Refusal::TooMany),
            Err(NoConnection::Failed(reason)) => Err(Refusal::Other(reason)),
        }
    }

    async fn publish(&self, channel: String, payload: Vec<u8>) -> Result<(), Refusal> {
        let command = command("PUBLISH", &channel).arg(payload).take();
        self.0.query::<Value>(&command).await?;
        Ok(())
    }

    async fn get(&self, key: String) -> Result<Option<Vec<u8>>, Refusal> {
        Ok(self.0.query(&command("GET", &key)).await?)
    }

    async fn set(&self, key: String, value: Vec<u8>) -> Result<(), Refusal> {
        let command = command("SET", &key).arg(value).take();
        self.0.query::<Value>(&command).await?;
        Ok(())
    }

    async fn incr(&self, key: String) -> Result<i64, Refusal> {
        let answer = self.0.query(&command("INCR", &key)).await;
        answer.map_err(|error: RedisError| match error.detail() {
            Some(detail) if detail.contains("not an integer") => Refusal::Type,
            _ => error.into(),
        })
    }

    async fn del(&self, keys: Vec<String>) -> Result<u32, Refusal> {
        if keys.is_empty() {
            return Ok(0);
        }
        let command = redis::cmd("DEL").arg(keys).take();
        Ok(self.0.query(&command).await?)
    }

    async fn sadd(&self, key: String, values: Vec<String>) -> Result<u32, Refusal> {
        let command = command("SADD", &key).arg(values).take();
        Ok(self.0.query(&command).await?)
    }

    async fn smembers(&self, key: String) -> Result<Vec<String>, Refusal> {
        Ok(self.0.query(&command("SMEMBERS", &key)).await?)
    }

    async fn srem(&self, key: String, values: Vec<String>) -> Result<u32, Refusal> {
        let command = command("SREM", &key).arg(values).take();
        Ok(self.0.query(&command).await?)
    }

    async fn execute(
        &self,
        name: String,
        arguments: impl Iterator<Item = Parameter>,
    ) -> Result<Vec<Part>, Refusal> {
        let mut command = redis::cmd(&name);
        for argument in arguments {
            match argument {
                Parameter::Int64(number) => command.arg(number),
                Parameter::Binary(bytes) => command.arg(bytes),
            };
        }
        let reply = self.0.execute(&name, &command).await?;
        let mut parts = Vec::new();
        lay_out(reply, &mut parts)?;
        Ok(parts)
    }
}

fn command(name: &str, key: &str) -> Cmd {
    redis::cmd(name).arg(key).take()
}

/// Lays the arrays of a reply out flat, as Spin does.
fn lay_out(reply: Value, parts: &mut Vec<Part>) -> Result<(), Refusal> {
    parts.push(match reply {
        Value::Nil => Part::Nil,
        Value::Int(number) => Part::Int64(number),
        Value::BulkString(bytes) => Part::Binary(bytes),
        Value::SimpleString(status) => Part::Status(status),
        Value::Okay => Part::Status("OK".to_owned()),
        Value::Array(values) => {
            for value in values {
                lay_out(value, parts)?;
            }
            return Ok(());
        }
        _ => return Err(Refusal::Type),
    });
    Ok(())
}

impl From<RedisError> for Refusal {
    fn from(error: RedisError) -> Refusal {
        let is_type = error.code() == Some("WRONGTYPE")
            || matches!(error.kind(), ErrorKind::UnexpectedReturnType);
        if is_type {
            Refusal::Type
        } else {
            Refusal::Other(error.to_string())
        }
    }
}

impl State {
    fn connection(&mut self, connection: &Resource<Connection>) -> wasmtime::Result<Connection> {
        Ok(self.table.get(connection)?.clone())
    }

    fn keep(&mut self, connection: Connection) -> Result<Resource<Connection>, Refusal> {
        self.table.push(connection).map_err(|_| Refusal::TooMany)
    }

    fn let_go(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}
