//! What is sent: any JSON-able value, JSON text, `pgque.Event`, `pgque.Text`.

use pgque::{Event, Payload, Payloads};
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString, PyType};

use crate::error::invalid;
use crate::json::{self, Unusual};

/// `send`'s arguments as an event of the core. A type or an extra field of a `pgque.Event` beats the keyword.
pub fn event(
    py: Python<'_>,
    payload: Option<Bound<'_, PyAny>>,
    event_type: Option<String>,
    mut extra: [Option<String>; 4],
) -> PyResult<Event> {
    let payload = payload.unwrap_or_else(|| py.None().into_bound(py));
    if !is_instance(&payload, &EVENT, "Event")? {
        return Ok(Event { event_type, payload: one(&payload)?, extra });
    }
    let event_type = payload.getattr(intern!(py, "type"))?.extract()?;
    let given = payload.getattr(intern!(py, "extra"))?;
    for (name, value) in ["extra1", "extra2", "extra3", "extra4"].iter().zip(&mut extra) {
        if let Ok(item) = given.get_item(name) {
            let why = |e| invalid(py, "send", format!("{name} of the event must be a str or None"), e);
            *value = item.extract().map_err(why)?;
        }
    }
    Ok(Event { event_type, payload: one(&payload.getattr(intern!(py, "payload"))?)?, extra })
}

fn one(value: &Bound<'_, PyAny>) -> PyResult<Payload> {
    Ok(match as_text(value, "send", "payload")? {
        Some(text) => Payload::Text(text),
        None => Payload::Json(json_text(value, "send", || "payload".into())?),
    })
}

/// The payloads of one batch: all `pgque.Text`, or none of them.
pub fn batch(payloads: &Bound<'_, PyAny>) -> PyResult<Payloads> {
    let py = payloads.py();
    // Text would be taken apart into characters, a dict into its keys: never what was meant.
    if payloads.is_instance_of::<PyString>()
        || payloads.is_instance_of::<PyBytes>()
        || payloads.is_instance_of::<PyDict>()
    {
        let message = format!("payloads must be an iterable of payloads, not one {}", payloads.get_type());
        return Err(invalid(py, "send_batch", message.clone(), PyTypeError::new_err(message)));
    }
    let (mut json, mut texts) = (Vec::new(), Vec::new());
    for (i, value) in payloads.try_iter()?.enumerate() {
        let (value, name) = (value?, || format!("payloads[{i}]"));
        match as_text(&value, "send_batch", "payloads")? {
            Some(text) => texts.push(text),
            None => json.push(json_text(&value, "send_batch", name)?),
        }
        if !json.is_empty() && !texts.is_empty() {
            let message = format!("payloads[{i}]: a batch is all pgque.Text or none");
            return Err(invalid(py, "send_batch", message.clone(), PyTypeError::new_err(message)));
        }
    }
    Ok(if texts.is_empty() { Payloads::Json(json) } else { Payloads::Text(texts) })
}

/// JSON text of a value; whether text is JSON is for the core to say.
fn json_text(value: &Bound<'_, PyAny>, op: &'static str, name: impl Fn() -> String) -> PyResult<String> {
    let py = value.py();
    let write = || -> PyResult<String> {
        if let Ok(text) = value.cast::<PyString>() {
            return text.extract();
        }
        match json::encode(value) {
            Ok(text) => Ok(text),
            Err(Unusual) => unusual(value),
        }
    };
    write().map_err(|e| {
        let reason = e.value(py).to_string();
        invalid(py, op, format!("{} is not valid JSON: {reason}", name()), e)
    })
}

fn unusual(value: &Bound<'_, PyAny>) -> PyResult<String> {
    match encoder(value.py())?.call1((value,)) {
        Ok(text) => text.extract(),
        Err(refused) => psycopg_json(value)?.ok_or(refused),
    }
}

/// The encoder is made once: `json.dumps` with options makes a new one for each call.
fn encoder(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static ENCODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make = || -> PyResult<Py<PyAny>> {
        let options = PyDict::new(py);
        // NaN is not JSON, and text need not grow by escapes.
        options.set_item("allow_nan", false)?;
        options.set_item("ensure_ascii", false)?;
        let encoder = py.import("json")?.getattr("JSONEncoder")?.call((), Some(&options))?;
        Ok(encoder.getattr("encode")?.unbind())
    };
    Ok(ENCODE.get_or_try_init(py, make)?.bind(py))
}

/// psycopg's wrappers `Json` and `Jsonb`, which its users put around values; known by their shape.
fn psycopg_json(value: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    let py = value.py();
    if !value.get_type().module()?.to_string().starts_with("psycopg.types.json") {
        return Ok(None);
    }
    let inner = value.getattr(intern!(py, "obj"))?;
    let dumps = value.getattr(intern!(py, "dumps"))?;
    let text = if dumps.is_none() { encoder(py)?.call1((inner,))? } else { dumps.call1((inner,))? };
    match text.cast::<PyBytes>() {
        Ok(bytes) => Ok(Some(String::from_utf8(bytes.as_bytes().to_vec())?)),
        Err(_) => text.extract().map(Some),
    }
}

static EVENT: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static TEXT: PyOnceLock<Py<PyType>> = PyOnceLock::new();

fn is_instance(value: &Bound<'_, PyAny>, class: &'static PyOnceLock<Py<PyType>>, name: &str) -> PyResult<bool> {
    value.is_instance(class.import(value.py(), "pgque.types", name)?)
}

/// The content of a `pgque.Text`; `None` for any other value.
fn as_text(value: &Bound<'_, PyAny>, op: &'static str, argument: &str) -> PyResult<Option<Option<String>>> {
    if !is_instance(value, &TEXT, "Text")? {
        return Ok(None);
    }
    let py = value.py();
    let why = |e| invalid(py, op, format!("{argument}: pgque.Text must hold valid text or None"), e);
    value.getattr(intern!(py, "value"))?.extract().map(Some).map_err(why)
}
