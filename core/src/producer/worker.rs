//! The task that gathers what was accepted, sends it and answers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot, watch};

use super::plan::{Shipment, halves, plan};
use super::{Item, Job, ProducerOptions, ProducerStats, closed};
use crate::client::{Attempt, Client, Fate, Stored};
use crate::connect::{Connection, Settings};
use crate::error::{Error, Kind, Result};
use crate::policy::{Backoff, ends_loop};

/// How often the senders that were just answered get the chance to come again before the next batch leaves.
const ROUNDS_FOR_RETURNERS: usize = 4;

pub(super) struct Worker {
    settings: Settings,
    options: ProducerOptions,
    jobs: mpsc::Receiver<Job>,
    /// What did not fit into the last batch any more.
    next: Option<Job>,
    /// How many were gathered last: so many may come again at once.
    returners: usize,
    shipments: VecDeque<Shipment>,
    /// The first shipment may have reached the server.
    at_risk: bool,
    client: Option<Client>,
    backoff: Backoff,
    /// Why nothing is sent at the moment.
    trouble: Option<String>,
    stats: Arc<Mutex<ProducerStats>>,
}

/// What became of the first shipment.
enum Outcome {
    Sent(Vec<i64>),
    /// Nothing is stored; time may mend it.
    NotSent(Error),
    /// Nothing is stored; time will not mend it.
    Refused(Error),
    Uncertain(Error),
}

impl Worker {
    pub fn new(
        settings: Settings,
        options: ProducerOptions,
        jobs: mpsc::Receiver<Job>,
        stats: Arc<Mutex<ProducerStats>>,
    ) -> Worker {
        // A transaction whose connection was lost has to be seen as lost.
        let settings = settings.autocommit(true).reconnect(false);
        Worker {
            settings,
            options,
            jobs,
            next: None,
            returners: 0,
            shipments: VecDeque::new(),
            at_risk: false,
            client: None,
            backoff: Backoff::new(),
            trouble: None,
            stats,
        }
    }

    /// Works until the producer is closed and everything is answered, or until it is abandoned.
    pub async fn run(mut self, mut abandoned: watch::Receiver<bool>) {
        tokio::select! {
            biased;
            // Once the producer itself is gone nobody can abandon any more.
            true = async { abandoned.wait_for(|abandoned| *abandoned).await.is_ok() } => {}
            () = self.work() => {}
        }
        self.turn_away();
        if let Some(client) = self.client.take() {
            client.close().await;
        }
    }

    async fn work(&mut self) {
        while let Some((items, flush)) = self.gather().await {
            self.returners = items.len();
            self.shipments.extend(plan(items));
            while !self.shipments.is_empty() {
                self.ship().await;
            }
            if let Some(done) = flush {
                let _ = done.send(());
            }
        }
    }

    /// Whatever has queued up, within the bounds of a batch, and who waits for it to be flushed; waits for the first.
    async fn gather(&mut self) -> Option<(Vec<Item>, Option<oneshot::Sender<()>>)> {
        let (mut items, mut bytes) = (Vec::new(), 0);
        let mut linger_until = None;
        let mut rounds = 0;
        loop {
            let job = match self.next.take() {
                Some(job) => job,
                None => match self.jobs.try_recv() {
                    Ok(job) => job,
                    Err(_) if items.is_empty() => self.jobs.recv().await?,
                    Err(mpsc::error::TryRecvError::Disconnected) => return Some((items, None)),
                    Err(mpsc::error::TryRecvError::Empty)
                        if rounds < ROUNDS_FOR_RETURNERS && items.len() < self.returners =>
                    {
                        rounds += 1;
                        tokio::task::yield_now().await;
                        continue;
                    }
                    Err(mpsc::error::TryRecvError::Empty) if self.options.linger.is_zero() => {
                        return Some((items, None));
                    }
                    Err(mpsc::error::TryRecvError::Empty) => {
                        let until = *linger_until.get_or_insert_with(|| Instant::now() + self.options.linger);
                        match tokio::time::timeout_at(until.into(), self.jobs.recv()).await {
                            Ok(Some(job)) => job,
                            _ => return Some((items, None)),
                        }
                    }
                },
            };
            match job {
                Job::Flush(done) => return Some((items, Some(done))),
                Job::Send(item) if !items.is_empty() && bytes + item.bytes > self.options.batch_bytes_max => {
                    self.next = Some(Job::Send(item));
                    return Some((items, None));
                }
                Job::Send(item) => {
                    bytes += item.bytes;
                    items.push(*item);
                }
            }
            if items.len() >= self.options.batch_size_max {
                return Some((items, None));
            }
        }
    }

