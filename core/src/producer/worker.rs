//! The task that gathers what was accepted, sends it and answers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot, watch};

use super::flight::Flight;
use super::plan::{Shipment, halves, plan};
use super::{Item, Job, ProducerOptions, ProducerStats, closed};
use crate::client::{Attempt, Client, Fate, Said, Stored, Turn};
use crate::connect::{Connection, Settings};
use crate::error::{Error, Kind, Result};
use crate::policy::{Backoff, ends_loop};

/// How often the senders that were just answered get the chance to come again before the next batch leaves.
const ROUNDS_FOR_RETURNERS: usize = 4;

/// Batches on their way at the same time: while the server works on one, the next is there already. Only a full one
/// leaves behind another, or the senders would be spread over more transactions, each of which has its price.
const FLIGHTS_MAX: usize = 2;

pub(super) struct Worker {
    settings: Settings,
    options: ProducerOptions,
    jobs: mpsc::Receiver<Job>,
    /// What did not fit into the last batch any more.
    next: Option<Job>,
    /// How many were gathered last: so many may come again at once.
    returners: usize,
    /// To be sent, in this order.
    shipments: VecDeque<Shipment>,
    /// On their way, in this order, before all shipments.
    flights: VecDeque<Flight>,
    /// Who waits for everything before to be answered; until then nothing more is gathered.
    flush: Option<oneshot::Sender<()>>,
    link: Option<Link>,
    /// How many connections there were.
    links: u64,
    /// The newest number of a turn.
    turns: u64,
    backoff: Backoff,
    /// Why nothing is sent at the moment.
    trouble: Option<String>,
    stats: Arc<Mutex<ProducerStats>>,
}

/// A connection.
struct Link {
    client: Client,
    /// Behind a pooler turns cannot be noted: the next transaction may meet another session.
    is_pooled: bool,
    /// The last turn that was taken.
    turn: u64,
}

