//! Whether a consumer shall stop, and how soon.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::options::StopPolicy;

/// How far a stop has gone. Each step includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Running,
    /// No new batch; what happens to the one in hand is the policy's to say.
    Asked,
    /// Nothing more is begun, and nothing waited for.
    Forced,
}

pub(super) struct Stop {
    stage: watch::Sender<Stage>,
    deadline: Mutex<Option<Instant>>,
    policy: StopPolicy,
    timeout: Option<Duration>,
}

impl Stop {
    pub(super) fn new(policy: StopPolicy, timeout: Option<Duration>) -> Stop {
        Stop { stage: watch::Sender::new(Stage::Running), deadline: Mutex::default(), policy, timeout }
    }

    /// The first call asks, the second forces.
    pub(super) fn ask(&self) {
        self.stage.send_modify(|stage| {
            *stage = match *stage {
                Stage::Running => {
                    *self.deadline() = self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
                    Stage::Asked
                }
                Stage::Asked | Stage::Forced => Stage::Forced,
            }
        });
    }

    /// The stop is answered; the consumer may be used again.
    pub(super) fn reset(&self) {
        *self.deadline() = None;
        self.stage.send_replace(Stage::Running);
    }

    pub(super) fn is_asked(&self) -> bool {
        *self.stage.borrow() >= Stage::Asked
    }

    /// Whether the batch in hand is to be handled no further.
    pub(super) fn hands_back(&self) -> bool {
        self.is_asked() && (self.policy == StopPolicy::Handback || self.is_overdue())
    }

    /// Whether nothing is waited for any more.
    pub(super) fn is_overdue(&self) -> bool {
        *self.stage.borrow() == Stage::Forced || self.deadline().is_some_and(|deadline| deadline <= Instant::now())
    }

    pub(super) async fn asked(&self) {
        // Fails only without a sender, which is here.
        let _ = self.stage.subscribe().wait_for(|stage| *stage >= Stage::Asked).await;
    }

    /// Waits until nothing is waited for any more.
    pub(super) async fn overdue(&self) {
        self.asked().await;
        let mut stage = self.stage.subscribe();
        let forced = stage.wait_for(|stage| *stage == Stage::Forced);
        let deadline = *self.deadline();
        match deadline {
            Some(deadline) => drop(tokio::time::timeout_at(deadline.into(), forced).await),
            None => drop(forced.await),
        }
    }

    fn deadline(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
