//! The thread that follows the purge log, keeps this edge on the roll, and serves administration: a
//! busy worker does not delay purges.

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use tokio::sync::watch;

use super::{Shared, StartError, start_thread};
use crate::admin::Admin;
use crate::purge::{self, Followed};

impl Shared {
    /// Starts it, with administration on `listener`, until `ending` says true; `followed` is told
    /// of the log once it is followed.
    pub(super) fn start_control(
        self: &Arc<Self>,
        listener: Option<std::net::TcpListener>,
        draining: watch::Receiver<bool>,
        ending: watch::Receiver<bool>,
        followed: mpsc::SyncSender<Followed>,
    ) -> Result<JoinHandle<()>, StartError> {
        let shared = Arc::clone(self);
        start_thread("tidegate-control".to_owned(), move |runtime| {
            runtime.block_on(shared.control(listener, draining, ending, followed));
        })
    }

    async fn control(
        self: Arc<Self>,
        listener: Option<std::net::TcpListener>,
        draining: watch::Receiver<bool>,
        ending: watch::Receiver<bool>,
        followed: mpsc::SyncSender<Followed>,
    ) {
        let (joined, joining) = watch::channel(false);
        let following = purge::follow(self.log.clone(), joining);
        let attendance = purge::attend(Arc::clone(&self.orders), following.clone(), joined);
        let (orders, mut drained) = (Arc::clone(&self.orders), draining.clone());
        tokio::spawn(async move {
            let _ = drained.wait_for(|drain| *drain).await;
            orders.drain();
        });
        // `start` waits for exactly this one.
        let _ = followed.send(following.clone());
        self.administer(listener, draining, ending, following).await;
        attendance.leave().await;
    }

    /// Serves administration, if that is asked for, until the workers have ended.
    async fn administer(
        &self,
        listener: Option<std::net::TcpListener>,
        draining: watch::Receiver<bool>,
        mut ending: watch::Receiver<bool>,
        following: Followed,
    ) {
        let Some(listener) = listener else {
            let _ = ending.wait_for(|ended| *ended).await;
            return;
        };
        let is_local = listener
            .local_addr()
            .is_ok_and(|address| address.ip().is_loopback());
        // It explains as a worker would answer.
        let explains = match self.worker().await {
            Ok(worker) => Arc::new(worker),
            Err(error) => {
                // The workers say the same, and the start fails by it.
                tracing::debug!(error, "no administration");
                return;
            }
        };
        let admin = Arc::new(Admin {
            explains,
            roster: Arc::clone(&self.guests.roster),
            name: self.settings.name.clone(),
            clock: self.clock.clone(),
            log: self.log.clone(),
            orders: Arc::clone(&self.orders),
            memory: self.memory.clone(),
            metrics: self.metrics.clone(),
            token: self.config.server.admin_token.clone(),
            is_local,
            followed: following,
            draining: draining.clone(),
        });
        let serving = self.serve(listener, admin, ending.clone());
        if self.within_drain(draining, serving).await.is_none() {
            tracing::warn!("administration was still under way when the drain ended");
        }
        let _ = ending.wait_for(|ended| *ended).await;
    }
}
