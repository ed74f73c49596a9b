//! `pgque.Producer`: a sender that many threads share.

use std::time::Duration;

use pgque::runtime::time_limit;
use pgque::{ProducerOptions, Settings};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::consumer::each_option;
use crate::error::to_py;
use crate::payload;
use crate::value::counters;
use crate::wait::wait;

/// Sends events from any number of threads, gathering what they send at the same time into few transactions.
///
/// It has a connection of its own, made for the first event and replaced when it is lost; nothing is sent twice
/// because of that. `with` closes it, once everything is answered.
///
/// Options, with times in seconds; None stands for the default:
///
/// `linger`
///     How long to wait for company once there is something to send (0: what comes while the last batch is on its
///     way is company enough).
/// `batch_size_max`, `batch_bytes_max`
///     The most events (1000) and bytes (4 MiB) in a batch.
/// `queue_size_max`, `queue_bytes_max`
///     The most events (10,000) and bytes (64 MiB) that wait; beyond them `send` waits.
/// `send_timeout`
///     How long an event may wait to be sent, also while the server is away (60).
#[pyclass(module = "pgque", subclass, frozen, weakref)]
pub struct Producer(pgque::Producer);

#[pymethods]
impl Producer {
    #[new]
    #[pyo3(signature = (dsn, **options))]
    fn new(dsn: &str, options: Option<&Bound<'_, PyDict>>) -> PyResult<Producer> {
        let mut set = ProducerOptions::default();
        if let Some(options) = options {
            each_option(options, |name, value| set.set(name, value))?;
        }
        let settings = Settings::parse(dsn).map_err(to_py)?;
        pgque::Producer::new(settings, set).map(Producer).map_err(to_py)
    }

    /// Send one event, wait until it is stored, and give its id. The arguments are those of `PgqueClient.send`.
    ///
    /// Each caller gets the error of its own event. After PgqueTimeoutError the event is not stored; with
    /// `error.uncertain` nobody knows, for the connection was lost at the wrong moment.
    #[pyo3(signature = (
        queue, payload=None, *, r#type=None, extra1=None, extra2=None, extra3=None, extra4=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "an event has this many fields, given by name")]
    fn send(
        &self,
        py: Python<'_>,
        queue: &str,
        payload: Option<Bound<'_, PyAny>>,
        r#type: Option<String>,
        extra1: Option<String>,
        extra2: Option<String>,
        extra3: Option<String>,
        extra4: Option<String>,
    ) -> PyResult<i64> {
        let payload = payload.unwrap_or_else(|| py.None().into_bound(py));
        let event = payload::event(&payload, r#type, [extra1, extra2, extra3, extra4])?;
        wait(py, self.0.send(queue, &event))
    }

    /// Wait until everything that was accepted before is answered, well or not.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        wait(py, self.0.flush())
    }

    /// Accept nothing more and wait until everything is answered, at most `deadline` seconds. Twice is fine.
    ///
    /// What was not sent by then fails with PgqueClosedError where `send` was called, and this call with
    /// PgqueTimeoutError.
    #[pyo3(signature = (deadline=None))]
    fn close(&self, py: Python<'_>, deadline: Option<f64>) -> PyResult<()> {
        let limit = time_limit("close", "deadline", deadline.unwrap_or(f64::INFINITY)).map_err(to_py)?;
        wait(py, self.0.close(limit.unwrap_or(Duration::MAX)))
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exc))]
    fn __exit__(&self, py: Python<'_>, _exc: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py, None)
    }

    /// Counters since the producer was made, at any time, from any thread: `sent`, `failed`, `uncertain` (of these),
    /// `batches`, `batch_size` (of the newest), `queue_length`, `reconnects`; and `last_error`, a text or None.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = py.detach(|| self.0.stats());
        let all = counters(py, stats.entries())?;
        all.set_item("last_error", stats.last_error)?;
        Ok(all)
    }
}
