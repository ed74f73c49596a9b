//! Verdicts: `pgque.Retry` and `pgque.Dead`, and what else stands for one.

use pgque::Verdict;
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyType};

use crate::value::Span;

/// `pgque.Retry`, `pgque.Dead`, or True (or None, where it stands for a message that is done).
pub struct PyVerdict(pub Verdict);

impl PyVerdict {
    /// With this reason, unless it has one of its own.
    pub fn or_reason(mut self, otherwise: String) -> PyVerdict {
        if let Verdict::Retry { reason, .. } | Verdict::Dead { reason } = &mut self.0 {
            reason.get_or_insert(otherwise);
        }
        self
    }
}

impl<'py> FromPyObject<'_, 'py> for PyVerdict {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<PyVerdict> {
        if value.is_none() || value.is(PyBool::new(value.py(), true)) {
            return Ok(PyVerdict(Verdict::Ack));
        }
        retry_or_dead(&value)?.map(PyVerdict).ok_or_else(|| {
            let kind = value.get_type();
            PyTypeError::new_err(format!("a verdict is pgque.retry(…), pgque.dead(…), True or None, not {kind}"))
        })
    }
}

/// What follows a failure: `pgque.Retry`, `pgque.Dead`, or the delay of a retry.
pub struct Decision(pub PyVerdict);

impl<'py> FromPyObject<'_, 'py> for Decision {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Decision> {
        if let Some(verdict) = retry_or_dead(&value)? {
            return Ok(Decision(PyVerdict(verdict)));
        }
        if value.is_instance_of::<PyBool>() {
            let message = "on_failure answers a delay, pgque.retry(…), pgque.dead(…) or None, not a bool";
            return Err(PyTypeError::new_err(message));
        }
        let after: Span = value.extract()?;
        Ok(Decision(PyVerdict(Verdict::Retry { after: Some(after.0), reason: None })))
    }
}

fn retry_or_dead(value: &Bound<'_, PyAny>) -> PyResult<Option<Verdict>> {
    static RETRY: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static DEAD: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = value.py();
    if value.is_instance(RETRY.import(py, "pgque.verdicts", "Retry")?)? {
        let after: Option<Span> = value.getattr(intern!(py, "after"))?.extract()?;
        return Ok(Some(Verdict::Retry { after: after.map(|span| span.0), reason: reason(value)? }));
    }
    if value.is_instance(DEAD.import(py, "pgque.verdicts", "Dead")?)? {
        return Ok(Some(Verdict::Dead { reason: reason(value)? }));
    }
    Ok(None)
}

/// The reason as text that can be stored, whatever it was: a fault in it must not lose the verdict.
fn reason(verdict: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    let reason = verdict.getattr(intern!(verdict.py(), "reason"))?;
    if reason.is_none() {
        return Ok(None);
    }
    Ok(Some(reason.str()?.to_string_lossy().into_owned()))
}
