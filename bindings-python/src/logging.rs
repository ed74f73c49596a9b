//! The core's log lines on their way to Python's `logging`.

use std::cell::RefCell;

use log::{Level, LevelFilter};
use pgque::logging::set_sink;
use pyo3::exceptions::PyException;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::pass_itself;

thread_local! {
    // The core knows the text of a handler's exception only; the log line shall show where it came from as well.
    static EXCEPTION: RefCell<Option<Py<PyAny>>> = const { RefCell::new(None) };
}

/// Lines that this thread writes meanwhile carry the exception with its traceback.
pub fn with_exception<T>(error: Option<Py<PyAny>>, work: impl FnOnce() -> T) -> T {
    EXCEPTION.set(error);
    let result = work();
    EXCEPTION.set(None);
    result
}

/// From import to exit. Python's own levels decide what is shown.
pub fn start() {
    set_sink(Some(Box::new(forward)), LevelFilter::Debug);
}

/// At exit, before the interpreter is taken apart: no thread of ours may then ask for it.
pub fn stop(py: Python<'_>) {
    // Waits for lines that are being written, whose writers wait for the lock.
    py.detach(|| set_sink(None, LevelFilter::Off));
}

/// May come from any thread. Every call that may block lets go of the interpreter, so that this gets it.
fn forward(level: Level, logger: &str, line: &str) {
    Python::try_attach(|py| match write(py, level, logger, line) {
        // The line ran Python code, in which Ctrl-C may come out; the call that logs has to hear of it.
        Err(error) if !error.is_instance_of::<PyException>(py) => pass_itself(error),
        // A line that cannot be written is lost: there is nobody to tell.
        _ => {}
    });
}

fn write(py: Python<'_>, level: Level, logger: &str, line: &str) -> PyResult<()> {
    let number = match level {
        Level::Error => 40,
        Level::Warn => 30,
        Level::Info => 20,
        Level::Debug | Level::Trace => 10,
    };
    let logging = py.import(intern!(py, "logging"))?;
    let logger = logging.call_method1(intern!(py, "getLogger"), (logger,))?;
    if logger.call_method1(intern!(py, "isEnabledFor"), (number,))?.is_truthy()? {
        // Taken, so that what the line's own handlers log does not carry it again.
        let exception = EXCEPTION.take();
        let options = PyDict::new(py);
        options.set_item(intern!(py, "exc_info"), exception)?;
        logger.call_method(intern!(py, "log"), (number, "%s", line), Some(&options))?;
    }
    Ok(())
}
