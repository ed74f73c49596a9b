//! Callbacks around the handlers, for Rust and C; the other languages call theirs beside the handler.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::Consumer;
use super::batch::Outcome;
use crate::client::Verdict;
use crate::message::Message;

type OnFailure = dyn Fn(i64, &str) -> Option<Verdict> + Send + Sync;
type Before = dyn Fn(&Message) + Send + Sync;
type After = dyn Fn(&Message, &Outcome, Duration) + Send + Sync;

#[derive(Clone, Default)]
pub(super) struct Hooks {
    on_failure: Option<Arc<OnFailure>>,
    before: Option<Arc<Before>>,
    after: Option<Arc<After>>,
}

impl Hooks {
    pub(super) fn begins(&self, message: &Message) {
        if let Some(before) = &self.before {
            before(message);
        }
    }

    /// Whether anything is called after a message that is done.
    pub(super) fn has_after(&self) -> bool {
        self.after.is_some()
    }

    pub(super) fn ended(&self, message: &Message, outcome: &Outcome, time: Duration) {
        if let Some(after) = &self.after {
            after(message, outcome, time);
        }
    }

    /// The callback's verdict on a failure in place of the options'.
    pub(super) fn decides(&self, message: &Message, outcome: &Outcome) -> Option<Verdict> {
        let (Some(on_failure), Outcome::Failed { error }) = (&self.on_failure, outcome) else { return None };
        let mut verdict = on_failure(message.attempt(), error)?;
        if let Verdict::Retry { reason, .. } | Verdict::Dead { reason } = &mut verdict {
            reason.get_or_insert_with(|| error.clone());
        }
        Some(verdict)
    }
}

impl Consumer {
    /// Decides on failures in place of `retry_after` and `retry_backoff`: gets the number of the attempt, from 1, and
    /// the error's text. `None` leaves it to the options. Called on the handler's thread; must not block.
    pub fn on_failure(&self, decide: impl Fn(i64, &str) -> Option<Verdict> + Send + Sync + 'static) {
        self.hooks(|hooks| hooks.on_failure = Some(Arc::new(decide)));
    }

    /// Called before each message that a handler gets, on its thread.
    pub fn before_message(&self, before: impl Fn(&Message) + Send + Sync + 'static) {
        self.hooks(|hooks| hooks.before = Some(Arc::new(before)));
    }

    /// Called after each message that a handler had, on its thread, with the time that it took.
    pub fn after_message(&self, after: impl Fn(&Message, &Outcome, Duration) + Send + Sync + 'static) {
        self.hooks(|hooks| hooks.after = Some(Arc::new(after)));
    }

    fn hooks(&self, change: impl FnOnce(&mut Hooks)) {
        change(&mut self.0.hooks.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A copy to call without the lock: what is called may set another.
pub(super) fn of(hooks: &RwLock<Hooks>) -> Hooks {
    hooks.read().unwrap_or_else(PoisonError::into_inner).clone()
}
