//! SIGINT, SIGTERM and SIGHUP: the first asks the running command to end, the second ends it.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::error::Result;
use crate::runtime;

/// A signal ends the process, which has nothing to clear up.
const AT_ONCE: u8 = 0;
/// The first signal ends the command in good order.
const GRACEFUL: u8 = 1;
/// As `GRACEFUL`, but an interrupt is somebody else's.
const DEAF_TO_INTERRUPTS: u8 = 2;

static STOP: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));
static MODE: AtomicU8 = AtomicU8::new(AT_ONCE);

/// Takes the signals over, also from a host language that would only note them and not end.
pub(super) fn install() -> Result<()> {
    let handle = runtime::handle()?;
    let _inside = handle.enter();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        // Where a signal cannot be taken over, it keeps its own way of ending the process.
        if let Ok(arrivals) = signal(kind) {
            handle.spawn(listen(kind, arrivals));
        }
    }
    Ok(())
}

async fn listen(kind: SignalKind, mut arrivals: Signal) {
    while arrivals.recv().await.is_some() {
        let mode = MODE.load(Ordering::SeqCst);
        if mode == DEAF_TO_INTERRUPTS && kind == SignalKind::interrupt() {
            continue;
        }
        let again = STOP.send_replace(true);
        if again || mode == AT_ONCE {
            // As a shell reports a command that the signal ended.
            std::process::exit(128 + kind.as_raw_value());
        }
    }
}

/// From now on a first signal does not end the process but [`stopped`].
pub(super) fn graceful() {
    MODE.store(GRACEFUL, Ordering::SeqCst);
}

/// From now on Ctrl-C is left to the program that shares our terminal: in a prompt it means something else.
pub(super) fn leave_interrupts() {
    MODE.store(DEAF_TO_INTERRUPTS, Ordering::SeqCst);
}

pub(super) fn is_stopped() -> bool {
    *STOP.borrow()
}

/// Comes back when a signal has arrived.
pub(super) async fn stopped() {
    // The sender is static, so that the wait cannot fail.
    let _ = STOP.subscribe().wait_for(|stop| *stop).await;
}
