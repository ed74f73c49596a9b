//! Waiting without the interpreter lock, and noticing Ctrl-C while waiting.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use pgque::{Result, runtime};
use pyo3::intern;
use pyo3::prelude::*;

use crate::error::{is_passing_itself, outcome, pass_itself, take_passing};

/// Runs a call of the core to its end, with the lock released.
pub fn wait<T: Send>(py: Python<'_>, future: impl Future<Output = Result<T>> + Send) -> PyResult<T> {
    take_passing();
    outcome(py.detach(|| runtime::wait(future)))
}

/// As [`wait`], for a call on the caller's connection, which blocks this thread by itself. Needs no runtime, so
/// that a program which only uses its own connections has no threads of ours and may fork.
pub fn wait_here<T: Send>(py: Python<'_>, future: impl Future<Output = Result<T>> + Send) -> PyResult<T> {
    take_passing();
    outcome(py.detach(|| block_on(future)))
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

thread_local! {
    // Only the main thread receives signals; after a fork that is the one that forked, hence the process id.
    static IS_MAIN: Cell<Option<(u32, bool)>> = const { Cell::new(None) };
}

/// The core's question between the slices of a wait.
pub fn interrupted() -> bool {
    if IS_MAIN.get() == Some((std::process::id(), false)) {
        return false;
    }
    // Without an interpreter there is nobody left to answer to.
    let checked = Python::try_attach(check_signals).unwrap_or(Ok(()));
    checked.map_err(pass_itself).is_err() || is_passing_itself()
}

fn check_signals(py: Python<'_>) -> PyResult<()> {
    let pid = std::process::id();
    let is_main = match IS_MAIN.get() {
        Some((known, is_main)) if known == pid => is_main,
        // Python code, so that this is where a signal's exception may come out.
        _ => is_main_thread(py)?,
    };
    IS_MAIN.set(Some((pid, is_main)));
    if is_main { py.check_signals() } else { Ok(()) }
}

fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import(intern!(py, "threading"))?;
    let main = threading.call_method0(intern!(py, "main_thread"))?.getattr(intern!(py, "ident"))?;
    main.eq(threading.call_method0(intern!(py, "get_ident"))?)
}
