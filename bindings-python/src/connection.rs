//! A connection of our own; `pgque.Connection` puts psycopg's manners on top of it.

use pgque::{Error, Kind, Result, Settings, TransactionStatus, runtime};
use pyo3::intern;
use pyo3::prelude::*;

use crate::error::to_py;
use crate::face::{Face, begun, nothing, plain};
use crate::value::{How, rows};
use crate::wait::wait;

/// What both connections can do.
#[pyclass(module = "pgque._pgque", subclass, frozen)]
pub struct Link {
    pub core: pgque::Connection,
    lent: bool,
    face: Face,
}

/// One connection to the server. Threads may share it.
#[pyclass(module = "pgque._pgque", extends = Link, subclass, frozen, weakref)]
pub struct Connection;

/// One connection to the server, whose calls are coroutines. Tasks may share it.
#[pyclass(module = "pgque._pgque", extends = Link, subclass, frozen, weakref)]
pub struct AsyncConnection;

/// A connection on its way into the class that Python gives it.
#[pyclass(module = "pgque._pgque", frozen)]
pub struct Handle {
    pub core: pgque::Connection,
    /// A consumer's, for the time of a handler.
    pub lent: bool,
}

impl Handle {
    fn link(&self, face: Face) -> Link {
        Link { core: self.core.clone(), lent: self.lent, face }
    }
}

/// Connect; the `Begun` of a handle for an `AsyncConnection`.
#[pyfunction]
pub fn open_async<'py>(py: Python<'py>, dsn: &str, autocommit: bool) -> PyResult<Bound<'py, PyAny>> {
    let settings = Settings::parse(dsn).map_err(to_py)?.autocommit(autocommit);
    Face::Async.call(py, pgque::Connection::open(settings), |py, core| plain(py, Handle { core, lent: false }))
}

type Answer<'py> = PyResult<Bound<'py, PyAny>>;

#[pymethods]
impl Connection {
    #[new]
    #[pyo3(signature = (dsn, *, autocommit=false))]
    fn new(dsn: &Bound<'_, PyAny>, autocommit: bool) -> PyResult<PyClassInitializer<Connection>> {
        if let Ok(handle) = dsn.cast::<Handle>() {
            return Ok(PyClassInitializer::from(handle.get().link(Face::Blocking)).add_subclass(Connection));
        }
        let settings = Settings::parse(dsn.extract()?).map_err(to_py)?.autocommit(autocommit);
        let core = wait(dsn.py(), pgque::Connection::open(settings))?;
        let link = Link { core, lent: false, face: Face::Blocking };
        Ok(PyClassInitializer::from(link).add_subclass(Connection))
    }
}

#[pymethods]
impl AsyncConnection {
    #[new]
    fn new(handle: &Bound<'_, Handle>) -> PyClassInitializer<AsyncConnection> {
        PyClassInitializer::from(handle.get().link(Face::Async)).add_subclass(AsyncConnection)
    }
}

impl Link {
    fn call<'py, F>(&self, py: Python<'py>, make: impl FnOnce(pgque::Connection) -> F) -> Answer<'py>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.face.call(py, make(self.core.clone()), nothing)
    }
}

