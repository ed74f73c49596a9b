//! Calls for asyncio: begun on the loop's thread, taken further by the core, answered through the loop.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use pgque::Call;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

use crate::error::{outcome, take_passing, to_py};

/// A call under way: its future, and the means to give it up.
#[pyclass(module = "pgque._pgque", frozen)]
pub struct Begun {
    call: Call,
    #[pyo3(get)]
    future: Py<PyAny>,
}

#[pymethods]
impl Begun {
    /// Nobody waits any more. A statement on its way is cancelled at the server.
    fn abandon(&self, py: Python<'_>) {
        // Without the interpreter: the thread that takes the call further may be writing a log line.
        py.detach(|| self.call.abandon());
    }
}

/// Begins a call on behalf of the running loop; its outcome is converted on the loop's thread.
pub fn begin<T: Send + 'static>(
    py: Python<'_>,
    work: impl Future<Output = pgque::Result<T>> + Send + 'static,
    convert: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
) -> PyResult<Bound<'_, Begun>> {
    let running = running_loop(py)?;
    let inbox = Inbox::of(&running)?;
    let future = running.call_method0(intern!(py, "create_future"))?.unbind();
    let waiting = future.clone_ref(py);
    let deliver = move |outcome: pgque::Result<T>| {
        let convert = Box::new(move |py: Python<'_>| convert(py, outcome.map_err(to_py)?));
        inbox.put(Answer { future: waiting, convert });
    };
    take_passing();
    let call = py.detach(|| Call::begin(work, deliver)).map_err(to_py)?;
    // Ctrl-C may have come out in a log line that the call wrote.
    if let Err(interrupted) = outcome(Ok(())) {
        py.detach(|| call.abandon());
        return Err(interrupted);
    }
    Bound::new(py, Begun { call, future })
}

fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static GET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    GET.import(py, "asyncio", "get_running_loop")?.call0()
}

/// Makes of an outcome what Python is given.
pub type Convert = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;

/// An outcome on its way to its future.
struct Answer {
    future: Py<PyAny>,
    convert: Convert,
}

impl Answer {
    fn hand_over(self, py: Python<'_>) -> PyResult<()> {
        let future = self.future.bind(py);
        // Cancelled while the answer was on its way.
        if future.call_method0(intern!(py, "done"))?.is_truthy()? {
            return Ok(());
        }
        match (self.convert)(py) {
            Ok(value) => future.call_method1(intern!(py, "set_result"), (value,))?,
            Err(error) => future.call_method1(intern!(py, "set_exception"), (error,))?,
        };
        Ok(())
    }
}

/// Where the core's threads leave answers for one loop. They wake it through a socket, once for all that has come since
/// it last looked, so that none of them ever waits for the interpreter: it may be held for long by a handler, while
/// heart-beats must go on.
///
/// The loop holds it, as a reader, until it is closed.
struct Inbox {
    /// Whose it is. An address alone may be that of a later loop.
    owner: Py<PyWeakrefReference>,
    address: usize,
    answers: Mutex<Vec<Answer>>,
    woken: AtomicBool,
    bell: UnixStream,
    ear: UnixStream,
}

static INBOXES: LazyLock<Mutex<HashMap<usize, Weak<Inbox>>>> = LazyLock::new(Mutex::default);

fn inboxes() -> MutexGuard<'static, HashMap<usize, Weak<Inbox>>> {
    INBOXES.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inbox {
    fn of(running: &Bound<'_, PyAny>) -> PyResult<Arc<Inbox>> {
        let known = inboxes().get(&(running.as_ptr() as usize)).and_then(Weak::upgrade);
        match known {
            Some(inbox) if inbox.is_of(running) => Ok(inbox),
            _ => Inbox::open(running),
        }
    }

    fn is_of(&self, running: &Bound<'_, PyAny>) -> bool {
        self.owner.bind(running.py()).upgrade().is_some_and(|owner| owner.is(running))
    }

    fn open(running: &Bound<'_, PyAny>) -> PyResult<Arc<Inbox>> {
        let py = running.py();
        let (bell, ear) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        let address = running.as_ptr() as usize;
        let owner = PyWeakrefReference::new(running)?.unbind();
        let (answers, woken) = (Mutex::default(), AtomicBool::new(false));
        let inbox = Arc::new(Inbox { owner, address, answers, woken, bell, ear });
        let reader = Reader(inbox.clone());
        running.call_method1(intern!(py, "add_reader"), (inbox.ear.as_raw_fd(), reader))?;
        inboxes().insert(address, Arc::downgrade(&inbox));
        Ok(inbox)
    }

    fn put(&self, answer: Answer) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
        if !self.woken.swap(true, Ordering::SeqCst) {
            // Fails only where nobody listens any more.
            let _ = (&self.bell).write(&[0]);
        }
    }

    fn take(&self) -> Vec<Answer> {
        let _ = (&self.ear).read(&mut [0; 16]);
        // First: who puts an answer from now on rings again.
        self.woken.store(false, Ordering::SeqCst);
        std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut inboxes = inboxes();
        // A later loop at the same address has put its own in this one's place.
        if inboxes.get(&self.address).is_some_and(|known| known.strong_count() == 0) {
            inboxes.remove(&self.address);
        }
    }
}

/// What the loop calls when there are answers.
#[pyclass(module = "pgque._pgque", frozen)]
struct Reader(Arc<Inbox>);

#[pymethods]
impl Reader {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        // To the last, whatever comes of one.
        self.0.take().into_iter().map(|answer| answer.hand_over(py)).fold(Ok(()), Result::and)
    }
}
