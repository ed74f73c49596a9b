//! Calls on an asynchronous connection of the caller's. The task that makes a call asks the connection itself, so that
//! cancellation, context variables and the driver's own rules hold as for any other statement of the caller's.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use pgque::{BoxFuture, Error, ForeignConnection, ForeignError, Kind, Placeholder, Result, ServerError};
use pyo3::intern;
use pyo3::prelude::*;
use tokio::sync::oneshot;

use crate::asynchronous::Convert;
use crate::error::{Passing, set_passing, take_passing, to_py};
use crate::foreign::text;

type Rows = Vec<Vec<Option<String>>>;
type Answer = std::result::Result<Rows, ForeignError>;
/// A statement with its parameters.
type Asking = Option<(String, Vec<Option<String>>)>;
/// SQLSTATE, message, detail, hint, constraint.
type Facts = (String, String, Option<String>, Option<String>, Option<String>);

/// A statement that the core wants to be run.
struct Question {
    sql: String,
    params: Vec<Option<String>>,
    answer: oneshot::Sender<Answer>,
}

thread_local! {
    /// What the call that is being taken further on this thread has asked.
    static ASKED: RefCell<Vec<Question>> = const { RefCell::new(vec![]) };
}

/// The caller's connection, as the core sees it.
pub struct Asked(Placeholder);

impl Asked {
    /// `caller` is one of `pgque._callers`.
    pub fn of(caller: &Bound<'_, PyAny>) -> PyResult<Asked> {
        let dollar = caller.getattr(intern!(caller.py(), "numbered"))?.is_truthy()?;
        Ok(Asked(if dollar { Placeholder::DollarText } else { Placeholder::Percent }))
    }
}

impl ForeignConnection for Asked {
    fn placeholder(&self) -> Placeholder {
        self.0
    }

    fn query<'a>(&'a self, sql: &'a str, params: Vec<Option<String>>) -> BoxFuture<'a, Answer> {
        let (answer, answered) = oneshot::channel();
        ASKED.with_borrow_mut(|asked| asked.push(Question { sql: sql.to_owned(), params, answer }));
        let gone = |_| Err(ForeignError::Connection("the call was given up".into()));
        Box::pin(async move { answered.await.unwrap_or_else(gone) })
    }
}

/// One call: gives a statement to run, is told what came of it, and so on until there is none.
#[pyclass(module = "pgque._pgque", frozen)]
pub struct Dialogue {
    #[pyo3(get)]
    caller: Py<PyAny>,
    state: Mutex<State>,
}

struct State {
    work: Pin<Box<dyn Future<Output = Convert> + Send>>,
    /// A driver runs one statement at a time.
    questions: VecDeque<Question>,
    asked: Option<Question>,
    /// With the driver's exception that ended the call.
    outcome: Option<(Convert, Option<Passing>)>,
}

impl Dialogue {
    pub fn new<T: Send + 'static>(
        caller: Py<PyAny>,
        work: impl Future<Output = Result<T>> + Send + 'static,
        convert: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> Dialogue {
        let work = async move {
            let outcome = work.await;
            Box::new(move |py: Python<'_>| convert(py, outcome.map_err(to_py)?)) as Convert
        };
        let questions = VecDeque::new();
        let state = Mutex::new(State { work: Box::pin(work), questions, asked: None, outcome: None });
        Dialogue { caller, state }
    }

    /// Takes the call to its next question, or to its end.
    fn go_on(&self, py: Python<'_>, answer: Option<Answer>) -> PyResult<Asking> {
        py.detach(|| self.state.lock().unwrap_or_else(PoisonError::into_inner).go_on(answer)).map_err(to_py)
    }
}

impl State {
    fn go_on(&mut self, answer: Option<Answer>) -> Result<Asking> {
        let passing = take_passing();
        if let (Some(answer), Some(question)) = (answer, self.asked.take()) {
            // Not wanted any more if another of the call's statements has failed.
            let _ = question.answer.send(answer);
        }
        // Nobody else wakes it: what it waits for are the answers to its questions.
        if let Poll::Ready(convert) = self.work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            self.outcome = Some((convert, passing));
            ASKED.take();
            return Ok(None);
        }
        self.questions.extend(ASKED.take());
        let message = "the call waits for something that is no statement; this is a defect in the library";
        let mut question = self.questions.pop_front().ok_or_else(|| Error::new(Kind::Internal, "call", message))?;
        let statement = (std::mem::take(&mut question.sql), std::mem::take(&mut question.params));
        self.asked = Some(question);
        Ok(Some(statement))
    }
}

#[pymethods]
impl Dialogue {
    /// The first statement and its parameters; None if the call needs none.
    fn begin(&self, py: Python<'_>) -> PyResult<Asking> {
        take_passing();
        self.go_on(py, None)
    }

    /// The next statement after these rows, or None.
    fn answered(&self, rows: &Bound<'_, PyAny>) -> PyResult<Asking> {
        let py = rows.py();
        let row = |row: PyResult<Bound<'_, PyAny>>| row?.try_iter()?.map(|cell| text(&cell?)).collect();
        let rows = rows.try_iter()?.map(row).collect::<PyResult<Rows>>()?;
        take_passing();
        self.go_on(py, Some(Ok(rows)))
    }

    /// The next statement after the driver's exception, or None: what the server said, if it was the server.
    fn refused(&self, error: &Bound<'_, PyAny>, server: Option<Facts>) -> PyResult<Asking> {
        let answer = match server {
            Some((sqlstate, message, detail, hint, constraint)) => {
                ForeignError::Server(ServerError { sqlstate, message, detail, hint, constraint })
            }
            None => ForeignError::Connection(error.str()?.to_string_lossy().into_owned()),
        };
        set_passing(Some(Passing::Cause(PyErr::from_value(error.clone()))));
        self.go_on(error.py(), Some(Err(answer)))
    }

    /// What the call gives, once there is no next statement.
    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let outcome = self.state.lock().unwrap_or_else(PoisonError::into_inner).outcome.take();
        let message = "the call is not at its end; this is a defect in the library";
        let (convert, passing) = outcome.ok_or_else(|| to_py(Error::new(Kind::Internal, "call", message)))?;
        set_passing(passing);
        let result = convert(py);
        take_passing();
        result
    }
}
