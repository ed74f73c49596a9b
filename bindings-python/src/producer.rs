//! `pgque.Producer`: a sender that many threads share.

use std::time::Duration;

use pgque::runtime::time_limit;
use pgque::{ProducerOptions, Settings};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::consumer::each_option;
use crate::error::to_py;
use crate::face::{Face, nothing, plain};
use crate::payload;
use crate::pipeline::{Pending, detached};
use crate::value::counters;

/// What both producers can do.
#[pyclass(module = "pgque._pgque", subclass, frozen)]
pub struct Sender {
    core: pgque::Producer,
    face: Face,
}

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
#[pyclass(module = "pgque", extends = Sender, subclass, frozen, weakref)]
pub struct Producer;

/// Sends events from any number of tasks, gathering what they send at the same time into few transactions.
///
/// It has a connection of its own, made for the first event and replaced when it is lost; nothing is sent twice
/// because of that. `async with` closes it, once everything is answered. A task that is cancelled while it waits does
/// not take back what was accepted.
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
#[pyclass(module = "pgque", extends = Sender, subclass, frozen, weakref)]
pub struct AsyncProducer;

#[pymethods]
impl Producer {
    #[new]
    #[pyo3(
        signature = (dsn, **options),
        text_signature = "(dsn, *, linger=None, batch_size_max=None, batch_bytes_max=None, queue_size_max=None, \
            queue_bytes_max=None, send_timeout=None)"
    )]
    fn new(dsn: &str, options: Option<&Bound<'_, PyDict>>) -> PyResult<PyClassInitializer<Producer>> {
        Ok(PyClassInitializer::from(Sender::new(dsn, options, Face::Blocking)?).add_subclass(Producer))
    }

    /// As `send`, but done once the event is accepted, in the order of the calls; what this gives has the id later.
    ///
    /// A wrong argument, a closed producer, and a queue that stays full for `send_timeout` are errors of this call, all
    /// else of `result()`. It waits only while the queue is full.
    #[pyo3(signature = (
        queue, payload=None, *, r#type=None, extra1=None, extra2=None, extra3=None, extra4=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "an event has this many fields, given by name")]
    fn submit(
        slf: &Bound<'_, Self>,
        queue: &str,
        payload: Option<Bound<'_, PyAny>>,
        r#type: Option<String>,
        extra1: Option<String>,
        extra2: Option<String>,
        extra3: Option<String>,
        extra4: Option<String>,
    ) -> PyResult<Pending> {
        let py = slf.py();
        let event = payload::event(py, payload, r#type, [extra1, extra2, extra3, extra4])?;
        let core = pgque::blocking::Producer::from(slf.as_super().get().core.clone());
        detached(py, || core.submit(queue, event)).map(Pending::new)
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exc))]
    fn __exit__<'py>(slf: &Bound<'py, Self>, _exc: &Bound<'_, PyTuple>) -> Answer<'py> {
        slf.as_super().get().close(slf.py(), None)
    }
}

#[pymethods]
impl AsyncProducer {
    #[new]
    #[pyo3(
        signature = (dsn, **options),
        text_signature = "(dsn, *, linger=None, batch_size_max=None, batch_bytes_max=None, queue_size_max=None, \
            queue_bytes_max=None, send_timeout=None)"
    )]
    fn new(dsn: &str, options: Option<&Bound<'_, PyDict>>) -> PyResult<PyClassInitializer<AsyncProducer>> {
        Ok(PyClassInitializer::from(Sender::new(dsn, options, Face::Async)?).add_subclass(AsyncProducer))
    }
}

type Answer<'py> = PyResult<Bound<'py, PyAny>>;

impl Sender {
    fn new(dsn: &str, options: Option<&Bound<'_, PyDict>>, face: Face) -> PyResult<Sender> {
        let mut set = ProducerOptions::default();
        if let Some(options) = options {
            each_option(options, |name, value| set.set(name, value))?;
        }
        let settings = Settings::parse(dsn).map_err(to_py)?;
        let core = pgque::Producer::new(settings, set).map_err(to_py)?;
        Ok(Sender { core, face })
    }
}

#[pymethods]
impl Sender {
    /// Send one event, wait until it is stored, and give its id. The arguments are those of `PgqueClient.send`.
    ///
    /// Each caller gets the error of its own event. After PgqueTimeoutError the event is not stored; with
    /// `error.uncertain` nobody knows, for the connection was lost at the wrong moment.
    #[pyo3(signature = (
        queue, payload=None, *, r#type=None, extra1=None, extra2=None, extra3=None, extra4=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "an event has this many fields, given by name")]
    fn send<'py>(
        &self,
        py: Python<'py>,
        queue: String,
        payload: Option<Bound<'_, PyAny>>,
        r#type: Option<String>,
        extra1: Option<String>,
        extra2: Option<String>,
        extra3: Option<String>,
        extra4: Option<String>,
    ) -> Answer<'py> {
        let event = payload::event(py, payload, r#type, [extra1, extra2, extra3, extra4])?;
        let core = self.core.clone();
        self.face.call(py, async move { core.send(&queue, &event).await }, plain)
    }

    /// Wait until everything that was accepted before is answered, well or not.
    fn flush<'py>(&self, py: Python<'py>) -> Answer<'py> {
        let core = self.core.clone();
        self.face.call(py, async move { core.flush().await }, nothing)
    }

    /// Accept nothing more and wait until everything is answered, at most `deadline` seconds. Twice is fine.
    ///
    /// What was not sent by then fails with PgqueClosedError where `send` was called, and this call with
    /// PgqueTimeoutError.
    #[pyo3(signature = (deadline=None))]
    fn close<'py>(&self, py: Python<'py>, deadline: Option<f64>) -> Answer<'py> {
        let limit = time_limit("close", "deadline", deadline.unwrap_or(f64::INFINITY)).map_err(to_py)?;
        let core = self.core.clone();
        self.face.call(py, async move { core.close(limit.unwrap_or(Duration::MAX)).await }, nothing)
    }

    /// Counters since the producer was made, at any time, from any thread: `sent`, `failed`, `uncertain` (of these),
    /// `batches`, `batch_size` (of the newest), `queue_length`, `reconnects`; and `last_error`, a text or None.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = py.detach(|| self.core.stats());
        let all = counters(py, stats.entries())?;
        all.set_item("last_error", stats.last_error)?;
        Ok(all)
    }
}