    /// Tries the first shipment once and answers those for whom that decides.
    async fn ship(&mut self) {
        self.expire();
        if self.shipments.front().is_none_or(|shipment| shipment.items.is_empty()) {
            self.shipments.pop_front();
            return;
        }
        let outcome = self.attempt().await;
        self.at_risk = false;
        if !matches!(outcome, Outcome::NotSent(_)) {
            self.backoff = Backoff::new();
            self.trouble = None;
        }
        match outcome {
            Outcome::Sent(ids) => {
                let items = self.first();
                self.count(|stats| {
                    stats.sent += ids.len() as u64;
                    stats.batches += 1;
                    stats.batch_size = ids.len() as u64;
                });
                items.into_iter().zip(ids).for_each(|(item, id)| self.answer(item, Ok(id)));
            }
            Outcome::Refused(error) => {
                let Some(shipment) = self.shipments.pop_front() else { return };
                match halves(shipment, &error) {
                    Ok([first, second]) => {
                        self.shipments.push_front(second);
                        self.shipments.push_front(first);
                    }
                    Err(items) => self.fail(items, &error),
                }
            }
            Outcome::Uncertain(error) => {
                let items = self.first();
                self.fail(items, &error);
            }
            Outcome::NotSent(error) => {
                // A connection that worked until now is replaced at once.
                let delay = self.trouble.as_ref().map(|_| self.backoff.next_delay()).unwrap_or_default();
                log::warn!(target: "pgque", "producer: {error}; trying again in {:.1}s", delay.as_secs_f64());
                self.trouble = Some(error.message().to_owned());
                tokio::time::sleep(delay).await;
            }
        }
    }

    /// Answers those of the first shipment that have waited long enough.
    fn expire(&mut self) {
        let now = Instant::now();
        let Some(shipment) = self.shipments.front_mut() else { return };
        let late: Vec<Item> = shipment.items.extract_if(.., |item| item.until <= now).collect();
        let reason = self.trouble.as_deref().unwrap_or("the server is too slow for what is sent");
        let message = format!("not sent within {} s: {reason}", self.options.send_timeout.as_secs_f64());
        self.fail(late, &Error::new(Kind::Timeout, "send", message));
    }

    async fn attempt(&mut self) -> Outcome {
        let client = match self.client().await {
            Ok(client) => client,
            Err(error) if ends_loop(&error) => return Outcome::Refused(error),
            Err(error) => return self.not_sent(error).await,
        };
        let Some(shipment) = self.shipments.front() else { return Outcome::Sent(Vec::new()) };
        self.at_risk = true;
        let answer = tokio::time::timeout(self.options.send_timeout, send(&client, shipment)).await;
        let attempt = match answer {
            Ok(Ok(attempt)) => attempt,
            Ok(Err(error)) => return self.not_sent(error).await,
            Err(_) => return self.uncertain("the server did not answer in time").await,
        };
        match (attempt.end, attempt.stored) {
            (Ok(()), Some(stored)) => Outcome::Sent(stored.ids),
            (Ok(()), None) => Outcome::Refused(Error::new(Kind::Internal, "send", "the server gave no answer")),
            // The server ran it to its end and then lost us: only its log knows whether it was committed.
            (Err(error), Some(stored)) if error.kind() == Kind::Connection => self.look_up(stored, error).await,
            // Without the server's own word that it ended the statement it may have run; a proxy's word is none.
            (Err(error), None) if error.kind() == Kind::Connection && !is_shutdown(&error) => {
                self.uncertain(error.message()).await
            }
            (Err(error), _) if ends_loop(&error) => Outcome::Refused(error),
            (Err(error), _) => self.not_sent(error).await,
        }
    }

    async fn not_sent(&mut self, error: Error) -> Outcome {
        self.lose(&error).await;
        Outcome::NotSent(error)
    }

    async fn uncertain(&mut self, reason: &str) -> Outcome {
        let error = uncertain(reason);
        self.lose(&error).await;
        Outcome::Uncertain(error)
    }

