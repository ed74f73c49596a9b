//! The ticker's runner.

use pgque::{Settings, TickerOptions};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::consumer::each_option;
use crate::error::to_py;
use crate::face::{Face, nothing};
use crate::value::{counters, timestamp};
use crate::wait::wait;

/// Runs ticks, retries and maintenance; options are in seconds.
#[pyclass(module = "pgque._pgque", frozen)]
pub struct Ticker(pgque::Ticker);

#[pymethods]
impl Ticker {
    #[new]
    fn new(dsn: &str, options: &Bound<'_, PyDict>) -> PyResult<Ticker> {
        let mut set = TickerOptions::default();
        each_option(options, |name, value| set.set(name, value))?;
        let settings = Settings::parse(dsn).map_err(to_py)?;
        Ok(Ticker(pgque::Ticker::new(settings, set)))
    }

    fn run(&self, py: Python<'_>) -> PyResult<()> {
        wait(py, self.0.run())
    }

    fn run_async<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let core = self.0.clone();
        Face::Async.call(py, async move { core.run().await }, nothing)
    }

    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.0.stop());
    }

    /// The counters by name, with `state`, `since` and `last_error`.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = py.detach(|| self.0.stats());
        let all = counters(py, stats.entries())?;
        all.set_item("state", stats.state.name())?;
        all.set_item("since", timestamp(py, stats.since)?)?;
        all.set_item("last_error", stats.last_error)?;
        Ok(all)
    }
}
