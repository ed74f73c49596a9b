//! Values from the server as Python objects, and lengths of time the other way.

use pgque::{Interval, ResultSet, Timestamp, Value};
use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBytes, PyDateTime, PyDelta, PyDeltaAccess, PyDict, PyInt, PyList, PyString, PyTuple, PyType, PyTzInfo,
};

const DAY: i64 = 86_400_000_000;

/// An aware `datetime` in UTC.
pub fn timestamp(py: Python<'_>, at: Timestamp) -> PyResult<Bound<'_, PyAny>> {
    static EPOCH: PyOnceLock<Py<PyDateTime>> = PyOnceLock::new();
    let make = || {
        let utc = PyTzInfo::utc(py)?;
        PyDateTime::new(py, 1970, 1, 1, 0, 0, 0, 0, Some(&utc)).map(Bound::unbind)
    };
    let epoch = EPOCH.get_or_try_init(py, make)?;
    let micros = at.as_unix_micros();
    let (days, rest) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
    let delta = PyDelta::new(py, days as i32, (rest / 1_000_000) as i32, (rest % 1_000_000) as i32, false)?;
    epoch.bind(py).add(delta)
}

/// The same moment in another zone, which is what `zone` gave.
pub fn timestamp_in<'py>(at: Timestamp, zone: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = zone.py();
    let utc = timestamp(py, at)?;
    match zone.is(&*PyTzInfo::utc(py)?) {
        true => Ok(utc),
        // A moment of the first or last day of the calendar may have no date there.
        false => utc.call_method1(intern!(py, "astimezone"), (zone,)).or(Ok(utc)),
    }
}

/// The tzinfo for a setting TimeZone of the server, as psycopg chooses it.
pub fn zone<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    static ZONE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    ZONE.import(py, "pgque._zones", "zone")?.call1((name,))
}

/// `json.loads`.
pub fn json_loads(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    LOADS.import(py, "json", "loads")
}

fn decimal<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
    static DECIMAL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    DECIMAL.import(py, "decimal", "Decimal")?.call1((text,))
}

/// As psycopg gives them: `numeric` is a Decimal, `json` is parsed.
fn to_python<'py>(py: Python<'py>, value: &Value, json_loads: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Bool(b) => b.into_pyobject(py)?.to_owned().into_any(),
        Value::Int(n) => n.into_pyobject(py)?.into_any(),
        Value::Float(n) => n.into_pyobject(py)?.into_any(),
        Value::Text(text) => PyString::new(py, text).into_any(),
        Value::Json(text) => json_loads.call1((text,))?,
        Value::Numeric(text) => decimal(py, text)?,
        Value::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
        Value::Timestamp(at) => timestamp(py, *at)?,
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| to_python(py, item, json_loads)).collect::<PyResult<_>>()?;
            PyList::new(py, items)?.into_any()
        }
        // NULL, and what a newer core may know besides.
        _ => py.None().into_bound(py),
    })
}

/// The rows as tuples.
pub fn rows<'py>(py: Python<'py>, result: &ResultSet, json_loads: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
    let row = |row: &Vec<Value>| -> PyResult<Bound<'py, PyTuple>> {
        let cells: Vec<_> = row.iter().map(|cell| to_python(py, cell, json_loads)).collect::<PyResult<_>>()?;
        PyTuple::new(py, cells)
    };
    let rows: Vec<_> = result.rows.iter().map(row).collect::<PyResult<_>>()?;
    PyList::new(py, rows)
}

/// `pgque.Rows`: a list of dictionaries.
pub fn table<'py>(py: Python<'py>, result: &ResultSet) -> PyResult<Bound<'py, PyAny>> {
    let kind = py.import(intern!(py, "pgque.types"))?.getattr(intern!(py, "Rows"))?;
    kind.call1((&result.columns, rows(py, result, json_loads(py)?)?))
}

/// What a loop has counted, by name.
pub fn counters<'py>(
    py: Python<'py>,
    entries: impl IntoIterator<Item = (&'static str, f64)>,
) -> PyResult<Bound<'py, PyDict>> {
    let counters = PyDict::new(py);
    for (name, value) in entries {
        // All but times are counts, which Python's users expect to be whole.
        match name.rsplit('_').next() {
            Some("seconds") => counters.set_item(name, value)?,
            _ => counters.set_item(name, value as u64)?,
        }
    }
    Ok(counters)
}

/// A whole number, which may come as text, as where a program has kept it in JSON. One that is too large for
/// PostgreSQL becomes the largest there is: no batch has that, and no limit.
pub struct Whole(pub i64);

impl<'py> FromPyObject<'_, 'py> for Whole {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Whole> {
        let py = value.py();
        let number = match value.cast::<PyString>() {
            Ok(text) => &PyType::new::<PyInt>(py).call1((text,))?,
            Err(_) => &*value,
        };
        match number.extract::<i64>() {
            Err(e) if e.is_instance_of::<PyOverflowError>(py) => {
                Ok(Whole(if number.lt(0)? { i64::MIN } else { i64::MAX }))
            }
            number => number.map(Whole),
        }
    }
}

/// A length of time: seconds, a timedelta, or interval text.
#[derive(Clone)]
pub struct Span(pub Interval);

impl<'py> FromPyObject<'_, 'py> for Span {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Span> {
        if let Ok(text) = value.extract::<String>() {
            return Ok(Span(Interval::Text(text)));
        }
        if let Ok(delta) = value.cast::<PyDelta>() {
            let whole = i64::from(delta.get_days()) * 86_400 + i64::from(delta.get_seconds());
            let seconds = whole as f64 + f64::from(delta.get_microseconds()) / 1e6;
            return Ok(Span(Interval::Seconds(seconds)));
        }
        let number = value.extract::<f64>().map_err(|_| {
            let kind = value.get_type();
            PyTypeError::new_err(format!("must be seconds, a timedelta or interval text, not {kind}"))
        });
        number.map(|seconds| Span(Interval::Seconds(seconds)))
    }
}
