//! The one async runtime, started on first use, and the blocking wait on top of it.

use std::future::Future;
use std::sync::{LazyLock, OnceLock};
use std::task::Waker;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;

use crate::error::{Error, Kind, Result};
use crate::park::{self, Parker};

/// How long a blocking wait goes on before it asks whether the caller wants out.
const INTERRUPT_SLICE: Duration = Duration::from_millis(50);

/// Answers whether the calling thread wants to end its wait. Asked between slices of 50 ms.
pub type Interrupt = fn() -> bool;

/// Who interrupted a wait wants out, but not before the server has been told; a program often ends right after.
const TELL_TIMEOUT: Duration = Duration::from_secs(1);

static RUNTIMES: Generation = Generation { owned: OnceLock::new(), next: OnceLock::new() };
static INTERRUPT: OnceLock<Interrupt> = OnceLock::new();
/// How many servers are being told that nobody waits for them any more.
static FAREWELLS: LazyLock<watch::Sender<usize>> = LazyLock::new(|| watch::Sender::new(0));

/// Lets a language whose threads must look for signals themselves end a blocking wait.
pub fn set_interrupt(interrupt: Interrupt) {
    // A second call comes from a second import of the same binding and names the same function.
    let _ = INTERRUPT.set(interrupt);
}

/// A time limit in seconds, as languages give it. Infinity is none; what is negative or not a number is refused.
pub fn time_limit(op: &'static str, argument: &str, seconds: f64) -> Result<Option<Duration>> {
    if seconds == f64::INFINITY {
        return Ok(None);
    }
    let message = || format!("{argument} must be a number of seconds from 0 to infinity, got {seconds}");
    Duration::try_from_secs_f64(seconds).map(Some).map_err(|_| Error::invalid(op, message()))
}

/// The runtime of one process, and that of its forked child. Not behind a mutex: one that another thread holds in the
/// moment of a fork is held in the child for ever.
#[derive(Default)]
struct Generation {
    owned: OnceLock<(u32, Runtime)>,
    next: OnceLock<Box<Generation>>,
}

/// The runtime of this process. A forked child gets one of its own: the parent's threads are not there.
pub fn handle() -> Result<Handle> {
    handle_of(std::process::id())
}

fn handle_of(pid: u32) -> Result<Handle> {
    let mut generation = &RUNTIMES;
    loop {
        match generation.owned.get() {
            // Never dropped: dropping would join threads at exit, and in a child they do not exist.
            Some((owner, runtime)) if *owner == pid => return Ok(runtime.handle().clone()),
            Some(_) => generation = generation.next.get_or_init(Box::default),
            None => {
                // Made before it is put there, which then takes no time in which another thread may fork.
                if let Err((_, surplus)) = generation.owned.set((pid, build()?)) {
                    surplus.shutdown_background();
                }
            }
        }
    }
}

fn build() -> Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    let built = builder.worker_threads(2).thread_name("pgque").enable_all().build();
    built.map_err(|e| Error::new(Kind::Internal, "runtime", e.to_string()))
}

/// Counts as a farewell until it is dropped.
pub(crate) struct Farewell(());

pub(crate) fn farewell() -> Farewell {
    FAREWELLS.send_modify(|n| *n += 1);
    Farewell(())
}

impl Drop for Farewell {
    fn drop(&mut self) {
        FAREWELLS.send_modify(|n| *n = n.saturating_sub(1));
    }
}

/// Runs a call to its end on the calling thread, which must not be one of the runtime's own.
///
/// Fails with `conflict` inside a task or a callback that runs within another wait.
pub fn wait<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    if Handle::try_current().is_ok() {
        let message = "a blocking call was made from inside another call's callback, or from an async task";
        return Err(Error::new(Kind::Conflict, "wait", message));
    }
    let pid = std::process::id();
    let handle = handle_of(pid)?;
    let interrupt = INTERRUPT.get();
    let parker = Parker::of_this_thread(pid)?;
    let waker = Waker::from(parker.clone());
    let mut future = Box::pin(future);
    loop {
        let inside = handle.enter();
        let slice = interrupt.map(|_| INTERRUPT_SLICE);
        // The thread itself waits, where a timer of the runtime would wake the runtime at each call just to hear of a
        // time that hardly ever comes.
        if let Some(result) = park::poll_for(future.as_mut(), &parker, &waker, slice) {
            return result;
        }
        // Asked outside of the runtime: the host's signal handlers may make blocking calls themselves.
        drop(inside);
        if interrupt.is_some_and(|interrupt| interrupt()) {
            drop(future);
            let told = async {
                let mut farewells = FAREWELLS.subscribe();
                let _ = tokio::time::timeout(TELL_TIMEOUT, farewells.wait_for(|n| *n == 0)).await;
            };
            handle.block_on(told);
            return Err(Error::new(Kind::Interrupted, "wait", "interrupted by the caller"));
        }
    }
}
