//! The consumer's core, which `pgque.Consumer` pulls by the batch.

use std::time::Duration;

use pgque::runtime::time_limit;
use pgque::{Call, ConsumerOptions, Interval, Next, Settings, UnknownHandlerPolicy};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict};

use crate::batch::Batch;
use crate::error::to_py;
use crate::face::{Face, nothing, plain};
use crate::value::{Span, counters, timestamp};
use crate::wait::wait;

/// The state machine; `next` and `finish` are for one thread at a time.
#[pyclass(module = "pgque._pgque", frozen)]
pub struct Consumer(pgque::Consumer);

#[pymethods]
impl Consumer {
    #[new]
    fn new(dsn: &str, queue: &str, name: &str, options: &Bound<'_, PyDict>) -> PyResult<Consumer> {
        let mut set = ConsumerOptions::new(queue, name);
        each_option(options, |name, value| set.set(name, value))?;
        let settings = Settings::parse(dsn).map_err(to_py)?;
        pgque::Consumer::new(settings, set).map(Consumer).map_err(to_py)
    }

    /// How many handlers run at once.
    #[getter]
    fn concurrency(&self) -> usize {
        self.0.options().concurrency
    }

    /// The name among cooperative workers; the one that was made up for `auto`.
    #[getter]
    fn subconsumer(&self) -> Option<&str> {
        self.0.options().subconsumer.as_deref()
    }

    /// The number of the handler for a type; the same type gets the same number again.
    fn on(&self, py: Python<'_>, event_type: &str) -> PyResult<usize> {
        py.detach(|| self.0.on(event_type)).map_err(to_py)
    }

    /// All messages are for one handler of whole batches.
    fn on_batch(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.on_batch()).map_err(to_py)
    }

    /// Mark the consumer as running, until `close`.
    fn begin_run(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.begin_run()).map_err(to_py)
    }

    /// The next batch, or None once `stop` was called, or when there was nothing for `limit` seconds.
    #[pyo3(signature = (limit=None))]
    fn next(&self, py: Python<'_>, limit: Option<f64>) -> PyResult<Option<Batch>> {
        let limit = limit_of_next(limit)?;
        found(py, self.0.clone(), wait(py, self.0.next(limit))?)
    }

    /// As `next`.
    #[pyo3(signature = (limit=None))]
    fn next_async<'py>(&self, py: Python<'py>, limit: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let limit = limit_of_next(limit)?;
        let (core, consumer) = (self.0.clone(), self.0.clone());
        Face::Async.call(py, async move { core.next(limit).await }, |py, next| plain(py, found(py, consumer, next)?))
    }

    /// Tell the server what was made of a batch.
    fn finish(&self, py: Python<'_>, batch: &Batch) -> PyResult<()> {
        wait(py, self.0.finish(batch.core()))
    }

    /// Tell the server what was made of a batch.
    fn finish_async<'py>(&self, py: Python<'py>, batch: &Bound<'_, Batch>) -> PyResult<Bound<'py, PyAny>> {
        let (core, batch) = (self.0.clone(), batch.get().core().clone());
        Face::Async.call(py, async move { core.finish(&batch).await }, nothing)
    }

    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.0.stop());
    }

    /// Until handlers that still run are not to be waited for any more.
    fn overdue_async<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let core = self.0.clone();
        let overdue = async move {
            core.overdue().await;
            Ok(())
        };
        Face::Async.call(py, overdue, nothing)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        wait(py, async {
            self.0.close().await;
            Ok(())
        })
    }

    fn close_async<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let core = self.0.clone();
        let close = async move {
            core.close().await;
            Ok(())
        };
        Face::Async.call(py, close, nothing)
    }

    /// Close without anybody who could wait for it: the loop has ended. A heart-beat that went on would keep the batch
    /// from the other workers.
    fn forsake(&self, py: Python<'_>) -> PyResult<()> {
        let core = self.0.clone();
        // The second time forces.
        core.stop();
        core.stop();
        let close = async move {
            core.close().await;
            Ok(())
        };
        py.detach(|| Call::begin(close, drop)).map(drop).map_err(to_py)
    }

    /// The counters by name.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        counters(py, py.detach(|| self.0.stats()).entries())
    }

    /// How the loop fares.
    fn health<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let health = py.detach(|| self.0.health());
        let last_error_at = health.last_error_at.map(|at| timestamp(py, at)).transpose()?;
        let kind = py.import(intern!(py, "pgque.types"))?.getattr(intern!(py, "Health"))?;
        let (status, alive, since) = (health.status.name(), health.is_alive(), timestamp(py, health.since)?);
        kind.call1((status, alive, since, health.last_error, last_error_at))
    }
}

fn limit_of_next(limit: Option<f64>) -> PyResult<Option<Duration>> {
    time_limit("next", "limit", limit.unwrap_or(f64::INFINITY)).map_err(to_py)
}

fn found(py: Python<'_>, consumer: pgque::Consumer, next: Next) -> PyResult<Option<Batch>> {
    match next {
        Next::Batch(batch) => Batch::new(py, consumer, batch).map(Some),
        Next::Idle | Next::Stopped => Ok(None),
    }
}

/// Options by name, as text: names, ranges and meaning are the core's. None leaves the default.
pub fn each_option(options: &Bound<'_, PyDict>, mut set: impl FnMut(&str, &str) -> pgque::Result<()>) -> PyResult<()> {
    for (name, value) in options {
        if value.is_none() {
            continue;
        }
        set(&name.extract::<String>()?, &option_text(&value)?).map_err(to_py)?;
    }
    Ok(())
}

fn option_text(value: &Bound<'_, PyAny>) -> PyResult<String> {
    // Before numbers, for to Python it is one.
    if let Ok(flag) = value.cast::<PyBool>() {
        return Ok(flag.is_true().to_string());
    }
    match value.extract::<Span>() {
        Ok(Span(Interval::Text(text))) => Ok(text),
        // str() of a whole number has no decimal point, which a number of messages must not have.
        Ok(Span(Interval::Seconds(_))) if value.hasattr(intern!(value.py(), "__index__"))? => {
            Ok(value.str()?.to_string())
        }
        Ok(Span(Interval::Seconds(seconds))) => Ok(seconds.to_string()),
        Err(_) => Ok(value.str()?.to_string()),
    }
}

/// The defaults of a consumer, from the core.
pub fn add_defaults(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let ConsumerOptions { poll_interval, max_messages, unknown_handler_policy, .. } = ConsumerOptions::new("", "");
    let policy = match unknown_handler_policy {
        UnknownHandlerPolicy::Nack => "nack",
        UnknownHandlerPolicy::Ack => "ack",
    };
    module.add("POLL_INTERVAL_DEFAULT", poll_interval.as_secs())?;
    module.add("CONSUMER_MAX_MESSAGES_DEFAULT", max_messages)?;
    module.add("RETRY_AFTER_DEFAULT", pgque::RETRY_AFTER_DEFAULT.as_secs())?;
    module.add("UNKNOWN_HANDLER_POLICY_DEFAULT", policy)
}
