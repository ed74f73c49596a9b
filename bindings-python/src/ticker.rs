//! The ticker's runner.

use pgque::{Settings, TickerOptions};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::consumer::each_option;
use crate::error::to_py;
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

    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.0.stop());
    }
}
