//! The caller's own connection, on which the core runs its statements: of psycopg 3 or psycopg2, whether the program
//! holds it itself or through SQLAlchemy or Django. Nothing of these is imported before the caller has.

use pgque::{BoxFuture, ForeignConnection, ForeignError, Placeholder, ServerError};
use pyo3::exceptions::{PyException, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple, PyType, PyTzInfo};

use crate::error::{pass_as_cause, pass_itself};
use crate::value::zone;

type Rows = Vec<Vec<Option<String>>>;

/// A connection of a blocking library.
pub struct Foreign {
    connection: Py<PyAny>,
    home: Home,
}

/// Through whom the statements go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    Psycopg,
    Psycopg2,
    /// SQLAlchemy's `Connection`, which begins its transaction at the first statement.
    Sqlalchemy,
    /// SQLAlchemy's `Session`, which gives its connection at each call, for it may be another one by then.
    Session,
    /// Django's `connection`, which may be closed and opened again behind our back.
    Django,
}

impl Home {
    /// Proxies around a connection are welcome, so its type is not asked for, only what it can do.
    fn of(connection: &Bound<'_, PyAny>) -> PyResult<Option<Home>> {
        let can = |name: &str| connection.hasattr(name);
        Ok(if can("cursor")? && can("pgconn")? {
            blocking(connection, "commit")?.then_some(Home::Psycopg)
        } else if can("ensure_connection")? && can("validate_no_broken_transaction")? {
            Some(Home::Django)
        } else if can("exec_driver_sql")? {
            blocking(connection, "exec_driver_sql")?.then_some(Home::Sqlalchemy)
        } else if can("get_bind")? && can("connection")? {
            blocking(connection, "connection")?.then_some(Home::Session)
        } else if can("cursor")? && can("get_parameter_status")? {
            Some(Home::Psycopg2)
        } else {
            None
        })
    }
}

fn blocking(connection: &Bound<'_, PyAny>, method: &str) -> PyResult<bool> {
    let is_async = connection.py().import("inspect")?.getattr("iscoroutinefunction")?;
    if is_async.call1((connection.getattr(method)?,))?.is_truthy()? {
        let kind = connection.get_type();
        let message =
            format!("conn must be a synchronous connection, got {kind}; AsyncPgqueClient takes asynchronous ones");
        return Err(PyTypeError::new_err(message));
    }
    Ok(true)
}

impl Foreign {
    pub fn new(connection: &Bound<'_, PyAny>) -> PyResult<Foreign> {
        let Some(home) = Home::of(connection)? else {
            let kind = connection.get_type();
            return Err(PyTypeError::new_err(format!(
                "conn must be a connection of pgque.connect(), psycopg 3, psycopg2 or Django, or a Connection or \
                 Session of SQLAlchemy, got {kind}; AsyncPgqueClient takes asynchronous ones"
            )));
        };
        if home == Home::Sqlalchemy {
            check_dialect(connection)?;
        }
        Ok(Foreign { connection: connection.clone().unbind(), home })
    }

    /// The zone in which the session tells its times.
    pub fn zone<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let driver = match self.home {
            Home::Sqlalchemy | Home::Session => {
                self.sqlalchemy(py)?.getattr(intern!(py, "connection"))?.getattr(intern!(py, "driver_connection"))?
            }
            _ => self.driver(py)?,
        };
        let known = match driver.getattr_opt(intern!(py, "info"))? {
            Some(info) if info.hasattr(intern!(py, "timezone"))? => info.getattr(intern!(py, "timezone"))?,
            _ => {
                let name = driver.call_method1(intern!(py, "get_parameter_status"), ("TimeZone",))?;
                zone(py, name.extract::<Option<&str>>()?.unwrap_or_default())?
            }
        };
        // A proxy may give anything.
        Ok(if known.is_instance_of::<PyTzInfo>() { known } else { zone(py, "")? })
    }

    fn run(&self, py: Python<'_>, sql: &str, params: Vec<Option<String>>) -> PyResult<Rows> {
        let rows = match self.home {
            Home::Sqlalchemy | Home::Session => {
                let params = PyTuple::new(py, params)?;
                let result = self.sqlalchemy(py)?.call_method1(intern!(py, "exec_driver_sql"), (sql, params))?;
                result.call_method0(intern!(py, "fetchall"))?
            }
            _ => {
                let cursor = cursor(&self.driver(py)?)?;
                cursor.call_method1(intern!(py, "execute"), (sql, params))?;
                let rows = cursor.call_method0(intern!(py, "fetchall"))?;
                cursor.call_method0(intern!(py, "close"))?;
                rows
            }
        };
        rows.try_iter()?.map(|row| row?.try_iter()?.map(|cell| text(&cell?)).collect()).collect()
    }

    /// SQLAlchemy's connection, whose own door for SQL begins its transaction and notices a lost connection.
    fn sqlalchemy<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let connection = self.connection.bind(py);
        let connection = match self.home {
            Home::Session => connection.call_method0(intern!(py, "connection"))?,
            _ => connection.clone(),
        };
        check_dialect(&connection)?;
        Ok(connection)
    }

    /// The connection of psycopg 3 or psycopg2.
    fn driver<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let connection = self.connection.bind(py);
        if self.home != Home::Django {
            return Ok(connection.clone());
        }
        connection.call_method0(intern!(py, "ensure_connection"))?;
        // Within an atomic block that is to be rolled back, Django runs nothing more.
        connection.call_method0(intern!(py, "validate_no_broken_transaction"))?;
        connection.getattr(intern!(py, "connection"))
    }
}

