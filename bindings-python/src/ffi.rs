//! What the safe interface to the interpreter has no word for.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The attributes that a program has set on an object, also where its `__dict__` tells more than those.
pub fn instance_dict<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
    // SAFETY: the object is alive and the interpreter is held; the answer is a new reference, or NULL with an
    // exception set.
    let dict = unsafe {
        let dict = ffi::PyObject_GenericGetDict(object.as_ptr(), std::ptr::null_mut());
        Bound::from_owned_ptr_or_err(object.py(), dict)?
    };
    Ok(dict.cast_into()?)
}
