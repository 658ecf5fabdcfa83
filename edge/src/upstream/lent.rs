//! A connection goes with the body that comes over it, and is free again when that has ended.

use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;

use super::{Connection, Upstream};

/// A connection in use. Dropped, it goes back to where it came from, unless it is closed.
pub(super) struct Lent {
    upstream: Arc<Upstream>,
    connection: Option<Connection>,
}

impl Lent {
    /// Lends a connection of this origin.
    pub(super) fn new(upstream: Arc<Upstream>, connection: Connection) -> Lent {
        Lent {
            upstream,
            connection: Some(connection),
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        if connection.sender.is_ready() {
            self.upstream.idle().put(connection, Instant::now());
            return;
        }
        // Some of the exchange is still on its way: the end of the request, say.
        if let Ok(runtime) = Handle::try_current()
            && !connection.sender.is_closed()
        {
            let upstream = Arc::clone(&self.upstream);
            runtime.spawn(async move {
                if connection.sender.ready().await.is_ok() {
                    upstream.idle().put(connection, Instant::now());
                }
            });
        }
    }
}
