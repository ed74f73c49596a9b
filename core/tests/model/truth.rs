//! The model: what was sent, and what each subscription has had of it.

use std::collections::{BTreeMap, BTreeSet};

pub type Outcome<T = ()> = Result<T, String>;

/// A message as it was received.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    pub id: i64,
    /// The payload, a number that no other event has.
    pub event: u64,
    pub retry: Option<i32>,
}

/// What a consumer's transaction does to its subscription when it commits.
#[derive(Clone, Debug)]
pub enum Effect {
    Nacked(u64),
    Acked(Vec<Delivery>),
}

#[derive(Default)]
struct Subscription {
    /// Originals that were acked.
    had: BTreeSet<u64>,
    /// Events that wait in the retry queue.
    waiting: BTreeSet<u64>,
    /// Copies of events that are in the log again, or will be: made, and acked.
    copies: BTreeMap<u64, (u32, u32)>,
}

pub struct Truth {
    committed: BTreeSet<u64>,
    subscriptions: Vec<Subscription>,
    sent: u64,
}

impl Truth {
    pub fn new(subscriptions: usize) -> Truth {
        Truth {
            committed: BTreeSet::new(),
            subscriptions: (0..subscriptions).map(|_| Subscription::default()).collect(),
            sent: 0,
        }
    }

    pub fn next_event(&mut self) -> u64 {
        self.sent += 1;
        self.sent
    }

    pub fn commit(&mut self, events: Vec<u64>) {
        self.committed.extend(events);
    }

    /// What a subscription was given must be in order, committed, and not acked before.
    pub fn check(&self, subscription: usize, batch: &[Delivery]) -> Outcome {
        let this = &self.subscriptions[subscription];
        // Equal ids are copies of one event that was nacked, moved, and nacked again before the ack.
        if let Some(pair) = batch.windows(2).find(|pair| pair[0].id > pair[1].id) {
            return Err(format!("not in order: {pair:?}"));
        }
        for delivery in batch {
            let event = &delivery.event;
            if !self.committed.contains(event) {
                return Err(format!("event {event} was delivered and its transaction is not committed"));
            }
            match delivery.retry {
                None if this.had.contains(event) => {
                    return Err(format!("event {event} was delivered to subscription {subscription} after its ack"));
                }
                Some(_) if this.copies.get(event).is_none_or(|(made, acked)| acked >= made) => {
                    return Err(format!("event {event} came as a retry to subscription {subscription} unasked"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub fn apply(&mut self, subscription: usize, effect: Effect) -> Outcome {
        let this = &mut self.subscriptions[subscription];
        match effect {
            Effect::Nacked(event) => {
                // The second nack of one transaction changes nothing.
                if this.waiting.insert(event) {
                    this.copies.entry(event).or_default().0 += 1;
                }
            }
            Effect::Acked(batch) => {
                for Delivery { event, retry, .. } in batch {
                    let first = match retry {
                        None => this.had.insert(event),
                        Some(_) => {
                            let (made, acked) = this.copies.entry(event).or_default();
                            *acked += 1;
                            acked <= made
                        }
                    };
                    if !first {
                        return Err(format!("event {event} was acked twice by subscription {subscription}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Then a nack changes nothing: also one whose transaction commits when the retry has been moved.
    pub fn is_waiting(&self, subscription: usize, event: u64) -> bool {
        self.subscriptions[subscription].waiting.contains(&event)
    }

    pub fn retries_moved(&mut self) -> u64 {
        self.subscriptions.iter_mut().map(|s| std::mem::take(&mut s.waiting).len() as u64).sum()
    }

    /// When all has come to rest.
    pub fn complete(&self) -> Outcome {
        for (number, this) in self.subscriptions.iter().enumerate() {
            let lost: Vec<_> = self.committed.difference(&this.had).collect();
            if !lost.is_empty() {
                return Err(format!("subscription {number} never got {lost:?}"));
            }
            if let Some((event, (made, acked))) = this.copies.iter().find(|(_, (made, acked))| made != acked) {
                return Err(format!("of {made} retries of event {event} subscription {number} got {acked}"));
            }
        }
        Ok(())
    }
}
