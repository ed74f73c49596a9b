//! What has to be sent before whatever the caller sends next.

use std::cell::Cell;
use std::sync::{Mutex, PoisonError};

thread_local! {
    /// Whether this thread is just sending what waits: that must not wait for itself.
    static SENDING: Cell<bool> = const { Cell::new(false) };
}

/// Senders of what waits, each to be called once.
#[derive(Default)]
pub(super) struct Ahead {
    senders: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
    /// Held until they have sent: who finds none left must not come before what they send.
    sending: Mutex<()>,
}

impl Ahead {
    pub fn put(&self, sender: Box<dyn FnOnce() + Send>) {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
    }

    pub fn send(&self) {
        if !SENDING.get() {
            let _sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
            let senders = std::mem::take(&mut *self.senders.lock().unwrap_or_else(PoisonError::into_inner));
            senders.into_iter().for_each(sending_ahead);
        }
    }
}

/// For whoever sends what waits: what this sends has nothing to wait for.
pub(crate) fn sending_ahead<T>(send: impl FnOnce() -> T) -> T {
    let before = SENDING.replace(true);
    let result = send();
    SENDING.set(before);
    result
}
