//! A batch on its way through the handlers, and what they made of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Shared;
use super::hooks::{self, Hooks};
use super::lanes::Lanes;
use super::options::{ConsumerOptions, UnknownHandlerPolicy};
use crate::client::{Client, Interval, Routing, Verdict};
use crate::connect::Pulse;
use crate::message::Message;
use crate::policy::retry_delay;

/// What a handler made of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Verdict(Verdict),
    /// The handler failed: the consumer's `retry_after` and `retry_backoff` say what follows.
    Failed {
        /// Becomes the reason that is stored with the message.
        error: String,
    },
}

impl Outcome {
    /// The stable name, for hooks and traces: `ack`, `retry`, `dead` or `failed`.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Failed { .. } => "failed",
            Outcome::Verdict(Verdict::Ack) => "ack",
            Outcome::Verdict(Verdict::Retry { .. }) => "retry",
            Outcome::Verdict(Verdict::Dead { .. }) => "dead",
        }
    }
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Outcome {
        Outcome::Verdict(verdict)
    }
}

/// What became of a message in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    Retried,
    Dead,
    HandedBack,
}

/// The page of a large batch that a worker holds.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub token: String,
    pub worker: String,
}

/// The messages of one batch, or of a page of a large one.
///
/// Handlers take their messages with [`Batch::take`], as many at once as [`Batch::lanes`] says, and settle each. Then
/// the batch is given to [`super::Consumer::finish`]. Any thread.
pub struct Batch {
    messages: Vec<Message>,
    routes: Vec<Option<usize>>,
    progress: Mutex<Progress>,
    consumer: Arc<Shared>,
    hooks: Hooks,
    pub(super) time_zone: String,
    pub(super) page: Option<Page>,
    pub(super) client: Option<Client>,
    /// Of the connection by which the batch came and alone can be finished.
    pulse: Option<Pulse>,
}

struct Progress {
    lanes: Lanes,
    slots: Vec<Slot>,
    /// The server has been told, or will not be: nothing more is handed out, and no verdict counts.
    closed: bool,
}

#[derive(Clone, Debug)]
enum Slot {
    Waiting,
    Taken(Instant),
    /// With what was made of the message in the end, and whether its handler failed before that was decided.
    Settled(Outcome, bool),
}

const NO_VERDICT: &str = "the handler gave no verdict";

/// What is to be told the server, and what to count once it knows.
pub(super) struct Settlement {
    pub routed: Vec<Routing>,
    pub fates: Vec<Fate>,
}

impl Settlement {
    pub fn hands_back(&self) -> bool {
        self.routed.iter().any(|routing| !routing.counted)
    }
}

impl Batch {
    pub(super) fn new(
        messages: Vec<Message>,
        routes: Vec<Option<usize>>,
        consumer: Arc<Shared>,
        page: Option<Page>,
        client: Option<Client>,
        pulse: Option<Pulse>,
    ) -> Batch {
        let lanes = Lanes::new(&messages, consumer.options.ordered_by);
        let progress = Mutex::new(Progress { lanes, slots: vec![Slot::Waiting; messages.len()], closed: false });
        let hooks = hooks::of(&consumer.hooks);
        let time_zone = String::new();
        Batch { messages, routes, progress, consumer, hooks, time_zone, page, client, pulse }
    }

    /// The id under which the batch is open; it changes when another worker takes the batch over.
    pub fn id(&self) -> i64 {
        self.messages.first().map_or(0, |m| m.batch_id)
    }

    /// The setting TimeZone of the session that received it; empty if the server did not report it.
    pub fn time_zone(&self) -> &str {
        &self.time_zone
    }

    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The number of the handler for a message, as [`super::Consumer::on`] gave it; `None` when there is none.
    pub fn handler(&self, index: usize) -> Option<usize> {
        self.routes.get(index).copied().flatten()
    }

