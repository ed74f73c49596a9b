//! SIGINT, SIGTERM and SIGHUP: the first asks the running command to end, the second ends it.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// What a shell reports for a command that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

static STOP: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));
static GRACEFUL: AtomicBool = AtomicBool::new(false);

/// Takes the signals over, also from a host language that would only note them and not end.
pub(super) fn install() {
    // Fails when this process has run the command before; the handler is the same then.
    let _ = ctrlc::set_handler(|| {
        let again = STOP.send_replace(true);
        if again || !GRACEFUL.load(Ordering::SeqCst) {
            std::process::exit(INTERRUPTED);
        }
    });
}

/// From now on a first signal does not end the process but [`stopped`].
pub(super) fn graceful() {
    GRACEFUL.store(true, Ordering::SeqCst);
}

pub(super) fn is_stopped() -> bool {
    *STOP.borrow()
}

/// Comes back when a signal has arrived.
pub(super) async fn stopped() {
    // The sender is static, so that the wait cannot fail.
    let _ = STOP.subscribe().wait_for(|stop| *stop).await;
}
