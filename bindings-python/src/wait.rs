//! Waiting without the interpreter lock, and noticing Ctrl-C while waiting.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use pgque::{Connection, Kind, Result, runtime};
use pyo3::intern;
use pyo3::prelude::*;

use crate::error::{forget_passing, pass_itself, to_py};

/// Runs a call of the core to its end, with the lock released.
pub fn wait<T: Send>(py: Python<'_>, future: impl Future<Output = Result<T>> + Send) -> PyResult<T> {
    forget_passing();
    py.detach(|| runtime::wait(future)).map_err(to_py)
}

/// As [`wait`], for a statement on a connection of ours: on Ctrl-C the server is asked to give up as well.
pub fn wait_on<T: Send>(
    py: Python<'_>,
    connection: &Connection,
    future: impl Future<Output = Result<T>> + Send,
) -> PyResult<T> {
    forget_passing();
    let run = || {
        let result = runtime::wait(future);
        if let Err(error) = &result
            && error.kind() == Kind::Interrupted
        {
            // Ctrl-C is what the caller has to hear of, not that the server could not be told.
            let _ = runtime::wait(connection.cancel());
        }
        result
    };
    py.detach(run).map_err(to_py)
}

/// As [`wait`], for a call on the caller's connection, which blocks this thread by itself. Needs no runtime, so
/// that a program which only uses its own connections has no threads of ours and may fork.
pub fn wait_here<T: Send>(py: Python<'_>, future: impl Future<Output = Result<T>> + Send) -> PyResult<T> {
    forget_passing();
    py.detach(|| block_on(future)).map_err(to_py)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(result) => return result,
            // Another thread asks the server for its capabilities just now.
            Poll::Pending => thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The core's question between the slices of a wait. Only the main thread receives signals in Python.
pub fn interrupted() -> bool {
    thread_local! {
        static IS_MAIN: Cell<Option<(u32, bool)>> = const { Cell::new(None) };
    }
    let pid = std::process::id();
    // After a fork the thread that forked is the main one.
    if let Some((known, false)) = IS_MAIN.get()
        && known == pid
    {
        return false;
    }
    let asked = Python::try_attach(|py| {
        let is_main = is_main_thread(py).unwrap_or(false);
        IS_MAIN.set(Some((pid, is_main)));
        is_main && py.check_signals().map_err(pass_itself).is_err()
    });
    // Without an interpreter there is nobody left to answer to.
    asked.unwrap_or(false)
}

fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import(intern!(py, "threading"))?;
    let main = threading.call_method0(intern!(py, "main_thread"))?.getattr(intern!(py, "ident"))?;
    main.eq(threading.call_method0(intern!(py, "get_ident"))?)
}
