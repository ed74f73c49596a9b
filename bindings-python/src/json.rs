//! JSON text of ordinary values, several times faster than by Python's own encoder.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

/// Deeper nesting is left to Python, which knows a circle when it runs in one.
const DEPTH_MAX: u32 = 100;

/// The value is not one that JSON and Python spell alike; Python's encoder knows what to do, or what to say.
pub struct Unusual;

impl From<PyErr> for Unusual {
    fn from(_: PyErr) -> Unusual {
        Unusual
    }
}

/// JSON text of a value that consists of dicts with text as keys, lists, tuples, text, numbers, True, False and None;
/// of these types themselves, for a subclass may spell itself otherwise.
pub fn encode(value: &Bound<'_, PyAny>) -> Result<String, Unusual> {
    let mut out = Vec::with_capacity(128);
    write(value, &mut out, DEPTH_MAX)?;
    String::from_utf8(out).map_err(|_| Unusual)
}

fn write(value: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: u32) -> Result<(), Unusual> {
    if let Ok(text) = value.cast_exact::<PyString>() {
        write_text(text, out)
    } else if let Ok(number) = value.cast_exact::<PyInt>() {
        write_int(number, out)
    } else if let Ok(dict) = value.cast_exact::<PyDict>() {
        write_dict(dict, out, depth.checked_sub(1).ok_or(Unusual)?)
    } else if let Ok(list) = value.cast_exact::<PyList>() {
        write_items(list.iter(), out, depth.checked_sub(1).ok_or(Unusual)?)
    } else if value.is_none() {
        out.extend_from_slice(b"null");
        Ok(())
    } else if let Ok(flag) = value.cast_exact::<PyBool>() {
        out.extend_from_slice(if flag.is_true() { b"true" } else { b"false" });
        Ok(())
    } else if let Ok(number) = value.cast_exact::<PyFloat>() {
        write_float(number, out)
    } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        write_items(tuple.iter(), out, depth.checked_sub(1).ok_or(Unusual)?)
    } else {
        Err(Unusual)
    }
}

/// Fails where text has no UTF-8, which is the case of a lone surrogate.
fn write_text(text: &Bound<'_, PyString>, out: &mut Vec<u8>) -> Result<(), Unusual> {
    serde_json::to_writer(out, text.to_str()?).map_err(|_| Unusual)
}

fn write_int(number: &Bound<'_, PyInt>, out: &mut Vec<u8>) -> Result<(), Unusual> {
    match number.extract::<i64>() {
        Ok(small) => serde_json::to_writer(out, &small).map_err(|_| Unusual),
        Err(_) => {
            out.extend_from_slice(number.str()?.to_str()?.as_bytes());
            Ok(())
        }
    }
}

/// As Python writes it, which keeps the digits; NaN and the infinities are not JSON.
fn write_float(number: &Bound<'_, PyFloat>, out: &mut Vec<u8>) -> Result<(), Unusual> {
    if !number.value().is_finite() {
        return Err(Unusual);
    }
    out.extend_from_slice(number.repr()?.to_str()?.as_bytes());
    Ok(())
}

fn write_dict(dict: &Bound<'_, PyDict>, out: &mut Vec<u8>, depth: u32) -> Result<(), Unusual> {
    let mut before = b'{';
    // A copy, for in a build of Python without the global lock another thread may change the dict meanwhile.
    for (key, value) in dict.copy()? {
        out.push(before);
        write_text(key.cast_exact::<PyString>().map_err(|_| Unusual)?, out)?;
        out.push(b':');
        write(&value, out, depth)?;
        before = b',';
    }
    if before == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
    Ok(())
}

fn write_items<'py>(
    items: impl Iterator<Item = Bound<'py, PyAny>>,
    out: &mut Vec<u8>,
    depth: u32,
) -> Result<(), Unusual> {
    let mut before = b'[';
    for item in items {
        out.push(before);
        write(&item, out, depth)?;
        before = b',';
    }
    if before == b'[' {
        out.push(b'[');
    }
    out.push(b']');
    Ok(())
}
