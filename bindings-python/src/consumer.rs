//! The consumer's core, which `pgque.Consumer` pulls by the batch, and verdicts.

use std::sync::Arc;

use pgque::{ConsumerOptions, Interval, Next, Settings, UnknownHandlerPolicy, Verdict};
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

use crate::error::to_py;
use crate::message::{Message, Source};
use crate::value::Span;
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

    /// The number of the handler for a type; the same type gets the same number again.
    fn on(&self, py: Python<'_>, event_type: &str) -> usize {
        py.detach(|| self.0.on(event_type))
    }

    /// The next batch, or None once `stop` was called.
    fn next(&self, py: Python<'_>) -> PyResult<Option<Batch>> {
        wait(py, async {
            loop {
                match self.0.next(None).await? {
                    Next::Idle => {}
                    Next::Stopped => return Ok(None),
                    Next::Batch(batch) => return Ok(Some(Batch(batch))),
                }
            }
        })
    }

    /// Settle a batch with one verdict for each message: True for done, None where there is no handler.
    fn finish(&self, py: Python<'_>, batch: &Batch, verdicts: Vec<Option<PyVerdict>>) -> PyResult<()> {
        let verdicts = verdicts.into_iter().map(|verdict| verdict.map(|v| v.0)).collect();
        wait(py, self.0.finish(&batch.0, verdicts))
    }

    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.0.stop());
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        wait(py, async {
            self.0.close().await;
            Ok(())
        })
    }
}

/// The messages of one batch; iterating gives pairs of the handler's number, or None, and the message.
#[pyclass(module = "pgque._pgque", frozen)]
pub struct Batch(Arc<pgque::Batch>);

#[pymethods]
impl Batch {
    fn __len__(&self) -> usize {
        self.0.messages().len()
    }

    fn __iter__(&self) -> BatchIterator {
        BatchIterator { batch: self.0.clone(), next: 0 }
    }

    #[getter]
    fn id(&self) -> i64 {
        self.0.id()
    }
}

#[pyclass(module = "pgque._pgque")]
struct BatchIterator {
    batch: Arc<pgque::Batch>,
    next: usize,
}

#[pymethods]
impl BatchIterator {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&mut self) -> Option<(Option<usize>, Message)> {
        let index = self.next;
        self.next += 1;
        let source = Source::Batch(self.batch.clone());
        (index < source.messages().len()).then(|| (self.batch.handler(index), source.message(index)))
    }
}

/// Options by name, as text: names, ranges and meaning are the core's. None leaves the default.
pub fn each_option(options: &Bound<'_, PyDict>, mut set: impl FnMut(&str, &str) -> pgque::Result<()>) -> PyResult<()> {
    for (name, value) in options {
        if value.is_none() {
            continue;
        }
        let text = match value.extract::<Span>() {
            Ok(Span(Interval::Text(text))) => text,
            // str() of a whole number has no decimal point, which a number of messages must not have.
            Ok(Span(Interval::Seconds(_))) if value.hasattr(intern!(value.py(), "__index__"))? => {
                value.str()?.to_string()
            }
            Ok(Span(Interval::Seconds(seconds))) => seconds.to_string(),
            Err(_) => value.str()?.to_string(),
        };
        set(&name.extract::<String>()?, &text).map_err(to_py)?;
    }
    Ok(())
}

/// `pgque.Retry`, `pgque.Dead`, or True (or None, where it stands for a message that is done).
pub struct PyVerdict(pub Verdict);

impl<'py> FromPyObject<'_, 'py> for PyVerdict {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<PyVerdict> {
        static RETRY: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        static DEAD: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let py = value.py();
        if value.is_none() || value.is(pyo3::types::PyBool::new(py, true)) {
            return Ok(PyVerdict(Verdict::Ack));
        }
        let verdict = if value.is_instance(RETRY.import(py, "pgque.verdicts", "Retry")?)? {
            let after: Option<Span> = value.getattr(intern!(py, "after"))?.extract()?;
            Verdict::Retry { after: after.map(|span| span.0), reason: reason(&value)? }
        } else if value.is_instance(DEAD.import(py, "pgque.verdicts", "Dead")?)? {
            Verdict::Dead { reason: reason(&value)? }
        } else {
            let kind = value.get_type();
            return Err(PyTypeError::new_err(format!(
                "a verdict is pgque.retry(…), pgque.dead(…) or None, not {kind}"
            )));
        };
        Ok(PyVerdict(verdict))
    }
}

/// The reason as text that can be stored, whatever it was: a fault in it must not lose the verdict.
fn reason(verdict: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    let reason = verdict.getattr(intern!(verdict.py(), "reason"))?;
    if reason.is_none() {
        return Ok(None);
    }
    Ok(Some(reason.str()?.to_string_lossy().into_owned()))
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
