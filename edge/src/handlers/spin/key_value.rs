//! `spin:key-value`: stores that the route lists, in the edge's own keys and values.
//!
//! A store's namespace is the plugin's name and its label: routes that use a plugin by the same
//! name share its stores, others do not see them.

use bytes::Bytes;
use wasmtime::component::{Accessor, FutureReader, Resource, StreamReader};

use super::Spin;
use super::bindings::{classic, current};
use crate::handlers::state::State;
use crate::keyvalue::{KeyValue, KeyValueError};

/// A store that a guest has opened.
#[derive(Clone)]
#[allow(unreachable_pub, reason = "the generated bindings export it again")]
pub struct Store {
    keyvalue: KeyValue,
    namespace: String,
}

/// Why a store is not opened.
enum Closed {
    NotListed,
    TooMany,
}

impl Store {
    fn open(state: &mut State, label: &str) -> Result<Resource<Store>, Closed> {
        let used = &state.reach.used;
        if !used.opens_store(label) {
            return Err(Closed::NotListed);
        }
        let store = Store {
            keyvalue: state.reach.capabilities.keyvalue.clone(),
            namespace: format!("{}/{label}", used.name),
        };
        state.table.push(store).map_err(|_| Closed::TooMany)
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, KeyValueError> {
        let value = self.keyvalue.get(&self.namespace, key).await?;
        Ok(value.map(Vec::from))
    }

    async fn set(&self, key: &str, value: Vec<u8>) -> Result<(), KeyValueError> {
        let value = Bytes::from(value);
        self.keyvalue.set(&self.namespace, key, value, None).await
    }

    async fn delete(&self, key: &str) -> Result<(), KeyValueError> {
        self.keyvalue.delete(&self.namespace, key).await
    }

    async fn exists(&self, key: &str) -> Result<bool, KeyValueError> {
        self.keyvalue.exists(&self.namespace, key).await
    }

    async fn keys(&self) -> Result<Vec<String>, KeyValueError> {
        self.keyvalue.keys(&self.namespace).await
    }
}

impl State {
    fn store(&mut self, store: &Resource<Store>) -> wasmtime::Result<Store> {
        Ok(self.table.get(store)?.clone())
    }
}

mod three {
    use super::*;
    use current::key_value::{Error, Host, HostStore, HostStoreWithStore};

    impl From<Closed> for Error {
        fn from(closed: Closed) -> Error {
            match closed {
                Closed::NotListed => Error::AccessDenied,
                Closed::TooMany => Error::StoreTableFull,
            }
        }
    }

    impl From<KeyValueError> for Error {
        fn from(error: KeyValueError) -> Error {
            Error::Other(error.to_string())
        }
    }

    fn find<T>(accessor: &Accessor<T, Spin>, store: &Resource<Store>) -> wasmtime::Result<Store> {
        accessor.with(|mut access| access.get().store(store))
    }

    type Answer<T> = wasmtime::Result<Result<T, Error>>;

    impl Host for State {}

    impl HostStore for State {
        fn drop(&mut self, store: Resource<Store>) -> wasmtime::Result<()> {
            self.table.delete(store)?;
            Ok(())
        }
    }

    impl<T: Send + 'static> HostStoreWithStore<T> for Spin {
        async fn open(accessor: &Accessor<T, Spin>, label: String) -> Answer<Resource<Store>> {
            let opened = accessor.with(|mut access| Store::open(access.get(), &label));
            Ok(opened.map_err(Error::from))
        }

        async fn get(
            accessor: &Accessor<T, Spin>,
            store: Resource<Store>,
            key: String,
        ) -> Answer<Option<Vec<u8>>> {
            let store = find(accessor, &store)?;
            Ok(store.get(&key).await.map_err(Error::from))
        }

        async fn set(
            accessor: &Accessor<T, Spin>,
            store: Resource<Store>,
            key: String,
            value: Vec<u8>,
        ) -> Answer<()> {
            let store = find(accessor, &store)?;
            Ok(store.set(&key, value).await.map_err(Error::from))
        }

        async fn delete(
            accessor: &Accessor<T, Spin>,
            store: Resource<Store>,
            key: String,
        ) -> Answer<()> {
            let store = find(accessor, &store)?;
            Ok(store.delete(&key).await.map_err(Error::from))
        }

        async fn exists(
            accessor: &Accessor<T, Spin>,
            store: Resource<Store>,
            key: String,
        ) -> Answer<bool> {
            let store = find(accessor, &store)?;
            Ok(store.exists(&key).await.map_err(Error::from))
        }

        async fn get_keys(
            accessor: &Accessor<T, Spin>,
            store: Resource<Store>,
        ) -> wasmtime::Result<(StreamReader<String>, FutureReader<Result<(), Error>>)> {
            let store = find(accessor, &store)?;
            let (keys, end) = match store.keys().await {
                Ok(keys) => (keys, Ok(())),
                Err(error) => (Vec::new(), Err(Error::from(error))),
            };
            accessor.with(|mut access| {
                let keys = StreamReader::new(&mut access, keys)?;
                let end = FutureReader::new(&mut access, async { Ok::<_, wasmtime::Error>(end) })?;
                Ok((keys, end))
            })
        }
    }
}

mod two {
    use super::*;
    use classic::key_value::{Error, Host, HostStore};

    impl From<Closed> for Error {
        fn from(closed: Closed) -> Error {
            match closed {
                Closed::NotListed => Error::AccessDenied,
                Closed::TooMany => Error::StoreTableFull,
            }
        }
    }

    impl From<KeyValueError> for Error {
        fn from(error: KeyValueError) -> Error {
            Error::Other(error.to_string())
        }
    }

    type Answer<T> = wasmtime::Result<Result<T, Error>>;

    impl Host for State {}

    impl HostStore for State {
        async fn open(&mut self, label: String) -> Answer<Resource<Store>> {
            Ok(Store::open(self, &label).map_err(Error::from))
        }

        async fn get(&mut self, store: Resource<Store>, key: String) -> Answer<Option<Vec<u8>>> {
            let store = self.store(&store)?;
            Ok(store.get(&key).await.map_err(Error::from))
        }

        async fn set(&mut self, store: Resource<Store>, key: String, value: Vec<u8>) -> Answer<()> {
            let store = self.store(&store)?;
            Ok(store.set(&key, value).await.map_err(Error::from))
        }

        async fn delete(&mut self, store: Resource<Store>, key: String) -> Answer<()> {
            let store = self.store(&store)?;
            Ok(store.delete(&key).await.map_err(Error::from))
        }

        async fn exists(&mut self, store: Resource<Store>, key: String) -> Answer<bool> {
            let store = self.store(&store)?;
            Ok(store.exists(&key).await.map_err(Error::from))
        }

        async fn get_keys(&mut self, store: Resource<Store>) -> Answer<Vec<String>> {
            let store = self.store(&store)?;
            Ok(store.keys().await.map_err(Error::from))
        }

        async fn drop(&mut self, store: Resource<Store>) -> wasmtime::Result<()> {
            self.table.delete(store)?;
            Ok(())
        }
    }
}
