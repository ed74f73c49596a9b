//! The native module `pgque._pgque`: convert, call, convert.

mod asynchronous;
mod batch;
mod client;
mod connection;
mod consumer;
mod dialogue;
mod error;
mod face;
mod ffi;
mod foreign;
mod interpreter;
mod json;
mod logging;
mod message;
mod operations;
mod payload;
mod pipeline;
mod producer;
mod ticker;
mod value;
mod verdict;
mod wait;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
mod _pgque {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::asynchronous::Begun;
    #[pymodule_export]
    use crate::batch::{Batch, Lane};
    #[pymodule_export]
    use crate::client::{AsyncPgqueClient, PgqueClient};
    #[pymodule_export]
    use crate::connection::{AsyncConnection, Connection, Handle, open_async};
    #[pymodule_export]
    use crate::consumer::Consumer;
    #[pymodule_export]
    use crate::dialogue::Dialogue;
    #[pymodule_export]
    use crate::message::Message;
    #[pymodule_export]
    use crate::pipeline::{Pending, Pipeline};
    #[pymodule_export]
    use crate::producer::{AsyncProducer, Producer};
    #[pymodule_export]
    use crate::ticker::Ticker;
    #[pymodule_export]
    use crate::{at_exit, cli_main};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        crate::interpreter::refuse_all_but_the_main_one(py)?;
        module.add("__version__", pgque::VERSION)?;
        module.add("KINDS", crate::error::kinds(py)?)?;
        crate::consumer::add_defaults(module)?;
        pgque::runtime::set_interrupt(crate::wait::interrupted);
        crate::logging::start();
        py.import("atexit")?.call_method1("register", (module.getattr("_at_exit")?, std::process::id()))?;
        Ok(())
    }
}

/// Runs the command `pgque` and gives its exit code.
#[pyfunction]
fn cli_main(py: Python<'_>, args: Vec<std::ffi::OsString>) -> i32 {
    py.detach(|| pgque::cli::main(args))
}

/// Not in a forked child: a thread that exists only in the parent may have been writing a line.
#[pyfunction(name = "_at_exit")]
fn at_exit(py: Python<'_>, pid: u32) {
    if pid == std::process::id() {
        logging::stop(py);
    }
}
