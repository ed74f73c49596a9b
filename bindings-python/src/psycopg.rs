//! A psycopg connection of the caller's, on which the core runs its statements.

use pgque::{BoxFuture, ForeignConnection, ForeignError, Placeholder, ServerError};
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString, PyType};

use crate::error::{pass_as_cause, pass_itself};

type Rows = Vec<Vec<Option<String>>>;

pub struct Psycopg {
    connection: Py<PyAny>,
}

impl Psycopg {
    pub fn new(connection: &Bound<'_, PyAny>) -> PyResult<Psycopg> {
        let py = connection.py();
        let refuse = |why: &str| {
            let kind = connection.get_type();
            Err(PyTypeError::new_err(format!("{why}, got {kind}")))
        };
        // Proxies around a connection are welcome, so its type is not asked for.
        if !connection.hasattr(intern!(py, "cursor"))? || !connection.hasattr(intern!(py, "pgconn"))? {
            return refuse("conn must be a connection of psycopg 3 or of pgque.connect()");
        }
        let is_async = py.import(intern!(py, "inspect"))?.getattr(intern!(py, "iscoroutinefunction"))?;
        if is_async.call1((connection.getattr(intern!(py, "commit"))?,))?.is_truthy()? {
            return refuse("conn must be a synchronous psycopg.Connection");
        }
        Ok(Psycopg { connection: connection.clone().unbind() })
    }

    fn run(&self, py: Python<'_>, sql: &str, params: Vec<Option<String>>) -> PyResult<Rows> {
        let options = PyDict::new(py);
        // Whatever row factory the connection has, we count columns.
        options.set_item(intern!(py, "row_factory"), tuple_row(py)?)?;
        let connection = self.connection.bind(py);
        let cursor = connection.call_method(intern!(py, "cursor"), (), Some(&options))?;
        cursor.call_method1(intern!(py, "execute"), (sql, params))?;
        let rows = cursor.call_method0(intern!(py, "fetchall"))?;
        cursor.call_method0(intern!(py, "close"))?;
        rows.try_iter()?.map(|row| row?.try_iter()?.map(|cell| text(&cell?)).collect()).collect()
    }
}

impl ForeignConnection for Psycopg {
    fn placeholder(&self) -> Placeholder {
        Placeholder::Percent
    }

    /// Blocks on the calling thread, where psycopg looks for signals itself.
    fn query<'a>(&'a self, sql: &'a str, params: Vec<Option<String>>) -> BoxFuture<'a, Result<Rows, ForeignError>> {
        let run = || Python::attach(|py| self.run(py, sql, params).map_err(|e| foreign(py, e)));
        Box::pin(std::future::ready(run()))
    }
}

fn tuple_row(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static TUPLE_ROW: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    TUPLE_ROW.import(py, "psycopg.rows", "tuple_row")
}

fn text(cell: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    if cell.is_none() {
        return Ok(None);
    }
    match cell.cast::<PyBytes>() {
        // With the client encoding SQL_ASCII psycopg does not decode.
        Ok(bytes) => Ok(Some(String::from_utf8(bytes.as_bytes().to_vec())?)),
        Err(_) => cell.cast::<PyString>()?.extract().map(Some),
    }
}

/// What the core has to know of the exception, which itself is kept to be raised or to be the cause.
fn foreign(py: Python<'_>, error: PyErr) -> ForeignError {
    let server = server_error(py, &error);
    let message = error.value(py).to_string();
    match is_psycopg_error(py, &error) {
        true => pass_as_cause(error),
        // Ctrl-C, or a fault in an adapter of the caller's.
        false => pass_itself(error),
    }
    match server {
        Ok(Some(server)) => ForeignError::Server(server),
        _ => ForeignError::Connection(message),
    }
}

fn is_psycopg_error(py: Python<'_>, error: &PyErr) -> bool {
    static ERROR: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    ERROR.import(py, "psycopg", "Error").is_ok_and(|class| error.is_instance(py, class))
}

/// `None` if it was not the server that spoke.
fn server_error(py: Python<'_>, error: &PyErr) -> PyResult<Option<ServerError>> {
    let error = error.value(py);
    let Some(sqlstate) = error.getattr(intern!(py, "sqlstate"))?.extract()? else {
        return Ok(None);
    };
    let diagnostic = error.getattr(intern!(py, "diag"))?;
    let field = |name: &str| -> PyResult<Option<String>> { diagnostic.getattr(name)?.extract() };
    let message = field("message_primary")?.unwrap_or_else(|| error.to_string());
    Ok(Some(ServerError {
        sqlstate,
        message,
        detail: field("message_detail")?,
        hint: field("message_hint")?,
        constraint: field("constraint_name")?,
    }))
}
