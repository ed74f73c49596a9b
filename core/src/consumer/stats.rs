//! What a consumer has done so far, and how it fares. Readable at any time, from any thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::batch::Fate;
use crate::error::Error;
use crate::message::{Message, Timestamp};

/// Counts since the consumer was made, and the newest readings of what goes up and down.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    pub batches: u64,
    pub received: u64,
    /// Messages that are done.
    pub handled: u64,
    /// Messages whose handler failed, whatever became of them.
    pub failed: u64,
    /// Messages that go to the retry queue.
    pub retried: u64,
    /// Messages that go to the dead letters at once.
    pub dead: u64,
    /// Messages that went back unhandled, or whose handlers were still running, at a stop.
    pub handed_back: u64,
    /// Connections made after the first.
    pub reconnects: u64,
    /// Messages in the newest batch or page.
    pub batch_size: u64,
    /// Time in handlers, summed over all of them.
    pub handler_seconds: f64,
    /// Events between the newest batch and the newest tick, looked at every ten seconds; 0 once there is nothing.
    pub lag_events: u64,
    /// Age of the newest message of the newest batch when it arrived; 0 once there is nothing.
    pub lag_seconds: f64,
}

impl Stats {
    /// The values by name, for languages that make an object of them.
    pub fn entries(&self) -> [(&'static str, f64); 12] {
        [
            ("batches", self.batches as f64),
            ("received", self.received as f64),
            ("handled", self.handled as f64),
            ("failed", self.failed as f64),
            ("retried", self.retried as f64),
            ("dead", self.dead as f64),
            ("handed_back", self.handed_back as f64),
            ("reconnects", self.reconnects as f64),
            ("batch_size", self.batch_size as f64),
            ("handler_seconds", self.handler_seconds),
            ("lag_events", self.lag_events as f64),
            ("lag_seconds", self.lag_seconds),
        ]
    }
}

/// What a consumer is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// Not run yet, stopped, or ended by an error.
    #[default]
    Stopped,
    Connecting,
    /// Waits after a failure before it tries again.
    Retrying,
    /// Another consumer of this name is at work.
    Standby,
    /// Waits for messages.
    Idle,
    /// Has a batch in hand.
    Handling,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Stopped => "stopped",
            Status::Connecting => "connecting",
            Status::Retrying => "retrying",
            Status::Standby => "standby",
            Status::Idle => "idle",
            Status::Handling => "handling",
        }
    }
}

/// How a consumer fares.
#[derive(Clone, Debug)]
pub struct Health {
    pub status: Status,
    /// Since when the status holds.
    pub since: Timestamp,
    /// The newest failure of the loop, and its time. Handlers' failures are only counted.
    pub last_error: Option<String>,
    pub last_error_at: Option<Timestamp>,
}

impl Health {
    /// Whether the loop works: it waits for messages, for its turn, or handles some.
    pub fn is_alive(&self) -> bool {
        matches!(self.status, Status::Standby | Status::Idle | Status::Handling)
    }
}

pub(super) struct Monitor {
    stats: Mutex<Stats>,
    handler_nanos: AtomicU64,
    health: Mutex<Health>,
}

impl Monitor {
    pub(super) fn new() -> Monitor {
        let health = Health { status: Status::default(), since: now(), last_error: None, last_error_at: None };
        Monitor { stats: Mutex::default(), handler_nanos: AtomicU64::new(0), health: Mutex::new(health) }
    }

    pub(super) fn stats(&self) -> Stats {
        let handled = Duration::from_nanos(self.handler_nanos.load(Ordering::Relaxed));
        Stats { handler_seconds: handled.as_secs_f64(), ..self.count(|stats| *stats) }
    }

    pub(super) fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn count<T>(&self, f: impl FnOnce(&mut Stats) -> T) -> T {
        f(&mut self.stats.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn received(&self, messages: &[Message]) {
        let newest = messages.iter().map(|m| m.created_at).max();
        let age = newest.map_or(0, |created| now().as_unix_micros() - created.as_unix_micros());
        self.count(|stats| {
            stats.batches += 1;
            stats.received += messages.len() as u64;
            stats.batch_size = messages.len() as u64;
            // Another machine's clock may be ahead of ours.
            stats.lag_seconds = age.max(0) as f64 / 1e6;
        });
    }

    pub(super) fn caught_up(&self) {
        self.count(|stats| {
            stats.lag_events = 0;
            stats.lag_seconds = 0.0;
        });
    }

    pub(super) fn handler_ran(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.handler_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Counts a batch that the server has taken over.
    pub(super) fn settled(&self, fates: impl Iterator<Item = Fate>) {
        self.count(|stats| {
            for fate in fates {
                match fate {
                    Fate::Done => stats.handled += 1,
                    Fate::Retried => stats.retried += 1,
                    Fate::Dead => stats.dead += 1,
                    Fate::HandedBack => stats.handed_back += 1,
                }
            }
        });
    }

    pub(super) fn status(&self, status: Status) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        if health.status != status {
            health.status = status;
            health.since = now();
        }
    }

    pub(super) fn failed(&self, error: &Error) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.last_error = Some(error.to_string());
        health.last_error_at = Some(now());
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
