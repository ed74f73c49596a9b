//! The two clients, on a connection of ours or on the caller's; what they can do stands in `operations.rs`.

use std::sync::{Arc, Mutex, PoisonError};

use pgque::{Client, Result};
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::connection::{AsyncConnection, Connection, Handle};
use crate::dialogue::{Asked, Dialogue};
use crate::error::to_py;
use crate::face::{Face, nothing, plain};
use crate::foreign::Foreign;
use crate::message::Page;
use crate::pipeline::Pipeline;
use crate::value::zone;
use crate::wait::wait_here;

/// What a call gives: its result, or what stands for it until then.
pub type Answer<'py> = PyResult<Bound<'py, PyAny>>;

/// What both clients can do.
#[pyclass(module = "pgque._pgque", subclass, frozen)]
pub struct Operations {
    state: Mutex<Option<Arc<State>>>,
    pub face: Face,
}

/// What a client works on; replaced as a whole when a program sets `conn`.
pub struct State {
    pub core: Client,
    pub conn: Py<PyAny>,
    pub owns_conn: bool,
    /// Where the connection is the caller's.
    pub home: Home,
}

pub enum Home {
    Own,
    Blocking(Arc<Foreign>),
    /// How a task asks the connection.
    Async(Py<PyAny>),
}

impl State {
    pub fn over(conn: &Bound<'_, PyAny>, owns_conn: bool, face: Face) -> PyResult<State> {
        let (core, home) = match face {
            Face::Blocking => match conn.cast::<Connection>() {
                Ok(own) => (Client::over(own.as_super().get().core.clone()), Home::Own),
                Err(_) => {
                    let foreign = Arc::new(Foreign::new(conn)?);
                    (Client::over_foreign(foreign.clone()), Home::Blocking(foreign))
                }
            },
            Face::Async => match conn.cast::<AsyncConnection>() {
                Ok(own) => (Client::over(own.as_super().get().core.clone()), Home::Own),
                Err(_) => {
                    let callers = conn.py().import(intern!(conn.py(), "pgque._callers"))?;
                    let caller = callers.call_method1(intern!(conn.py(), "caller_of"), (conn,))?;
                    (Client::over_foreign(Arc::new(Asked::of(&caller)?)), Home::Async(caller.unbind()))
                }
            },
        };
        Ok(State { core, conn: conn.clone().unbind(), owns_conn, home })
    }
}

/// Operations on a connection that `pgque.connect` opened, or on one of the caller's: of psycopg 3 or psycopg2, a
/// Connection or Session of SQLAlchemy, Django's connection. Threads may share it.
///
/// Calls on the caller's connection are part of whatever transaction is open there, and nothing commits it.
#[pyclass(module = "pgque.client", extends = Operations, subclass, frozen, weakref, dict)]
pub struct PgqueClient;

/// Operations on a connection that `pgque.connect_async` opened, or on an asynchronous one of the caller's: of psycopg
/// 3, asyncpg, or SQLAlchemy on either. Every call is a coroutine. Tasks may share it, and what they call at the same
/// time travels together.
///
/// Calls on the caller's connection are part of whatever transaction is open there, and nothing commits it. Times of
/// messages are in UTC there.
///
/// A task that is cancelled while it waits has its statement cancelled at the server; the connection stays usable.
#[pyclass(module = "pgque.async_client", extends = Operations, subclass, frozen, weakref, dict)]
pub struct AsyncPgqueClient;

#[pymethods]
impl PgqueClient {
    /// Takes anything: `__init__`, which a subclass may replace, is given the connection.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(conn, *, _owns_conn=False)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> PyClassInitializer<PgqueClient> {
        PyClassInitializer::from(Operations::new(Face::Blocking)).add_subclass(PgqueClient)
    }

    /// A way to send many events without waiting for each answer: a `with` block. Only on a connection that `pgque.connect`
    /// opened.
    fn pipeline(slf: &Bound<'_, Self>) -> PyResult<Pipeline> {
        let core = pgque::blocking::Client::from(slf.as_super().get().state()?.core.clone());
        slf.py().detach(|| core.pipeline()).map(Pipeline::new).map_err(to_py)
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// Only closes: what was not committed is lost.
    #[pyo3(signature = (exc_type=None, exc=None, tb=None))]
    fn __exit__(
        slf: &Bound<'_, Self>,
        exc_type: Option<Bound<'_, PyAny>>,
        exc: Option<Bound<'_, PyAny>>,
        tb: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let _ = (exc_type, exc, tb);
        // By name, for a subclass may close more.
        slf.call_method0(intern!(slf.py(), "close")).map(drop)
    }
}