    /// In transactional mode, the client of the transaction that the handlers' effects belong to.
    pub fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    /// How many lanes of handlers may run at once; no more than there are messages.
    pub fn lanes(&self) -> usize {
        self.consumer.options.concurrency.min(self.messages.len())
    }

    /// The position of the next message to handle. `None` ends the lane: all are taken, or the consumer stops.
    ///
    /// Also when the connection is lost: the batch comes again, perhaps to another consumer, that shall not find this one
    /// still at work. Never blocks. In transactional mode use [`super::Consumer::take`] instead.
    pub fn take(&self) -> Option<usize> {
        self.next(None)
    }

    /// As [`Batch::take`], after the message in hand was acknowledged, if one is given: what happens most, with one look
    /// at the clock and one lock.
    pub fn next(&self, done: Option<usize>) -> Option<usize> {
        let done = match done {
            Some(index) if self.hooks.has_after() => {
                self.settle(index, Verdict::Ack);
                None
            }
            done => done,
        };
        let mut now = Instant::now();
        let mut progress = self.progress();
        if let Some(index) = done.filter(|index| *index < self.messages.len()) {
            self.consumer.monitor.handler_ran(progress.time_of(index, now));
            progress.settle(index, Verdict::Ack.into(), false);
        }
        loop {
            if progress.closed || self.is_cut_off() || self.consumer.stop.hands_back() {
                return None;
            }
            let index = progress.lanes.take()?;
            if self.routes[index].is_some() {
                progress.slots[index] = Slot::Taken(now);
                drop(progress);
                self.hooks.begins(&self.messages[index]);
                return Some(index);
            }
            // Without the lock: writing a log line may wait for a thread that waits for the lock.
            drop(progress);
            let verdict = self.unknown(&self.messages[index]);
            now = Instant::now();
            progress = self.progress();
            progress.settle(index, verdict.into(), false);
        }
    }

    /// All messages at once, for a handler of whole batches. Empty if the consumer stops.
    pub fn take_all(&self) -> Vec<usize> {
        let mut progress = self.progress();
        if progress.closed || self.is_cut_off() || self.consumer.stop.hands_back() {
            return vec![];
        }
        let all: Vec<usize> = (0..self.messages.len()).collect();
        progress.lanes = Lanes::Free { next: all.len(), count: all.len() };
        progress.slots.fill(Slot::Taken(Instant::now()));
        drop(progress);
        self.messages.iter().for_each(|message| self.hooks.begins(message));
        all
    }

    /// Says what a handler made of its message. A failure is logged. The last word counts, until the batch is finished.
    pub fn settle(&self, index: usize, outcome: impl Into<Outcome>) {
        let outcome = outcome.into();
        match &outcome {
            Outcome::Failed { error } => self.fail(index, error, error),
            Outcome::Verdict(_) => self.conclude(index, outcome),
        }
    }

    /// As [`Batch::settle`] with [`Outcome::Failed`]; the log says more than what is stored with the message, for
    /// instance where it happened, or nothing more, where the caller adds that himself.
    pub fn fail(&self, index: usize, error: &str, detail: &str) {
        let Some(message) = self.messages.get(index) else { return };
        // Without the lock, as in `next`.
        let (id, colon) = (message.msg_id, if detail.is_empty() { "" } else { ": " });
        log::error!(target: &self.consumer.logger, "handler failed for msg_id={id}, nacking{colon}{detail}");
        self.consumer.monitor.count(|stats| stats.failed += 1);
        self.conclude(index, Outcome::Failed { error: error.to_owned() });
    }

    fn conclude(&self, index: usize, mut outcome: Outcome) {
        let Some(message) = self.messages.get(index) else { return };
        let taken = self.progress().time_of(index, Instant::now());
        self.consumer.monitor.handler_ran(taken);
        self.hooks.ended(message, &outcome, taken);
        let failed = matches!(outcome, Outcome::Failed { .. });
        if let Some(verdict) = self.hooks.decides(message, &outcome) {
            outcome = verdict.into();
        }
        self.progress().settle(index, outcome, failed);
    }