    async fn look_up(&mut self, stored: Stored, error: Error) -> Outcome {
        self.lose(&error).await;
        match self.fate(&stored.transaction).await {
            Fate::Committed => Outcome::Sent(stored.ids),
            Fate::Aborted => Outcome::NotSent(error),
            Fate::Open | Fate::Unknown => Outcome::Uncertain(uncertain(error.message())),
        }
    }

    /// What became of a transaction whose connection was lost. A server that is away, or that has not noticed the
    /// loss itself, is asked again, for as long as a sender may wait.
    async fn fate(&mut self, transaction: &str) -> Fate {
        let until = Instant::now() + self.options.send_timeout;
        let ask = async {
            loop {
                let fate = match self.client().await {
                    Ok(client) => client.fate(transaction).await,
                    Err(error) => Err(error),
                };
                match fate {
                    Ok(Fate::Open) => {}
                    Ok(fate) => return fate,
                    Err(error) if ends_loop(&error) => return Fate::Unknown,
                    Err(error) => self.lose(&error).await,
                }
                tokio::time::sleep(self.backoff.next_delay()).await;
            }
        };
        tokio::time::timeout_at(until.into(), ask).await.unwrap_or(Fate::Unknown)
    }

    async fn client(&mut self) -> Result<Client> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let connection = Connection::open(self.settings.clone()).await?;
        Ok(self.client.insert(Client::over(connection)).clone())
    }

    async fn lose(&mut self, error: &Error) {
        self.count(|stats| stats.reconnects += 1);
        self.note(error);
        if let Some(client) = self.client.take() {
            client.close().await;
        }
    }

    /// Answers everybody who still waits.
    fn turn_away(&mut self) {
        if std::mem::take(&mut self.at_risk) {
            let items = self.first();
            self.fail(items, &uncertain("the producer was closed before the server answered"));
        }
        let shipments = std::mem::take(&mut self.shipments);
        let mut items: Vec<Item> = shipments.into_iter().flat_map(|shipment| shipment.items).collect();
        self.jobs.close();
        let mut job = self.next.take();
        while let Some(next) = job.or_else(|| self.jobs.try_recv().ok()) {
            if let Job::Send(item) = next {
                items.push(*item);
            }
            job = None;
        }
        self.fail(items, &closed("send"));
    }

    fn first(&mut self) -> Vec<Item> {
        self.shipments.pop_front().map(|shipment| shipment.items).unwrap_or_default()
    }

    fn fail(&self, items: Vec<Item>, error: &Error) {
        if items.is_empty() {
            return;
        }
        self.note(error);
        self.count(|stats| {
            stats.failed += items.len() as u64;
            stats.uncertain += if error.is_uncertain() { items.len() as u64 } else { 0 };
        });
        items.into_iter().for_each(|item| self.answer(item, Err(error.again())));
    }

    /// Whoever dropped his call does not hear it.
    fn answer(&self, item: Item, result: Result<i64>) {
        self.count(|stats| stats.queue_length = stats.queue_length.saturating_sub(1));
        let _ = item.answer.send(result);
    }

    fn note(&self, error: &Error) {
        self.count(|stats| stats.last_error = Some(error.to_string()));
    }

    fn count(&self, f: impl FnOnce(&mut ProducerStats)) {
        f(&mut self.stats.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

async fn send(client: &Client, shipment: &Shipment) -> Result<Attempt> {
    match shipment.items.first() {
        Some(only) if shipment.items.len() == 1 => client.send_one(&only.queue, &only.event).await,
        Some(first) if shipment.uniform => {
            let events: Vec<_> = shipment.items.iter().map(|item| &item.event).collect();
            client.send_uniform(&first.queue, &events).await
        }
        _ => {
            let events: Vec<_> = shipment.items.iter().map(|item| (item.queue.as_str(), &item.event)).collect();
            client.send_various(&events).await
        }
    }
}

/// Whether the server ended the session. It says so before the answer of a statement only if that was not committed.
fn is_shutdown(error: &Error) -> bool {
    error.sqlstate().is_some_and(|state| state.starts_with("57P"))
}

fn uncertain(reason: &str) -> Error {
    let message = format!("{reason}; whether the event is stored is not known: look before sending it again");
    Error::new(Kind::Connection, "send", message).with_uncertainty()
}
