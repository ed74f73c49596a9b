//! A batch in the hands of Python's handlers.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use pgque::{Outcome, Verdict};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::client::lent;
use crate::error::outcome;
use crate::face::{Face, plain};
use crate::logging::with_exception;
use crate::message::{Message, Page};
use crate::verdict::{Decision, PyVerdict};
use crate::wait::wait;

/// The messages of one batch, or of a page of a large one, and what the handlers made of them.
#[pyclass(module = "pgque._pgque", frozen)]
pub struct Batch {
    consumer: pgque::Consumer,
    core: Arc<pgque::Batch>,
    /// Whether handing out may write log lines, whose writers may wait for the interpreter.
    logs: bool,
    page: Arc<Page>,
    lanes: Mutex<Lanes>,
}

/// The lanes on threads that `wait_lanes` waits for.
#[derive(Default)]
struct Lanes {
    ended: usize,
    given_up: bool,
    waiting: Option<Waker>,
}

impl Batch {
    pub fn new(py: Python<'_>, consumer: pgque::Consumer, core: Arc<pgque::Batch>) -> PyResult<Batch> {
        // The core writes a line for each message that has no handler.
        let logs = (0..core.messages().len()).any(|index| core.handler(index).is_none());
        let page = Page::of_batch(py, core.clone())?;
        Ok(Batch { consumer, core, logs, page, lanes: Mutex::default() })
    }

    pub fn core(&self) -> &Arc<pgque::Batch> {
        &self.core
    }

    /// The number of a message's handler, and the message. Those that have none are not handed out.
    fn handed(&self, index: usize) -> (usize, Message) {
        (self.core.handler(index).unwrap_or_default(), self.message(index))
    }

    fn place(slf: &Bound<'_, Self>, index: usize) -> (Lane, Message) {
        (Lane { batch: slf.clone().unbind(), index: Some(index), settled: false }, slf.get().message(index))
    }

    fn message(&self, index: usize) -> Message {
        self.page.message(index)
    }

    /// Acknowledges one message and takes the next.
    fn step(&self, py: Python<'_>, done: Option<usize>) -> PyResult<Option<usize>> {
        let acknowledge = || done.into_iter().for_each(|index| self.core.settle(index, Verdict::Ack));
        if self.core.client().is_some() {
            return wait(py, async {
                acknowledge();
                self.consumer.take(&self.core).await
            });
        }
        let step = || {
            if self.lanes().given_up {
                acknowledge();
                return None;
            }
            self.core.next(done)
        };
        // Only where a line may be written: letting go of the interpreter at each message, while other threads wait
        // for it, was measured to halve the rate.
        if self.logs { outcome(Ok(py.detach(step))) } else { Ok(step()) }
    }

    fn change(&self, change: impl FnOnce(&mut Lanes)) {
        let mut lanes = self.lanes();
        change(&mut lanes);
        let waiting = lanes.waiting.take();
        drop(lanes);
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Batch {
    fn __len__(&self) -> usize {
        self.core.messages().len()
    }

    #[getter]
    fn id(&self) -> i64 {
        self.core.id()
    }

    /// How many lanes of handlers may run at once.
    #[getter]
    fn lanes_max(&self) -> usize {
        self.core.lanes()
    }

    /// In transactional mode, the client of the transaction.
    fn client<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.core.client().map(|client| lent(py, client, Face::Blocking)).transpose()
    }

    /// The same for a handler that is a coroutine.
    fn client_async<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.core.client().map(|client| lent(py, client, Face::Async)).transpose()
    }

    /// A lane: hands out messages, one after the other, until there are no more.
    fn lane(slf: &Bound<'_, Self>) -> Lane {
        Lane { batch: slf.clone().unbind(), index: None, settled: false }
    }

    /// For a handler of whole batches: every message, with a lane that stands at it. Empty if the consumer stops.
    fn take_all(slf: &Bound<'_, Self>) -> PyResult<Vec<(Lane, Message)>> {
        let batch = slf.get();
        let taken = wait(slf.py(), batch.consumer.take_all(&batch.core))?;
        Ok(taken.into_iter().map(|index| Batch::place(slf, index)).collect())
    }