/// What became of the first flight.
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
            flights: VecDeque::new(),
            flush: None,
            link: None,
            links: 0,
            turns: 0,
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
        if let (Some(link), 2..) = (&self.link, self.flights.len()) {
            // The first one's end is the end of all: those behind it miss their turn.
            if let Ok(connection) = link.client.own_connection("close") {
                let _ = connection.cancel().await;
            }
        }
        self.turn_away();
        if let Some(link) = self.link.take() {
            link.client.close().await;
        }
    }

    async fn work(&mut self) {
        loop {
            if self.flights.is_empty() && self.shipments.is_empty() {
                if let Some(done) = self.flush.take() {
                    let _ = done.send(());
                }
                if !self.plan().await {
                    return;
                }
            }
            if let Err(outcome) = self.launch().await {
                self.settle(outcome).await;
            } else if !self.flights.is_empty() {
                let outcome = self.land().await;
                self.settle(outcome).await;
            }
        }
    }

    /// Plans what has queued up; waits for it. Nothing comes any more if it says so.
    async fn plan(&mut self) -> bool {
        let Some((items, flush)) = self.gather().await else { return false };
        self.returners = items.len();
        self.shipments.extend(plan(items));
        self.flush = flush;
        true
    }

    /// Sends as many shipments as may be on their way.
    async fn launch(&mut self) -> Result<(), Outcome> {
        while self.may_launch() {
            if self.shipments.is_empty() {
                let is_full = self.jobs.len() >= self.options.batch_size_max;
                if self.flights.is_empty() || self.flush.is_some() || !is_full || !self.plan().await {
                    return Ok(());
                }
            }
            self.expire();
            if self.shipments.front().is_none_or(|shipment| shipment.items.is_empty()) {
                self.shipments.pop_front();
                continue;
            }
            let link = match self.link().await {
                Ok(link) => link,
                Err(error) if ends_loop(&error) => return Err(Outcome::Refused(error)),
                Err(error) => return Err(self.not_sent(self.links, error).await),
            };
            let (client, is_pooled, last) = (link.client.clone(), link.is_pooled, link.turn);
            let Some(shipment) = self.shipments.pop_front() else { continue };
            let after = self.flights.back().and_then(|flight| flight.turn).map_or(last, |turn| turn.number);
            self.turns += 1;
            let turn = (!is_pooled).then_some(Turn { number: self.turns, after });
            self.flights.push_back(Flight::start(client, shipment, self.links, turn).await);
        }
        Ok(())
    }

    fn may_launch(&self) -> bool {
        // What a lost connection took with it has to be known before anything comes after it.
        let follows = |link: &Link| {
            let in_order = self.flights.iter().all(|flight| flight.link == self.links);
            !link.is_pooled && self.flights.len() < FLIGHTS_MAX && in_order
        };
        self.flights.is_empty() || self.link.as_ref().is_some_and(follows)
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

    /// Answers those for whom the outcome decides.
    async fn settle(&mut self, outcome: Outcome) {
        if !matches!(outcome, Outcome::NotSent(_)) {
            self.backoff = Backoff::new();
            self.trouble = None;
        }
        match outcome {
            Outcome::Sent(ids) => {
                let Some(flight) = self.flights.pop_front() else { return };
                if let (Some(link), Some(turn)) = (&mut self.link, flight.turn)
                    && flight.link == self.links
                {
                    link.turn = turn.number;
                }
                self.deliver(flight.shipment.items, ids);
            }
            Outcome::Refused(error) => {
                let limit = self.options.send_timeout;
                for behind in self.flights.iter_mut().skip(1) {
                    // Whatever it says, it has missed its turn; but what comes next must not do so as well.
                    let _ = tokio::time::timeout(limit, behind.answer()).await;
                }
                self.take_back();
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
                while let Some(flight) = self.flights.pop_front() {
                    self.fail(flight.shipment.items, &error);
                }
            }
            Outcome::NotSent(error) => {
                self.take_back();
                // A connection that worked until now is replaced at once.
                let delay = self.trouble.as_ref().map(|_| self.backoff.next_delay()).unwrap_or_default();
                log::warn!(target: "pgque", "producer: {error}; trying again in {:.1}s", delay.as_secs_f64());
                self.trouble = Some(error.message().to_owned());
                tokio::time::sleep(delay).await;
            }
        }
    }

    /// Has what is on its way sent again: where the first is not stored, those behind it are not either.
    fn take_back(&mut self) {
        while let Some(flight) = self.flights.pop_back() {
            self.shipments.push_front(flight.shipment);
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

    /// What became of the first flight.
    async fn land(&mut self) -> Outcome {
        let Some(flight) = self.flights.front_mut() else { return Outcome::Sent(Vec::new()) };
        let link = flight.link;
        let answer = tokio::time::timeout(self.options.send_timeout, flight.answer()).await;
        let Attempt { said, end } = match answer {
            Ok(Ok(attempt)) => attempt,
            Ok(Err(error)) => return self.not_sent(link, error).await,
            Err(_) => return self.uncertain(link, "the server did not answer in time").await,
        };
        match (end, said) {
            (Ok(()), Some(Said::Stored(stored))) => Outcome::Sent(stored.ids),
            (Ok(()), Some(Said::OutOfTurn)) => {
                let error = Error::new(Kind::Internal, "send", "the session has lost count of the batches");
                self.not_sent(link, error).await
            }
            (Ok(()), None) => Outcome::Refused(Error::new(Kind::Internal, "send", "the server gave no answer")),
            // The server ran it to its end and then lost us: only its log knows whether it was committed.
            (Err(error), Some(Said::Stored(stored))) if error.kind() == Kind::Connection => {
                self.look_up(link, stored, error).await
            }
            // Without the server's own word that it ended the statement it may have run; a proxy's word is none.
            (Err(error), None) if error.kind() == Kind::Connection && !is_shutdown(&error) => {
                self.uncertain(link, error.message()).await
            }
            (Err(error), _) if ends_loop(&error) => Outcome::Refused(error),
            (Err(error), _) => self.not_sent(link, error).await,
        }
    }

    async fn not_sent(&mut self, link: u64, error: Error) -> Outcome {
        self.lose(link, &error).await;
        Outcome::NotSent(error)
    }

    async fn uncertain(&mut self, link: u64, reason: &str) -> Outcome {
        let error = uncertain(reason);
        self.lose(link, &error).await;
        Outcome::Uncertain(error)
    }

    async fn look_up(&mut self, link: u64, stored: Stored, error: Error) -> Outcome {
        self.lose(link, &error).await;
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
                let fate = match self.link().await.map(|link| link.client.clone()) {
                    Ok(client) => client.fate(transaction).await,
                    Err(error) => Err(error),
                };
                match fate {
                    Ok(Fate::Open) => {}
                    Ok(fate) => return fate,
                    Err(error) if ends_loop(&error) => return Fate::Unknown,
                    Err(error) => self.lose(self.links, &error).await,
                }
                tokio::time::sleep(self.backoff.next_delay()).await;
            }
        };
        tokio::time::timeout_at(until.into(), ask).await.unwrap_or(Fate::Unknown)
    }

    async fn link(&mut self) -> Result<&Link> {
        let link = match self.link.take() {
            Some(link) => link,
            None => {
                // No longer than those that wait for it.
                let waiting = self.shipments.front().and_then(|first| first.items.iter().map(|item| item.until).min());
                let until = waiting.unwrap_or_else(|| Instant::now() + self.options.send_timeout);
                let open = async {
                    let connection = Connection::open(self.settings.clone()).await?;
                    let is_pooled = connection.is_pooled().await?;
                    Ok::<_, Error>((connection, is_pooled))
                };
                let late = |_| Error::new(Kind::Connection, "send", "the server does not answer");
                let (connection, is_pooled) = tokio::time::timeout_at(until.into(), open).await.map_err(late)??;
                self.links += 1;
                Link { client: Client::over(connection), is_pooled, turn: 0 }
            }
        };
        Ok(self.link.insert(link))
    }

    /// The connection of that number, if it has not been replaced yet.
    async fn lose(&mut self, link: u64, error: &Error) {
        if link != self.links {
            return;
        }
        self.count(|stats| stats.reconnects += 1);
        self.note(error);
        if let Some(link) = self.link.take() {
            link.client.close().await;
        }
    }

    /// Answers everybody who still waits.
    fn turn_away(&mut self) {
        let flights = std::mem::take(&mut self.flights);
        let items = flights.into_iter().flat_map(|flight| flight.shipment.items).collect();
        self.fail(items, &uncertain("the producer was closed before the server answered"));
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

    fn deliver(&self, items: Vec<Item>, ids: Vec<i64>) {
        let count = ids.len() as u64;
        self.count(|stats| {
            stats.sent += count;
            stats.batches += 1;
            stats.batch_size = count;
            stats.queue_length = stats.queue_length.saturating_sub(count);
        });
        answer(items, ids.into_iter().map(Ok));
    }

    fn fail(&self, items: Vec<Item>, error: &Error) {
        if items.is_empty() {
            return;
        }
        self.note(error);
        let count = items.len() as u64;
        self.count(|stats| {
            stats.failed += count;
            stats.uncertain += if error.is_uncertain() { count } else { 0 };
            stats.queue_length = stats.queue_length.saturating_sub(count);
        });
        answer(items, std::iter::repeat_with(|| Err(error.again())));
    }

    fn note(&self, error: &Error) {
        self.count(|stats| stats.last_error = Some(error.to_string()));
    }

    fn count(&self, f: impl FnOnce(&mut ProducerStats)) {
        f(&mut self.stats.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Whoever dropped his call does not hear it.
fn answer(items: Vec<Item>, results: impl Iterator<Item = Result<i64>>) {
    for (item, result) in items.into_iter().zip(results) {
        let _ = item.answer.send(result);
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
