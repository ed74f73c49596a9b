//! Errors of the core as exceptions of `pgque.errors`, and Python exceptions that have to pass through the core.

use std::cell::RefCell;

use pgque::Kind;
use pyo3::exceptions::PyException;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

thread_local! {
    // The core's error type has no room for a Python exception. It is made, carried and fetched on one thread.
    static PASSING: RefCell<Option<Passing>> = const { RefCell::new(None) };
}

/// A Python exception on its way past the core.
pub enum Passing {
    /// Raised as it is: Ctrl-C, or a defect in the caller's own code.
    Itself(PyErr),
    /// The cause of the error that the core makes of it.
    Cause(PyErr),
}

pub fn pass_itself(error: PyErr) {
    PASSING.set(Some(Passing::Itself(error)));
}

pub fn pass_as_cause(error: PyErr) {
    PASSING.set(Some(Passing::Cause(error)));
}

/// Also before each call: an error that the core has dealt with must not be the cause of a later one.
pub fn take_passing() -> Option<Passing> {
    PASSING.take()
}

pub fn set_passing(passing: Option<Passing>) {
    PASSING.set(passing);
}

pub fn is_passing_itself() -> bool {
    PASSING.with_borrow(|passing| matches!(passing, Some(Passing::Itself(_))))
}

/// The outcome of a call. A Ctrl-C that came out in a log handler is raised even though the call succeeded.
pub fn outcome<T>(result: pgque::Result<T>) -> PyResult<T> {
    match (result, PASSING.take()) {
        (_, Some(Passing::Itself(error))) => Err(error),
        (Ok(value), _) => Ok(value),
        (Err(error), passing) => {
            set_passing(passing);
            Err(to_py(error))
        }
    }
}

pub fn to_py(error: pgque::Error) -> PyErr {
    let passing = PASSING.take();
    if let Some(Passing::Itself(error)) = passing {
        return error;
    }
    Python::attach(|py| {
        let raised = make(py, &error).unwrap_or_else(|broken| broken);
        if let Some(Passing::Cause(cause)) = passing {
            raised.set_cause(py, Some(cause));
        }
        raised
    })
}

/// An argument that cannot be converted, with the Python exception that says why.
pub fn invalid(py: Python<'_>, op: &'static str, message: String, cause: PyErr) -> PyErr {
    // KeyboardInterrupt and its like say nothing about the argument.
    if !cause.is_instance_of::<PyException>(py) {
        return cause;
    }
    pass_as_cause(cause);
    to_py(pgque::Error::invalid(op, message))
}

fn make(py: Python<'_>, error: &pgque::Error) -> PyResult<PyErr> {
    let facts = PyDict::new(py);
    facts.set_item(intern!(py, "op"), error.op())?;
    facts.set_item(intern!(py, "message"), error.message())?;
    facts.set_item(intern!(py, "sqlstate"), error.sqlstate())?;
    facts.set_item(intern!(py, "detail"), error.detail())?;
    facts.set_item(intern!(py, "hint"), error.hint())?;
    facts.set_item(intern!(py, "retriable"), error.is_retriable())?;
    facts.set_item(intern!(py, "uncertain"), error.is_uncertain())?;
    let (kind, text) = (error.kind(), error.to_string());
    let args = (kind.name(), kind.number(), text, facts, error.configured_limit());
    let raised = py.import(intern!(py, "pgque.errors"))?.call_method1(intern!(py, "from_core"), args)?;
    Ok(PyErr::from_value(raised))
}

/// The stable names of the kinds with their numbers, for `pgque.errors`.
pub fn kinds(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let kinds = PyDict::new(py);
    for kind in Kind::ALL {
        kinds.set_item(kind.name(), kind.number())?;
    }
    Ok(kinds)
}
