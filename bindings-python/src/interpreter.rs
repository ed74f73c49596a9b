//! Which of a process's interpreters this is.

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;

/// What the module keeps once for all of the process, classes and interned text above all, belongs to one interpreter.
pub fn refuse_all_but_the_main_one(py: Python<'_>) -> PyResult<()> {
    // SAFETY: a `Python` token means that this thread is attached to an interpreter, whose state is what Get gives.
    let id = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
    if id < 0 {
        return Err(PyErr::fetch(py));
    }
    if id > 0 {
        let message = "pgque does not support subinterpreters; import it in the main interpreter, or in a process";
        return Err(PyImportError::new_err(message));
    }
    Ok(())
}
