//! `pgque.Message`: a handle on a message of a batch that the core decoded.
//!
//! Python objects are made when a field is read, which makes receiving several times cheaper than filling
//! objects. The price: one living message keeps its whole batch in memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use crate::error::invalid;
use crate::ffi::instance_dict;
use crate::value::{json_loads, timestamp_in, zone};

const FIELDS: [&str; 10] =
    ["msg_id", "batch_id", "type", "payload", "retry_count", "created_at", "extra1", "extra2", "extra3", "extra4"];

/// The messages of one answer, and the zone in which their times are told.
pub struct Page {
    held: Held,
    zone: Py<PyAny>,
}

enum Held {
    Received(pgque::Messages),
    Batch(Arc<pgque::Batch>),
}

impl Page {
    pub fn received(messages: pgque::Messages, zone: Bound<'_, PyAny>) -> Arc<Page> {
        Arc::new(Page { held: Held::Received(messages), zone: zone.unbind() })
    }

    pub fn of_batch(py: Python<'_>, batch: Arc<pgque::Batch>) -> PyResult<Arc<Page>> {
        let zone = zone(py, batch.time_zone())?.unbind();
        Ok(Arc::new(Page { held: Held::Batch(batch), zone }))
    }

    fn len(&self) -> usize {
        match &self.held {
            Held::Received(messages) => messages.len(),
            Held::Batch(batch) => batch.messages().len(),
        }
    }

    fn get(&self, index: usize) -> pgque::MessageRef<'_> {
        match &self.held {
            Held::Received(messages) => messages.get(index),
            Held::Batch(batch) => (&batch.messages()[index]).into(),
        }
    }

    pub fn message(self: &Arc<Page>, index: usize) -> Message {
        Message { shared: Some((self.clone(), index)), own: Mutex::default() }
    }

    /// A list of `pgque.Message`.
    pub fn list<'py>(self: &Arc<Page>, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let messages: Vec<_> = (0..self.len()).map(|i| Bound::new(py, self.message(i))).collect::<PyResult<_>>()?;
        PyList::new(py, messages)
    }
}

/// One event as a consumer receives it.
///
/// `payload` is the stored text, and `json()` what it says; `type`, `payload` and `extra1` to `extra4` are None where
/// the sender gave NULL. `retry_count` is None at the first delivery.
#[pyclass(module = "pgque.types", subclass, dict, weakref, frozen)]
pub struct Message {
    /// The place in the answer.
    shared: Option<(Arc<Page>, usize)>,
    /// Made by hand, or changed. The garbage collector may look here before anything is, while the interpreter still
    /// makes the object out of zeros: to a Mutex and a Box these are unlocked and None.
    ///
    /// Any thread may read and set, as with a dataclass. Nothing of Python's is called, and no object let go of, while
    /// it is locked: either may have to wait for a thread that waits here.
    own: Mutex<Own>,
}

/// Any objects, as in a dataclass.
type Own = Option<Box<[Py<PyAny>; 10]>>;

impl Message {
    fn field<'py>(&self, py: Python<'py>, index: usize) -> PyResult<Bound<'py, PyAny>> {
        if let Some(fields) = &*self.own() {
            return Ok(fields[index].bind(py).clone());
        }
        let Some((page, at)) = &self.shared else {
            return Ok(py.None().into_bound(py));
        };
        let message = page.get(*at);
        let text = |text: Option<&str>| match text {
            Some(text) => PyString::new(py, text).into_any(),
            None => py.None().into_bound(py),
        };
        Ok(match index {
            0 => message.msg_id.into_pyobject(py)?.into_any(),
            1 => message.batch_id.into_pyobject(py)?.into_any(),
            2 => text(message.event_type),
            3 => text(message.payload),
            4 => message.retry_count.into_pyobject(py)?.into_any(),
            5 => timestamp_in(message.created_at, page.zone.bind(py))?,
            extra => text(message.extra[extra - 6]),
        })
    }

    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        (0..FIELDS.len()).map(|index| self.field(py, index)).collect()
    }

    fn set(&self, py: Python<'_>, index: usize, value: Py<PyAny>) -> PyResult<()> {
        if self.own().is_none() {
            let fields: Vec<_> = self.fields(py)?.into_iter().map(Bound::unbind).collect();
            let mut fields = fields.try_into().ok();
            let mut own = self.own();
            // Unless another thread was first.
            if own.is_none() {
                std::mem::swap(&mut *own, &mut fields);
            }
        }
        let old = self.own().as_mut().map(|fields| std::mem::replace(&mut fields[index], value));
        drop(old);
        Ok(())
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What makes an empty one, its arguments, and the attributes to set.
type Reduced<'py> = (Bound<'py, PyAny>, Bound<'py, PyTuple>, Bound<'py, PyDict>);