#[pymethods]
impl Link {
    /// The columns, the rows, and how many were returned or changed. `json_loads` makes values of JSON text.
    fn _execute<'py>(
        &self,
        py: Python<'py>,
        sql: String,
        params: Vec<Option<String>>,
        json_loads: Py<PyAny>,
    ) -> Answer<'py> {
        let core = self.core.clone();
        let run = async move {
            let result = core.execute(&sql, &params).await?;
            // The statement has succeeded, whatever has become of the connection since.
            Ok((result, core.time_zone().unwrap_or_default()))
        };
        self.face.call(py, run, move |py, (result, zone)| {
            let how = How { json_loads: json_loads.bind(py), zone: &crate::value::zone(py, &zone)? };
            let rows = rows(py, &result, &how)?;
            plain(py, (result.columns, rows.unbind(), result.rows_affected))
        })
    }

    /// Open a transaction, also in autocommit.
    fn begin<'py>(&self, py: Python<'py>) -> Answer<'py> {
        let core = self.core.clone();
        self.face.call(py, async move { core.scope().await }, begun)
    }

    /// Commit the open transaction; without one nothing happens. One that has failed is rolled back, with an error.
    fn commit<'py>(&self, py: Python<'py>) -> Answer<'py> {
        self.call(py, |core| async move { core.commit().await })
    }

    /// Roll the open transaction back; without one nothing happens.
    fn rollback<'py>(&self, py: Python<'py>) -> Answer<'py> {
        self.call(py, |core| async move { core.rollback().await })
    }

    /// Mark a point in the open transaction; an inner one hides the outer one until it is released.
    fn savepoint<'py>(&self, py: Python<'py>) -> Answer<'py> {
        self.call(py, |core| async move { core.savepoint().await })
    }

    /// Forget the innermost savepoint and keep what was done since.
    fn release_savepoint<'py>(&self, py: Python<'py>) -> Answer<'py> {
        self.call(py, |core| async move { core.release_savepoint().await })
    }

    /// Undo what was done since the innermost savepoint and forget it.
    fn rollback_to_savepoint<'py>(&self, py: Python<'py>) -> Answer<'py> {
        self.call(py, |core| async move { core.rollback_to_savepoint().await })
    }

    /// Have notifications of a channel, from the commit on.
    fn listen<'py>(&self, py: Python<'py>, channel: String) -> Answer<'py> {
        self.call(py, |core| async move { core.listen(&channel).await })
    }

    /// Have a channel's notifications no more.
    fn unlisten<'py>(&self, py: Python<'py>, channel: String) -> Answer<'py> {
        self.call(py, |core| async move { core.unlisten(&channel).await })
    }

    /// The next notification, or None when the time in seconds is over.
    fn notification<'py>(&self, py: Python<'py>, timeout: f64) -> Answer<'py> {
        let limit = runtime::time_limit("notification", "timeout", timeout).map_err(to_py)?;
        let core = self.core.clone();
        let next = async move { core.notification(limit.unwrap_or(std::time::Duration::MAX)).await };
        self.face.call(py, next, |py, found| match found {
            Some(n) => notification(py, n).map(Bound::unbind),
            None => Ok(py.None()),
        })
    }

    /// Have the server end the statement that is under way now.
    fn cancel<'py>(&self, py: Python<'py>) -> Answer<'py> {
        self.call(py, |core| async move { core.cancel().await })
    }

    /// Close the connection; what was not committed is lost. Twice is fine. Refused for the connection of a consumer's
    /// transaction, which a handler is only lent.
    fn close<'py>(&self, py: Python<'py>) -> Answer<'py> {
        if self.lent {
            let message = "the connection is the consumer's, which goes on using it; just return";
            return Err(to_py(Error::new(Kind::Conflict, "close", message)));
        }
        self.call(py, |core| async move {
            core.close().await;
            Ok(())
        })
    }

    /// Whether it was closed or lost, or belongs to the process before a fork.
    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        py.detach(|| self.core.is_closed())
    }

    /// Whether each statement is a transaction of its own unless one is open; may be set while none is.
    #[getter]
    fn autocommit(&self, py: Python<'_>) -> bool {
        py.detach(|| self.core.autocommit())
    }

    #[setter]
    fn set_autocommit(&self, py: Python<'_>, on: bool) -> PyResult<()> {
        py.detach(|| self.core.set_autocommit(on)).map_err(to_py)
    }

    /// The setting TimeZone of the session.
    #[getter]
    fn time_zone(&self, py: Python<'_>) -> PyResult<String> {
        py.detach(|| self.core.time_zone()).map_err(to_py)
    }

    /// The process id of the server process that serves the session.
    #[getter]
    fn backend_pid(&self, py: Python<'_>) -> PyResult<i32> {
        py.detach(|| self.core.backend_pid()).map_err(to_py)
    }

    /// `idle`, `active`, or `failed`, when only a rollback is left.
    #[getter]
    fn transaction_status(&self, py: Python<'_>) -> &'static str {
        match py.detach(|| self.core.transaction_status()) {
            TransactionStatus::Idle => "idle",
            TransactionStatus::Active => "active",
            TransactionStatus::Failed => "failed",
        }
    }
}

fn notification(py: Python<'_>, n: pgque::Notification) -> PyResult<Bound<'_, PyAny>> {
    let kind = py.import(intern!(py, "pgque.types"))?.getattr(intern!(py, "Notification"))?;
    kind.call1((n.channel, n.payload, n.process_id))
}
