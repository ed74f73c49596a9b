//! Values from the server as Python objects, and lengths of time the other way.

use pgque::{Interval, ResultSet, Special, Timestamp, Value};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBytes, PyDate, PyDateTime, PyDelta, PyDeltaAccess, PyDict, PyInt, PyList, PyString, PyTime, PyTuple, PyType,
    PyTzInfo,
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

/// What a program may decide of the conversion.
pub struct How<'a, 'py> {
    pub json_loads: &'a Bound<'py, PyAny>,
    pub zone: &'a Bound<'py, PyAny>,
}

/// An object of the module `datetime`, or of `uuid`; a moment that Python's calendar does not have is a ValueError.
fn special<'py>(py: Python<'py>, special: Special, text: &str) -> PyResult<Bound<'py, PyAny>> {
    let none = || Err(PyValueError::new_err(format!("{text} is no date of Python's calendar; cast it to text")));
    let since_1970 = |micros: i64| {
        PyDelta::new(py, (micros.div_euclid(DAY)) as i32, 0, 0, true).map(|days| (days, micros.rem_euclid(DAY)))
    };
    Ok(match special {
        Special::Date(Some(days)) => {
            let epoch = PyDate::new(py, 1970, 1, 1)?;
            match i32::try_from(days).map(|days| PyDelta::new(py, days, 0, 0, true)) {
                Ok(delta) => epoch.add(delta?).or_else(|_| none())?,
                Err(_) => return none(),
            }
        }
        Special::LocalTimestamp(Some(micros)) => {
            let (days, rest) = since_1970(micros)?;
            let rest = PyDelta::new(py, 0, (rest / 1_000_000) as i32, (rest % 1_000_000) as i32, false)?;
            let epoch = PyDateTime::new(py, 1970, 1, 1, 0, 0, 0, 0, None)?;
            epoch.add(days).and_then(|day| day.add(rest)).or_else(|_| none())?
        }
        Special::Time(micros) => {
            let (seconds, fraction) = (micros / 1_000_000, (micros % 1_000_000) as u32);
            let (hour, minute, second) = ((seconds / 3600) as u8, (seconds / 60 % 60) as u8, (seconds % 60) as u8);
            match PyTime::new(py, hour, minute, second, fraction, None) {
                Ok(time) => time.into_any(),
                Err(_) => return none(),
            }
        }
        // A month has 30 days and a year 365, as for psycopg.
        Special::Interval { months, days, micros } => {
            let days =
                i64::from(days) + i64::from(months / 12) * 365 + i64::from(months % 12) * 30 + micros.div_euclid(DAY);
            let rest = micros.rem_euclid(DAY);
            let (seconds, fraction) = ((rest / 1_000_000) as i32, (rest % 1_000_000) as i32);
            PyDelta::new(py, i32::try_from(days)?, seconds, fraction, false)?.into_any()
        }
        Special::Uuid(_) => {
            static UUID: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
            UUID.import(py, "uuid", "UUID")?.call1((text,))?
        }
        Special::Date(None) | Special::LocalTimestamp(None) => return none(),
        _ => PyString::new(py, text).into_any(),
    })
}

/// As psycopg gives them: `numeric` is a Decimal, `json` is parsed.
fn to_python<'py>(py: Python<'py>, value: &Value, how: &How<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Bool(b) => b.into_pyobject(py)?.to_owned().into_any(),
        Value::Int(n) => n.into_pyobject(py)?.into_any(),
        Value::Float(n) => n.into_pyobject(py)?.into_any(),
        Value::Text(text) => PyString::new(py, text).into_any(),
        Value::Json(text) => how.json_loads.call1((text,))?,
        Value::Numeric(text) => decimal(py, text)?,
        Value::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
        Value::Timestamp(at) => timestamp_in(*at, how.zone)?,
        Value::Special(special, text) => self::special(py, *special, text)?,
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| to_python(py, item, how)).collect::<PyResult<_>>()?;
            PyList::new(py, items)?.into_any()
        }
        // NULL, and what a newer core may know besides.
        _ => py.None().into_bound(py),
    })
}

/// The rows as tuples.
pub fn rows<'py>(py: Python<'py>, result: &ResultSet, how: &How<'_, 'py>) -> PyResult<Bound<'py, PyList>> {
    let row = |row: &Vec<Value>| -> PyResult<Bound<'py, PyTuple>> {
        let cells: Vec<_> = row.iter().map(|cell| to_python(py, cell, how)).collect::<PyResult<_>>()?;
        PyTuple::new(py, cells)
    };
    let rows: Vec<_> = result.rows.iter().map(row).collect::<PyResult<_>>()?;
    PyList::new(py, rows)
}

/// `pgque.Rows`: a list of dictionaries.
pub fn table(py: Python<'_>, result: ResultSet) -> PyResult<Py<PyAny>> {
    let kind = py.import(intern!(py, "pgque.types"))?.getattr(intern!(py, "Rows"))?;
    // The information calls speak of moments and have no zone of a session's.
    let utc = zone(py, "")?;
    let how = How { json_loads: json_loads(py)?, zone: &utc };
    kind.call1((&result.columns, rows(py, &result, &how)?)).map(Bound::unbind)
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