#[pymethods]
impl AsyncPgqueClient {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(conn, *, _owns_conn=False)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> PyClassInitializer<AsyncPgqueClient> {
        PyClassInitializer::from(Operations::new(Face::Async)).add_subclass(AsyncPgqueClient)
    }
}

/// A client of a consumer's transaction, for a handler.
pub fn lent<'py>(py: Python<'py>, core: &Client, face: Face) -> Answer<'py> {
    let handle = Handle { core: core.own_connection("consumer").map_err(to_py)?.clone(), lent: true };
    let (connection, client) = match face {
        Face::Blocking => (intern!(py, "Connection"), intern!(py, "PgqueClient")),
        Face::Async => (intern!(py, "AsyncConnection"), intern!(py, "AsyncPgqueClient")),
    };
    let package = py.import(intern!(py, "pgque"))?;
    let conn = package.getattr(connection)?.call1((handle,))?;
    package.getattr(client)?.call1((conn,))
}

impl Operations {
    fn new(face: Face) -> Operations {
        Operations { state: Mutex::default(), face }
    }

    pub fn state(&self) -> PyResult<Arc<State>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let unready = || PyRuntimeError::new_err("the client has no connection: __init__ was not called");
        state.clone().ok_or_else(unready)
    }

    pub fn replace(&self, state: State) {
        let old = self.state.lock().unwrap_or_else(PoisonError::into_inner).replace(Arc::new(state));
        // Dropped without the lock: it may be the last to hold the old connection.
        drop(old);
    }

    /// Runs a call, given the core's client.
    pub fn call<'py, T, F>(
        &self,
        py: Python<'py>,
        make: impl FnOnce(Client) -> F,
        convert: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> Answer<'py>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let state = self.state()?;
        let work = make(state.core.clone());
        match &state.home {
            Home::Own => self.face.call(py, work, convert),
            Home::Blocking(_) => Ok(convert(py, wait_here(py, work)?)?.into_bound(py)),
            Home::Async(caller) => Ok(Bound::new(py, Dialogue::new(caller.clone_ref(py), work, convert))?.into_any()),
        }
    }

    /// As `call`, for what is done on our own connection itself.
    pub fn call_own<'py, F>(
        &self,
        py: Python<'py>,
        op: &'static str,
        make: impl FnOnce(pgque::Connection) -> F,
    ) -> Answer<'py>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let own = self.own(op)?;
        self.face.call(py, make(own), nothing)
    }

    /// As `call`, for messages, whose times are told in the session's zone.
    pub fn receive_with<'py, F>(&self, py: Python<'py>, make: impl FnOnce(Client) -> F + Send + 'static) -> Answer<'py>
    where
        F: Future<Output = Result<pgque::Messages>> + Send + 'static,
    {
        let foreign = match &self.state()?.home {
            Home::Blocking(foreign) => Some(foreign.clone()),
            _ => None,
        };
        let receive = move |core: Client| {
            let own = core.connection().cloned();
            let messages = make(core);
            async move {
                let messages = messages.await?;
                let known = match own {
                    Some(own) if !messages.is_empty() => own.time_zone().unwrap_or_default(),
                    _ => String::new(),
                };
                Ok((messages, known))
            }
        };
        self.call(py, receive, move |py, (messages, known)| {
            let zone = match foreign {
                Some(foreign) if !messages.is_empty() => foreign.zone(py)?,
                _ => zone(py, &known)?,
            };
            plain(py, Page::received(messages, zone).list(py)?.unbind())
        })
    }

    /// For what psycopg's users do on their connection itself.
    pub fn own(&self, op: &'static str) -> PyResult<pgque::Connection> {
        self.state()?.core.own_connection(op).cloned().map_err(to_py)
    }
}