    /// Nothing more is handed out. Handlers that gave no verdict have failed, unless a stop did not wait for them.
    pub(super) fn close(&self) {
        let stop = &self.consumer.stop;
        let slots = {
            let mut progress = self.progress();
            progress.lanes = Lanes::Free { next: 0, count: 0 };
            progress.slots.clone()
        };
        for (index, slot) in slots.iter().enumerate() {
            match slot {
                Slot::Settled(..) => {}
                Slot::Waiting if stop.is_asked() => {}
                Slot::Taken(_) if stop.is_overdue() => {}
                Slot::Waiting | Slot::Taken(_) => self.fail(index, NO_VERDICT, NO_VERDICT),
            }
        }
        self.progress().closed = true;
    }

    /// Whether the connection is lost, and with it the batch.
    pub(super) fn is_cut_off(&self) -> bool {
        self.pulse.as_ref().is_some_and(Pulse::has_stopped)
    }

    pub(super) fn cut_off_by(&self) -> Option<String> {
        self.pulse.as_ref().and_then(Pulse::reason)
    }

    /// The batch will not be finished: nothing more is handed out, and no verdict counts.
    pub(super) fn abandon(&self) {
        let mut progress = self.progress();
        progress.lanes = Lanes::Free { next: 0, count: 0 };
        progress.closed = true;
    }

    /// Whether what the handler did in the transaction is to be undone, because the message comes again.
    pub(super) fn is_undone(&self, index: usize) -> bool {
        let done = Slot::Settled(Verdict::Ack.into(), false);
        match self.progress().slots.get(index).unwrap_or(&done) {
            Slot::Settled(Outcome::Verdict(Verdict::Ack | Verdict::Dead { .. }), failed) => *failed,
            _ => true,
        }
    }

    /// What becomes of each message, once the batch is closed.
    pub(super) fn settlement(&self) -> Settlement {
        let slots = self.progress().slots.clone();
        let mut settlement = Settlement { routed: vec![], fates: Vec::with_capacity(self.messages.len()) };
        for (message, slot) in self.messages.iter().zip(&slots) {
            let (fate, routing) = match slot {
                Slot::Settled(outcome, _) => judged(&self.consumer.options, &self.consumer.logger, message, outcome),
                // Nobody got round to it before the stop; or the stop did not wait for the handler.
                Slot::Waiting | Slot::Taken(_) => handed_back(message),
            };
            settlement.fates.push(fate);
            settlement.routed.extend(routing);
        }
        settlement
    }

    fn unknown(&self, message: &Message) -> Verdict {
        let event_type = message.event_type.as_deref().unwrap_or("None");
        let (word, verdict) = match self.consumer.options.unknown_handler_policy {
            UnknownHandlerPolicy::Ack => ("acking", Verdict::Ack),
            UnknownHandlerPolicy::Nack => {
                let reason = Some(format!("no handler for type={event_type}"));
                ("nacking", Verdict::Retry { after: None, reason })
            }
        };
        let id = message.msg_id;
        log::warn!(target: &self.consumer.logger, "no handler for event type={event_type} ev_id={id}; {word}");
        verdict
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("id", &self.id()).field("messages", &self.messages.len()).finish_non_exhaustive()
    }
}

impl Progress {
    /// How long a message has been with its handler.
    fn time_of(&self, index: usize, now: Instant) -> Duration {
        match self.slots.get(index) {
            Some(Slot::Taken(since)) => now.saturating_duration_since(*since),
            _ => Duration::ZERO,
        }
    }

