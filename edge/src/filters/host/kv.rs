//! The capability `kv`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::bindings::tidegate::plugin::kv::{self, Error};
use super::{State, wait};
use crate::keyvalue::{KeyValue, KeyValueError};

impl State {
    /// Lets a guest's store work for it, as long as its hook may still wait.
    async fn in_store<T>(
        &mut self,
        work: impl AsyncFnOnce(KeyValue, Arc<str>) -> Result<T, KeyValueError>,
    ) -> wasmtime::Result<Result<T, Error>> {
        self.enter()?;
        let Some(capabilities) = &self.capabilities else {
            let reason = "nothing is kept while a configuration is read";
            return Ok(Err(Error::Unavailable(reason.to_owned())));
        };
        let work = work(capabilities.keyvalue.clone(), Arc::clone(&self.plugin));
        let began = Instant::now();
        let done = tokio::time::timeout(self.patience.store, work);
        let done = wait(&mut self.has_waited, done).await;
        self.patience.store = self.patience.store.saturating_sub(began.elapsed());
        Ok(match done {
            Ok(done) => done.map_err(told),
            Err(_) => Err(Error::Unavailable(
                "this hook has waited for its store long enough".to_owned(),
            )),
        })
    }
}

/// An error as the guest gets it. Of Redis it learns that it is not there, and nothing more.
fn told(error: KeyValueError) -> Error {
    match error {
        KeyValueError::NoNumber => Error::NotANumber,
        KeyValueError::TooManyKeys => Error::TooManyKeys,
        KeyValueError::Unavailable(unavailable) => {
            Error::Unavailable(unavailable.name().to_owned())
        }
        error => Error::Invalid(error.to_string()),
    }
}

impl kv::Host for State {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        self.in_store(async move |store, plugin| {
            let value = store.get(&plugin, &key).await?;
            Ok(value.map(Vec::from))
        })
        .await
    }

    async fn exists(&mut self, key: String) -> wasmtime::Result<Result<bool, Error>> {
        self.in_store(async move |store, plugin| store.exists(&plugin, &key).await)
            .await
    }

    async fn set(
        &mut self,
        key: String,
        value: Vec<u8>,
        lifetime: Option<u64>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let lifetime = lifetime.map(Duration::from_millis);
        self.in_store(async move |store, plugin| {
            store.set(&plugin, &key, Bytes::from(value), lifetime).await
        })
        .await
    }

    async fn delete(&mut self, key: String) -> wasmtime::Result<Result<(), Error>> {
        self.in_store(async move |store, plugin| store.delete(&plugin, &key).await)
            .await
    }

    async fn keys(&mut self) -> wasmtime::Result<Result<Vec<String>, Error>> {
        self.in_store(async move |store, plugin| store.keys(&plugin).await)
            .await
    }

    async fn increment(
        &mut self,
        key: String,
        by: i64,
        lifetime: Option<u64>,
    ) -> wasmtime::Result<Result<i64, Error>> {
        let lifetime = lifetime.map(Duration::from_millis);
        self.in_store(async move |store, plugin| store.increment(&plugin, &key, by, lifetime).await)
            .await
    }
}
