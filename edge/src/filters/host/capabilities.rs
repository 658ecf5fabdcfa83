//! The capabilities behind a guest's imports.

use std::sync::LazyLock;
use std::time::Instant;

use super::super::bindings::tidegate::plugin::{clock, config, limits, log, purge};
use super::super::convert;
use super::super::limits::{Take, Taken, tally};
use super::super::purge::PurgeOrder;
use super::{State, wait};
use crate::clock::Clock;
use crate::wasm::Line;

/// The longest log line, in bytes.
const LONGEST_LINE: usize = 2 << 10;

impl limits::Host for State {
    async fn take(
        &mut self,
        name: String,
        key: String,
        windows: Vec<limits::Window>,
        cost: u32,
        options: limits::Options,
    ) -> wasmtime::Result<Result<limits::Verdict, String>> {
        self.enter()?;
        let Some(capabilities) = &self.capabilities else {
            return Ok(Err(
                "nothing is counted while a configuration is read".to_owned()
            ));
        };
        let windows = match convert::windows(&windows) {
            Ok(windows) => windows,
            Err(reason) => return Ok(Err(reason)),
        };
        let take = Take {
            name: &name,
            key: &key,
            windows: &windows,
            cost,
            is_asynchronous: options.contains(limits::Options::ASYNCHRONOUS),
        };
        let counted = wait(&mut self.has_waited, capabilities.limits.take(take)).await;
        let verdict = match counted {
            Ok(verdict) => verdict,
            Err(reason) => return Ok(Err(reason.to_string())),
        };
        if cost > 0 {
            let taken = match verdict.allowed {
                true => Taken::Allowed,
                false if options.contains(limits::Options::DRY_RUN) => Taken::DryRun,
                false => Taken::Refused,
            };
            tally(&name, taken);
        }
        Ok(Ok(convert::verdict(&verdict)))
    }
}

impl purge::Host for State {
    async fn purge(&mut self, order: purge::Order) -> wasmtime::Result<Result<String, String>> {
        self.enter()?;
        let Some(capabilities) = &self.capabilities else {
            return Ok(Err(
                "nothing is purged while a configuration is read".to_owned()
            ));
        };
        let order = convert::purge_order(order, self.subject.scheme, &self.subject.authority);
        let purged = match order {
            Ok(order) if order.tags.is_empty() && order.urls.is_empty() => Ok(String::new()),
            Ok(order) => {
                let lsn = self.subject.lsn;
                let purged = capabilities.purge.purge(PurgeOrder { lsn, ..order });
                wait(&mut self.has_waited, purged).await
            }
            Err(reason) => Err(reason),
        };
        if let Err(reason) = &purged
            && self.lines.admit() == Line::Written
        {
            let plugin = &*self.plugin;
            tracing::warn!(plugin, reason, "a plugin's purge is not in force");
        }
        Ok(purged)
    }
}

impl log::Host for State {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.enter()?;
        if !is_kept(level) {
            return Ok(());
        }
        let plugin = &*self.plugin;
        let Some(left) = self.lines_left.checked_sub(1) else {
            self.lines.leave_out();
            return Ok(());
        };
        self.lines_left = left;
        if left == 0 {
            self.lines.leave_out();
            tracing::warn!(plugin, "further lines of this exchange are left out");
            return Ok(());
        }
        match self.lines.admit() {
            Line::Written => {}
            Line::FirstLeftOut => {
                tracing::warn!(plugin, "further lines of this second are left out");
                return Ok(());
            }
            Line::LeftOut => return Ok(()),
        }
        let message = convert::log_line(&message, LONGEST_LINE);
        match level {
            log::Level::Debug => tracing::debug!(plugin, "{message}"),
            log::Level::Info => tracing::info!(plugin, "{message}"),
            log::Level::Warn => tracing::warn!(plugin, "{message}"),
            log::Level::Error => tracing::error!(plugin, "{message}"),
        }
        Ok(())
    }
}

/// Whether lines of this level go anywhere; those that do not, count for nothing.
fn is_kept(level: log::Level) -> bool {
    match level {
        log::Level::Debug => tracing::enabled!(tracing::Level::DEBUG),
        log::Level::Info => tracing::enabled!(tracing::Level::INFO),
        log::Level::Warn => tracing::enabled!(tracing::Level::WARN),
        log::Level::Error => tracing::enabled!(tracing::Level::ERROR),
    }
}

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<u64> {
        self.enter()?;
        let capabilities = self.capabilities.as_ref();
        let now = capabilities.map_or_else(|| Clock::system().now(), |these| these.clock.now());
        Ok(now.0)
    }

    fn monotonic(&mut self) -> wasmtime::Result<u64> {
        self.enter()?;
        Ok(u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

impl config::Host for State {
    fn get(&mut self) -> wasmtime::Result<String> {
        self.enter()?;
        Ok(self.config.as_ref().to_owned())
    }
}