    fn settle(&mut self, index: usize, outcome: Outcome, failed: bool) {
        if self.closed {
            return;
        }
        // A failure stays one, whatever is decided on it.
        let failed_before = match self.slots[index] {
            Slot::Settled(_, failed) => failed,
            Slot::Taken(_) | Slot::Waiting => {
                self.lanes.settle(index);
                false
            }
        };
        self.slots[index] = Slot::Settled(outcome, failed || failed_before);
    }
}

fn handed_back(message: &Message) -> (Fate, Option<Routing>) {
    (Fate::HandedBack, Some(Routing::hand_back(message.msg_id)))
}

fn judged(options: &ConsumerOptions, logger: &str, message: &Message, outcome: &Outcome) -> (Fate, Option<Routing>) {
    let (fate, after, reason) = match outcome {
        Outcome::Verdict(Verdict::Ack) => return (Fate::Done, None),
        Outcome::Verdict(Verdict::Dead { reason }) => (Fate::Dead, None, reason.as_deref()),
        Outcome::Verdict(Verdict::Retry { after, reason }) => {
            let after = after.as_ref().filter(|after| is_possible(after, logger));
            (Fate::Retried, Some(after.unwrap_or(&options.retry_after).clone()), reason.as_deref())
        }
        Outcome::Failed { error } => {
            let delay = retry_delay(options, message.attempt(), fastrand::f64());
            (Fate::Retried, Some(delay), Some(error.as_str()))
        }
    };
    // PostgreSQL's text holds no NUL; an error's text that does must not keep the batch from being finished.
    let reason = reason.map(|reason| reason.replace('\0', "\u{fffd}"));
    (fate, Some(Routing { msg_id: message.msg_id, dead: fate == Fate::Dead, after, reason, counted: true }))
}

/// A single bad verdict must not keep the whole batch from being finished.
fn is_possible(after: &Interval, logger: &str) -> bool {
    after
        .to_sql("finish", "after")
        .inspect_err(|error| {
            log::error!(target: logger, "a handler's verdict: {}; using retry_after", error.message());
        })
        .is_ok()
}

/// Whether handlers gave interval text of their own, which only the server can read.
pub(super) fn has_text_delays(routed: &[Routing], retry_after: &Interval) -> bool {
    routed.iter().any(|routing| is_foreign_text(routing, retry_after))
}

/// The consumer's own delay in place of every interval text of the handlers'.
pub(super) fn without_text_delays(routed: &[Routing], retry_after: &Interval) -> Vec<Routing> {
    let mut routed = routed.to_vec();
    for routing in routed.iter_mut().filter(|routing| is_foreign_text(routing, retry_after)) {
        routing.after = Some(retry_after.clone());
    }
    routed
}

fn is_foreign_text(routing: &Routing, retry_after: &Interval) -> bool {
    matches!(&routing.after, Some(after @ Interval::Text(_)) if after != retry_after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Timestamp;

    fn judge(outcome: Outcome) -> Routing {
        let message = Message {
            msg_id: 7,
            batch_id: 1,
            event_type: None,
            payload: None,
            retry_count: None,
            created_at: Timestamp::from_unix_micros(0),
            extra: Default::default(),
        };
        judged(&ConsumerOptions::new("q", "c"), "pgque", &message, &outcome).1.unwrap()
    }

    #[test]
    fn an_impossible_delay_becomes_the_consumers_own() {
        let retry = |after: Option<f64>| {
            let after = after.map(Interval::Seconds);
            judge(Verdict::Retry { after, reason: None }.into()).after
        };
        for after in [None, Some(f64::NAN), Some(-1.0), Some(1e12)] {
            assert_eq!(retry(after), Some(Interval::Seconds(60.0)));
        }
        assert_eq!(retry(Some(0.5)), Some(Interval::Seconds(0.5)));
    }

    #[test]
    fn a_reason_with_nul_can_be_stored() {
        let routing = judge(Outcome::Failed { error: "a\0b".into() });
        assert_eq!(routing.reason.as_deref(), Some("a\u{fffd}b"));
    }
}