#[pymethods]
impl Message {
    #[classattr]
    fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        PyTuple::new(py, FIELDS)
    }

    /// Takes anything: `__init__`, which a subclass may replace, is given the fields.
    #[new]
    #[pyo3(
        signature = (*_args, **_kwargs),
        text_signature = "(msg_id, batch_id, type, payload, retry_count, created_at, \
            extra1=None, extra2=None, extra3=None, extra4=None)"
    )]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Message {
        Message { shared: None, own: Mutex::default() }
    }

    #[pyo3(signature = (
        msg_id, batch_id, r#type, payload, retry_count, created_at,
        extra1=None, extra2=None, extra3=None, extra4=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "a message has ten fields")]
    fn __init__(
        &self,
        py: Python<'_>,
        msg_id: Py<PyAny>,
        batch_id: Py<PyAny>,
        r#type: Py<PyAny>,
        payload: Py<PyAny>,
        retry_count: Py<PyAny>,
        created_at: Py<PyAny>,
        extra1: Option<Py<PyAny>>,
        extra2: Option<Py<PyAny>>,
        extra3: Option<Py<PyAny>>,
        extra4: Option<Py<PyAny>>,
    ) {
        let [extra1, extra2, extra3, extra4] =
            [extra1, extra2, extra3, extra4].map(|extra| extra.unwrap_or_else(|| py.None()));
        let old = self.own().replace(Box::new([
            msg_id,
            batch_id,
            r#type,
            payload,
            retry_count,
            created_at,
            extra1,
            extra2,
            extra3,
            extra4,
        ]));
        drop(old);
    }

    /// The payload parsed as JSON; NULL gives None.
    fn json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let payload = self.field(py, 3)?;
        if payload.is_none() {
            return Ok(payload);
        }
        json_loads(py)?.call1((&payload,)).map_err(|e| {
            let id = self.field(py, 0).map(|id| id.to_string()).unwrap_or_default();
            let reason = e.value(py).to_string();
            invalid(py, "json", format!("payload of message {id} is not JSON: {reason}"), e)
        })
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let mut parts = Vec::with_capacity(FIELDS.len());
        for (name, value) in FIELDS.iter().zip(self.fields(py)?) {
            parts.push(format!("{name}={}", value.repr()?));
        }
        Ok(format!("Message({})", parts.join(", ")))
    }

    fn __eq__<'py>(&self, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = other.py();
        let Ok(other) = other.cast::<Message>() else {
            return Ok(py.NotImplemented().into_bound(py));
        };
        let equal = PyTuple::new(py, self.fields(py)?)?.eq(PyTuple::new(py, other.get().fields(py)?)?)?;
        Ok(equal.into_pyobject(py)?.to_owned().into_any())
    }

    /// As of a dataclass: the fields, then what the program has added. A copy, for the fields do not live there.
    #[getter(__dict__)]
    fn dict<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        let py = slf.py();
        let all = PyDict::new(py);
        for (name, value) in FIELDS.iter().zip(slf.get().fields(py)?) {
            all.set_item(name, value)?;
        }
        all.update(instance_dict(slf.as_any())?.as_mapping())?;
        Ok(all)
    }

    /// The form that pickle has for a dataclass, so that what one was pickled as is read here as well.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Reduced<'py>> {
        static NEW: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = slf.py();
        let new = NEW.import(py, "copyreg", "__newobj__")?.clone();
        Ok((new, PyTuple::new(py, [slf.get_type()])?, Message::dict(slf)?))
    }

    fn __setstate__(slf: &Bound<'_, Self>, state: &Bound<'_, PyDict>) -> PyResult<()> {
        state.iter().try_for_each(|(name, value)| slf.setattr(name.cast::<PyString>()?, value))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.own().iter().flat_map(|fields| fields.iter()).try_for_each(|field| visit.call(field))
    }

    fn __clear__(&self) {
        let old = self.own().take();
        drop(old);
    }

    #[getter]
    fn get_msg_id<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.field(py, 0)
    }

    #[setter]
    fn set_msg_id(&self, py: Python<'_>, value: Py<PyAny>) -> PyResult<()> {
        self.set(py, 0, value)
    }

    #[getter]
    fn get_batch_id<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.field(py, 1)
    }

    #[setter]
    fn set_batch_id(&self, py: Python<'_>, value: Py<PyAny>) -> PyResult<()> {
        self.set(py, 1, value)
    }

    #[getter]
    fn get_type<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.field(py, 2)
    }

    #[setter]
    fn set_type(&self, py: Python<'_>, value: Py<PyAny>) -> PyResult<()> {
        self.set(py, 2, value)
    }

    #[getter]
    fn get_payload<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.field(py, 3)
    }

    #[setter]
    fn set_payload(&self, py: Python<'_>, value: Py<PyAny>) -> PyResult<()> {
        self.set(py, 3, value)
    }

    #[getter]
    fn get_retry_count<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.field(py, 4)
    }

    #[setter]
    fn set_retry_count(&self, py: Python<'_>, value: Py<PyAny>) -> PyResult<()> {
        self.set(py, 4, value)
    }

    #[getter]
    fn get_created_at<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.field(py, 5)
    }

    #[setter]
    fn set_created_at(&self, py: Python<'_>, value: Py<PyAny>) -> PyResult<()> {
        self.set(py, 5, value)
    }

    #[getter]
    fn get_extra1<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.field(py, 6)
    }

    #[setter]
    fn set_extra1(&self, py: Python<'_>, value: Py<PyAny>) -> PyResult<()> {
        self.set(py, 6, value)
    }

    #[getter]
    fn get_extra2<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.field(py, 7)
    }

    #[setter]
    fn set_extra2(&self, py: Python<'_>, value: Py<PyAny>) -> PyResult<()> {
        self.set(py, 7, value)
    }

    #[getter]
    fn get_extra3<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.field(py, 8)
    }

    #[setter]
    fn set_extra3(&self, py: Python<'_>, value: Py<PyAny>) -> PyResult<()> {
        self.set(py, 8, value)
    }

    #[getter]
    fn get_extra4<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.field(py, 9)
    }

    #[setter]
    fn set_extra4(&self, py: Python<'_>, value: Py<PyAny>) -> PyResult<()> {
        self.set(py, 9, value)
    }
}

/// The id of a message given as `pgque.Message`, as any object with a `msg_id`, or as the number itself.
pub struct MessageId(pub i64);

impl<'py> FromPyObject<'_, 'py> for MessageId {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<MessageId> {
        match value.extract::<i64>() {
            Ok(id) => Ok(MessageId(id)),
            Err(_) => value.getattr(intern!(value.py(), "msg_id"))?.extract().map(MessageId),
        }
    }
}
