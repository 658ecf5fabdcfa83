//! The capability `metrics`.

use super::super::bindings::tidegate::plugin::metrics::{self, Error, Label};
use super::State;
use crate::telemetry::{GuestMetrics, SeriesError};

impl State {
    fn counting(
        &mut self,
        count: impl FnOnce(&GuestMetrics, &str) -> Result<(), SeriesError>,
    ) -> wasmtime::Result<Result<(), Error>> {
        self.enter()?;
        let Some(capabilities) = &self.capabilities else {
            return Ok(Err(Error::Unavailable));
        };
        let counted = count(&capabilities.metrics, &self.plugin);
        Ok(counted.map_err(|error| match error {
            SeriesError::Invalid(reason) => Error::Invalid(reason),
            SeriesError::TooMany => Error::TooManySeries,
        }))
    }
}

impl metrics::Host for State {
    fn count(
        &mut self,
        name: String,
        labels: Vec<Label>,
        by: u64,
    ) -> wasmtime::Result<Result<(), Error>> {
        self.counting(|metrics, plugin| metrics.count(plugin, &name, labels, by))
    }

    fn set(
        &mut self,
        name: String,
        labels: Vec<Label>,
        value: f64,
    ) -> wasmtime::Result<Result<(), Error>> {
        self.counting(|metrics, plugin| metrics.change(plugin, &name, labels, |_| value))
    }

    fn add(
        &mut self,
        name: String,
        labels: Vec<Label>,
        by: f64,
    ) -> wasmtime::Result<Result<(), Error>> {
        self.counting(|metrics, plugin| metrics.change(plugin, &name, labels, |before| before + by))
    }
}
