//! A connection of our own; `pgque.Connection` puts psycopg's manners on top of it.

use pgque::{Error, Kind, Settings, TransactionStatus, runtime};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::error::to_py;
use crate::value::{How, rows};
use crate::wait::wait;

/// One connection to the server. Threads may share it.
#[pyclass(module = "pgque._pgque", subclass, frozen, weakref)]
pub struct Connection {
    pub core: pgque::Connection,
    lent: bool,
}

/// A consumer's connection on its way into a `pgque.Connection` for a handler.
#[pyclass(module = "pgque._pgque", frozen)]
pub struct Lent(pub pgque::Connection);

type Answer<'py> = (Vec<String>, Bound<'py, PyList>, Option<u64>);

#[pymethods]
impl Connection {
    #[new]
    #[pyo3(signature = (dsn, *, autocommit=false))]
    fn new(dsn: &Bound<'_, PyAny>, autocommit: bool) -> PyResult<Connection> {
        if let Ok(lent) = dsn.cast::<Lent>() {
            return Ok(Connection { core: lent.get().0.clone(), lent: true });
        }
        let settings = Settings::parse(dsn.extract()?).map_err(to_py)?.autocommit(autocommit);
        let core = wait(dsn.py(), pgque::Connection::open(settings))?;
        Ok(Connection { core, lent: false })
    }

    /// The columns, the rows, and how many were returned or changed. `json_loads` makes values of JSON text.
    fn _execute<'py>(
        &self,
        py: Python<'py>,
        sql: &str,
        params: Vec<Option<String>>,
        json_loads: &Bound<'py, PyAny>,
    ) -> PyResult<Answer<'py>> {
        let run = async {
            let result = self.core.execute(sql, &params).await?;
            // The statement has succeeded, whatever has become of the connection since.
            Ok((result, self.core.time_zone().await.unwrap_or_default()))
        };
        let (result, zone) = wait(py, run)?;
        let how = How { json_loads, zone: &crate::value::zone(py, &zone)? };
        let rows = rows(py, &result, &how)?;
        Ok((result.columns, rows, result.rows_affected))
    }

    fn begin(&self, py: Python<'_>) -> PyResult<()> {
        wait(py, self.core.begin())
    }

    fn commit(&self, py: Python<'_>) -> PyResult<()> {
        wait(py, self.core.commit())
    }

    fn rollback(&self, py: Python<'_>) -> PyResult<()> {
        wait(py, self.core.rollback())
    }

    fn savepoint(&self, py: Python<'_>) -> PyResult<()> {
        wait(py, self.core.savepoint())
    }

    fn release_savepoint(&self, py: Python<'_>) -> PyResult<()> {
        wait(py, self.core.release_savepoint())
    }

    fn rollback_to_savepoint(&self, py: Python<'_>) -> PyResult<()> {
        wait(py, self.core.rollback_to_savepoint())
    }

    fn listen(&self, py: Python<'_>, channel: &str) -> PyResult<()> {
        wait(py, self.core.listen(channel))
    }

    fn unlisten(&self, py: Python<'_>, channel: &str) -> PyResult<()> {
        wait(py, self.core.unlisten(channel))
    }

    /// The next notification, or None when the time in seconds is over.
    fn notification<'py>(&self, py: Python<'py>, timeout: f64) -> PyResult<Option<Bound<'py, PyAny>>> {
        let limit = runtime::time_limit("notification", "timeout", timeout).map_err(to_py)?;
        let found = wait(py, self.core.notification(limit.unwrap_or(std::time::Duration::MAX)))?;
        found.map(|n| notification(py, n)).transpose()
    }

    /// Have the server end the statement that another thread runs now.
    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        wait(py, self.core.cancel())
    }

    /// Not where a consumer has lent its connection to a handler.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if self.lent {
            let message = "the connection is the consumer's, which goes on using it; just return";
            return Err(to_py(Error::new(Kind::Conflict, "close", message)));
        }
        let close = async {
            self.core.close().await;
            Ok(())
        };
        wait(py, close)
    }

    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        py.detach(|| self.core.is_closed())
    }

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
        wait(py, self.core.time_zone())
    }

    /// The process id of the server process that serves the session.
    #[getter]
    fn backend_pid(&self, py: Python<'_>) -> PyResult<i32> {
        wait(py, self.core.backend_pid())
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
