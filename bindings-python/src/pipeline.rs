//! Sends that are begun, and waited for later: of a client's pipeline, and of a producer.

use pgque::runtime::time_limit;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

use crate::error::{outcome, take_passing, to_py};
use crate::payload;

/// Sends many events without waiting for each answer; `client.pipeline()` makes one.
///
/// Events reach the server in the order of the calls, and before whatever is called next on the same client. In a
/// transaction all of them are part of it, and after an error the rest fails too; in autocommit each stands for itself.
/// The end of a `with` block waits for all that was sent, and raises the first error.
#[pyclass(module = "pgque", frozen)]
pub struct Pipeline(pgque::blocking::Pipeline);

/// The answer to a send, once it is there.
#[pyclass(module = "pgque", frozen)]
pub struct Pending(pgque::Pending<i64>);

impl Pipeline {
    pub fn new(core: pgque::blocking::Pipeline) -> Pipeline {
        Pipeline(core)
    }
}

/// Runs what may have to wait, without the interpreter.
pub fn detached<T: Send>(py: Python<'_>, call: impl FnOnce() -> pgque::Result<T> + Send) -> PyResult<T> {
    take_passing();
    outcome(py.detach(call))
}

#[pymethods]
impl Pipeline {
    /// Send one event; the arguments are those of `PgqueClient.send`. What this gives has the id later; who does not
    /// want it need not keep it.
    ///
    /// A wrong argument and a closed client are errors of this call, all else of `result()` and of `flush`. It waits only
    /// while some 1,000 sends are under way.
    #[pyo3(
        signature = (queue, payload=None, *, r#type=None, extra1=None, extra2=None, extra3=None, extra4=None),
        text_signature = "($self, queue, payload=None, *, type='default', \
            extra1=None, extra2=None, extra3=None, extra4=None)"
    )]
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
    ) -> PyResult<Pending> {
        let event = payload::event(py, payload, r#type, [extra1, extra2, extra3, extra4])?;
        detached(py, || self.0.send(queue, event)).map(Pending::new)
    }

    /// Wait until everything that was sent is answered, and raise the first error since the last flush, also if
    /// `result()` has raised it before.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || self.0.flush())
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (exc_type=None, exc=None, tb=None))]
    fn __exit__(
        &self,
        py: Python<'_>,
        exc_type: Option<Bound<'_, PyAny>>,
        exc: Option<Bound<'_, PyAny>>,
        tb: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let _ = (exc_type, tb);
        match exc {
            None => self.flush(py),
            // The exception that is on its way says more than one that may come of it.
            Some(exc) if exc.is_instance_of::<PyException>() => self
                .flush(py)
                .or_else(|error| if error.is_instance_of::<PyException>(py) { Ok(()) } else { Err(error) }),
            // Ctrl-C: who wants out does not wait for a server that may be stuck.
            Some(_) => {
                py.detach(|| self.0.cancel());
                Ok(())
            }
        }
    }
}

impl Pending {
    pub fn new(core: pgque::Pending<i64>) -> Pending {
        Pending(core)
    }
}

#[pymethods]
impl Pending {
    /// Wait for the answer, at most `timeout` seconds, and give the id, or raise the error of this send. Any number of
    /// times. After PgqueTimeoutError the send goes on.
    #[pyo3(signature = (timeout=None))]
    fn result(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<i64> {
        let limit = time_limit("wait", "timeout", timeout.unwrap_or(f64::INFINITY)).map_err(to_py)?;
        detached(py, || self.0.wait(limit))
    }
}