fn check_dialect(connection: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = connection.py();
    let dialect = connection.getattr(intern!(py, "dialect"))?;
    let driver: String = dialect.getattr(intern!(py, "driver"))?.extract()?;
    match driver.as_str() {
        "psycopg" | "psycopg2" => Ok(()),
        _ => {
            let message = format!("conn must use the driver psycopg or psycopg2 of SQLAlchemy, not {driver}");
            Err(PyTypeError::new_err(message))
        }
    }
}

/// A cursor whose rows are tuples, whatever the connection's own give: we count columns.
fn cursor<'py>(driver: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static TUPLE_ROW: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static CURSOR: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = driver.py();
    let options = PyDict::new(py);
    match driver.hasattr(intern!(py, "pgconn"))? {
        true => options.set_item(intern!(py, "row_factory"), TUPLE_ROW.import(py, "psycopg.rows", "tuple_row")?)?,
        false => {
            options.set_item(intern!(py, "cursor_factory"), CURSOR.import(py, "psycopg2.extensions", "cursor")?)?
        }
    }
    driver.call_method(intern!(py, "cursor"), (), Some(&options))
}

impl ForeignConnection for Foreign {
    fn placeholder(&self) -> Placeholder {
        Placeholder::Percent
    }

    /// Blocks on the calling thread, where psycopg looks for signals itself.
    fn query<'a>(&'a self, sql: &'a str, params: Vec<Option<String>>) -> BoxFuture<'a, Result<Rows, ForeignError>> {
        let run = || Python::attach(|py| self.run(py, sql, params).map_err(|e| foreign(py, e)));
        Box::pin(std::future::ready(run()))
    }
}

/// A cell of a row of text.
pub fn text(cell: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
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
pub fn foreign(py: Python<'_>, error: PyErr) -> ForeignError {
    let server = server_error(py, &error);
    let message = error.value(py).to_string();
    match is_database_error(py, &error) {
        true => pass_as_cause(error),
        // Ctrl-C, or a fault in an adapter of the caller's.
        false => pass_itself(error),
    }
    match server {
        Ok(Some(server)) => ForeignError::Server(server),
        _ => ForeignError::Connection(message),
    }
}

/// Of the libraries that the program has imported, for no other can have raised it.
fn is_database_error(py: Python<'_>, error: &PyErr) -> bool {
    const CLASSES: [(&str, &str); 3] =
        [("psycopg", "Error"), ("psycopg2", "Error"), ("sqlalchemy.exc", "SQLAlchemyError")];
    let is_one = |(module, name): (&str, &str)| -> PyResult<bool> {
        let modules = py.import(intern!(py, "sys"))?.getattr(intern!(py, "modules"))?;
        let Ok(module) = modules.get_item(module) else { return Ok(false) };
        Ok(error.is_instance(py, module.getattr(name)?.cast::<PyType>()?))
    };
    error.is_instance_of::<PyException>(py) && CLASSES.into_iter().any(|class| is_one(class).unwrap_or(false))
}

/// `None` if it was not the server that spoke.
fn server_error(py: Python<'_>, error: &PyErr) -> PyResult<Option<ServerError>> {
    let error = error.value(py).as_any();
    // SQLAlchemy wraps the driver's.
    let error = error.getattr_opt(intern!(py, "orig"))?.unwrap_or_else(|| error.clone());
    let sqlstate = match error.getattr_opt(intern!(py, "sqlstate"))? {
        Some(sqlstate) => sqlstate,
        None => error.getattr(intern!(py, "pgcode"))?,
    };
    let Some(sqlstate) = sqlstate.extract()? else {
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
