//! How an operation is called: every one is written once, and its class says how the caller comes to the answer.

use pgque::{Result, Scope};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;

use crate::asynchronous::begin;
use crate::wait::wait;

/// The two faces of the core's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// The call waits, and gives its result.
    Blocking,
    /// The call gives a `Begun` of the running loop's.
    Async,
}

impl Face {
    pub fn call<'py, T: Send + 'static>(
        self,
        py: Python<'py>,
        work: impl Future<Output = Result<T>> + Send + 'static,
        convert: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Face::Blocking => Ok(convert(py, wait(py, work)?)?.into_bound(py)),
            Face::Async => Ok(begin(py, work, convert)?.into_any()),
        }
    }
}

/// A result that needs no conversion of its own.
pub fn plain<T: for<'py> IntoPyObject<'py>>(py: Python<'_>, value: T) -> PyResult<Py<PyAny>> {
    value.into_py_any(py)
}

/// Python's None for a transaction that has begun. Where the answer finds nobody any more, it is rolled back.
pub fn begun(py: Python<'_>, scope: Scope) -> PyResult<Py<PyAny>> {
    scope.leave();
    nothing(py, ())
}

/// Python's None, where an empty tuple would be what Rust's unit becomes.
pub fn nothing(py: Python<'_>, (): ()) -> PyResult<Py<PyAny>> {
    Ok(py.None())
}