    /// The same for a handler that is a coroutine.
    fn take_all_async<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (consumer, core) = (slf.get().consumer.clone(), slf.get().core.clone());
        let batch = slf.clone().unbind();
        Face::Async.call(slf.py(), async move { consumer.take_all(&core).await }, move |py, taken| {
            let places: Vec<_> = taken.into_iter().map(|index| Batch::place(batch.bind(py), index)).collect();
            plain(py, places)
        })
    }

    /// A lane on a thread has come to its end.
    fn lane_ended(&self, py: Python<'_>) {
        py.detach(|| self.change(|lanes| lanes.ended += 1));
    }

    /// The run is over, whatever becomes of the batch: hand nothing more out, and wait for no lane.
    fn give_up(&self, py: Python<'_>) {
        py.detach(|| self.change(|lanes| lanes.given_up = true));
    }

    /// Wait until so many lanes have ended, or are not to be waited for any more.
    fn wait_lanes(&self, py: Python<'_>, count: usize) -> PyResult<()> {
        wait(py, async {
            let mut overdue = pin!(self.consumer.overdue());
            poll_fn(|context| {
                let mut lanes = self.lanes();
                let over = lanes.given_up || lanes.ended >= count;
                lanes.waiting = Some(context.waker().clone());
                drop(lanes);
                if over || overdue.as_mut().poll(context).is_ready() { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            Ok(())
        })
    }
}

/// Hands out one message after the other, each as the number of its handler and the message.
///
/// Asking for the next acknowledges the one before, unless that was settled. One thread at a time.
#[pyclass(module = "pgque._pgque")]
pub struct Lane {
    batch: Py<Batch>,
    index: Option<usize>,
    settled: bool,
}

impl Lane {
    fn index(&self) -> PyResult<usize> {
        self.index.ok_or_else(|| PyRuntimeError::new_err("the lane stands at no message"))
    }

    /// Without the interpreter: the core may write a line, whose writer needs it.
    fn tell(&mut self, py: Python<'_>, what: impl Into<Outcome> + Send) -> PyResult<()> {
        let index = self.index()?;
        self.settled = true;
        let batch = &self.batch.get().core;
        py.detach(|| batch.settle(index, what));
        outcome(Ok(()))
    }
}

#[pymethods]
impl Lane {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Option<(usize, Message)>> {
        let done = self.index.take().filter(|_| !self.settled);
        self.settled = false;
        let batch = self.batch.get();
        self.index = batch.step(py, done)?;
        Ok(self.index.map(|index| batch.handed(index)))
    }

    /// As `next`, where a transaction has to be told between two messages; None at the end.
    fn take_async<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let (done, core, consumer) = {
            let mut lane = slf.borrow_mut();
            let done = lane.index.take().filter(|_| !lane.settled);
            lane.settled = false;
            let batch = lane.batch.get();
            (done, batch.core.clone(), batch.consumer.clone())
        };
        let take = async move {
            if let Some(index) = done {
                core.settle(index, Verdict::Ack);
            }
            consumer.take(&core).await
        };
        let lane = slf.clone().unbind();
        Face::Async.call(py, take, move |py, index| {
            let mut lane = lane.bind(py).borrow_mut();
            lane.index = index;
            plain(py, index.map(|index| lane.batch.get().handed(index)))
        })
    }

    /// Which delivery of the message this is, from 1.
    #[getter]
    fn attempt(&self) -> PyResult<i64> {
        let index = self.index()?;
        Ok(self.batch.get().core.messages()[index].attempt())
    }

    /// Say what becomes of the message.
    fn settle(&mut self, py: Python<'_>, verdict: PyVerdict) -> PyResult<()> {
        self.tell(py, verdict.0)
    }

    /// Say that the handler failed; the options decide. The exception goes into the log, the text with the message.
    fn fail(&mut self, reason: &Bound<'_, PyString>, error: Option<Py<PyAny>>) -> PyResult<()> {
        let (py, index, text) = (reason.py(), self.index()?, lossy(reason));
        self.settled = true;
        // The exception says the same and more.
        let detail = if error.is_some() { "" } else { text.as_str() };
        let batch = &self.batch.get().core;
        with_exception(error, || {
            py.detach(|| batch.fail(index, &text, detail));
            outcome(Ok(()))
        })
    }

    /// Put a decision on a failure in place of the options': a delay, `pgque.Retry` or `pgque.Dead`.
    fn overrule(&mut self, decision: Decision, reason: &Bound<'_, PyString>) -> PyResult<()> {
        self.tell(reason.py(), decision.0.or_reason(lossy(reason)).0)
    }
}

/// An error's text may hold anything; that must not keep the failure from being told.
fn lossy(text: &Bound<'_, PyString>) -> String {
    text.to_string_lossy().into_owned()
}
