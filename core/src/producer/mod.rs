//! A sender that many tasks share: what they send at the same time goes to the server together.

mod flight;
mod options;
mod plan;
mod stats;
mod worker;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex as AsyncMutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

pub use options::ProducerOptions;
pub use stats::ProducerStats;

use crate::connect::Settings;
use crate::error::{Error, Kind, Result};
use crate::message::Event;
use crate::pending::Pending;
use crate::process::Owner;
use crate::runtime;
use worker::Worker;

/// A string inside `jsonb` holds no more than this.
const PAYLOAD_BYTES_MAX: usize = (256 << 20) - 1;

/// Sends events and answers each with its id once it is stored.
///
/// What many tasks send at the same time is gathered into few transactions, without being held back for that. Events
/// of one queue are stored in the order in which they were accepted, save those that the server refuses. Clones share
/// the producer; all methods may be called from any task, `send` from as many as there are.
///
/// A lost connection is replaced, and nothing is sent twice because of it: if it cannot be found out whether a
/// transaction took effect, its senders get an error for which [`Error::is_uncertain`] holds.
#[derive(Clone)]
pub struct Producer(Arc<Shared>);

struct Shared {
    options: ProducerOptions,
    owner: Owner,
    /// `None` once closed.
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    /// Room for the bytes of events that are not answered yet.
    room: Arc<Semaphore>,
    /// How many wait for a place in the queue, and where they do so one after the other.
    waiting: AtomicUsize,
    line: AsyncMutex<()>,
    stats: Arc<Mutex<ProducerStats>>,
    abandon: watch::Sender<bool>,
    ended: watch::Receiver<bool>,
}

/// What an event needs to be queued.
type Place<'a> = (OwnedSemaphorePermit, mpsc::Permit<'a, Job>);

/// Counts as waiting until it is dropped.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(waiting: &'a AtomicUsize) -> Waits<'a> {
        waiting.fetch_add(1, Ordering::SeqCst);
        Waits(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

enum Job {
    Send(Box<Item>),
    /// To be answered when everything before it is.
    Flush(oneshot::Sender<()>),
}

/// An event on its way, and who waits for it.
#[derive(Debug)]
struct Item {
    queue: String,
    event: Event,
    bytes: usize,
    /// When its sender has waited long enough.
    until: Instant,
    answer: oneshot::Sender<Result<i64>>,
    _room: OwnedSemaphorePermit,
}

impl Producer {
    /// Fails with `configuration` if an option is wrong. Connects only for the first event.
    pub fn new(settings: Settings, options: ProducerOptions) -> Result<Producer> {
        options.check()?;
        let (jobs, receiver) = mpsc::channel(options.queue_size_max);
        let (abandon, abandoned) = watch::channel(false);
        let (end, ended) = watch::channel(false);
        let stats = Arc::<Mutex<ProducerStats>>::default();
        let worker = Worker::new(settings, options.clone(), receiver, stats.clone());
        runtime::handle()?.spawn(async move {
            worker.run(abandoned).await;
            end.send_replace(true);
        });
        let room = Arc::new(Semaphore::new(options.queue_bytes_max));
        let (owner, jobs) = (Owner::us("producer"), Mutex::new(Some(jobs)));
        let (waiting, line) = (AtomicUsize::new(0), AsyncMutex::default());
        Ok(Producer(Arc::new(Shared { options, owner, jobs, room, waiting, line, stats, abandon, ended })))
    }

    /// Sends one event and gives its id once it is stored. A type that is missing or empty is stored as `default`.
    ///
    /// Fails as [`crate::Client::send`], each sender with its own error; with `timeout` if there was no room, or no
    /// server, for as long as `send_timeout`, in which case the event is not stored; with `closed` after `close`; and
    /// with an error for which [`Error::is_uncertain`] holds if the connection was lost at the wrong moment. Dropping
    /// the call does not take back what was accepted.
    pub async fn send(&self, queue: &str, event: &Event) -> Result<i64> {
        self.accept(queue, event.clone()).await?.await.unwrap_or_else(|_| Err(closed("send")))
    }

    /// As [`Producer::send`], but done once the event is accepted: its id, or its error, is for who waits for what this
    /// gives. What can be known at once to be wrong, and a queue that stays full, are errors of this call.
    pub async fn submit(&self, queue: &str, event: Event) -> Result<Pending<i64>> {
        self.accept(queue, event).await.map(Pending::new)
    }

    /// Waits for room and queues the event.
    async fn accept(&self, queue: &str, event: Event) -> Result<oneshot::Receiver<Result<i64>>> {
        let jobs = self.jobs("send")?;
        check(queue, &event)?;
        let until = Instant::now() + self.0.options.send_timeout;
        let bytes = size(queue, &event);
        // An event larger than all the room takes all of it.
        let wanted = u32::try_from(bytes.min(self.0.options.queue_bytes_max)).unwrap_or(u32::MAX);
        let event = Event { event_type: Some(event.stored_type().to_owned()), ..event };
        let put = |(room, slot): Place<'_>| {
            let (answer, receiver) = oneshot::channel();
            self.count(|stats| stats.queue_length += 1);
            slot.send(Job::Send(Box::new(Item { queue: queue.to_owned(), event, bytes, until, answer, _room: room })));
            receiver
        };
        if let Some(place) = self.place_at_once(&jobs, wanted) {
            return Ok(put(place));
        }
        // In one line until it has its place: of those that are woken together any may be the first to go on, and a
        // later call may come before one that is woken.
        let _waits = Waits::new(&self.0.waiting);
        let in_turn = async {
            let turn = self.0.line.lock().await;
            let room = self.0.room.clone().acquire_many_owned(wanted).await.map_err(|_| closed("send"))?;
            Ok((turn, (room, jobs.reserve().await.map_err(|_| closed("send"))?)))
        };
        let late = |_| {
            let seconds = self.0.options.send_timeout.as_secs_f64();
            Error::new(Kind::Timeout, "send", format!("the producer's queue stayed full for {seconds} s; not sent"))
        };
        let (_turn, place) = tokio::time::timeout_at(until.into(), in_turn).await.map_err(late)??;
        Ok(put(place))
    }

    /// A place in the queue, if there is one and nobody waits.
    fn place_at_once<'a>(&self, jobs: &'a mpsc::Sender<Job>, wanted: u32) -> Option<Place<'a>> {
        if self.0.waiting.load(Ordering::SeqCst) > 0 {
            return None;
        }
        Some((self.0.room.clone().try_acquire_many_owned(wanted).ok()?, jobs.try_reserve().ok()?))
    }

    /// Waits until everything that was sent before, by calls that have begun, is answered, well or not.
    pub async fn flush(&self) -> Result<()> {
        let (jobs, (done, flushed)) = (self.jobs("flush")?, oneshot::channel());
        {
            let _waits = Waits::new(&self.0.waiting);
            let _turn = self.0.line.lock().await;
            jobs.send(Job::Flush(done)).await.map_err(|_| closed("flush"))?;
        }
        drop(jobs);
        flushed.await.map_err(|_| closed("flush"))
    }

    /// Accepts nothing more, and waits until everything accepted is answered, or the deadline, whose senders get a
    /// `closed` error for what was not sent. Fails with `timeout` if there were any. Twice is fine.
    pub async fn close(&self, deadline: Duration) -> Result<()> {
        if self.0.owner.is_other() {
            return Ok(());
        }
        let first = self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(first);
        let mut ended = self.0.ended.clone();
        if tokio::time::timeout(deadline, ended.wait_for(|ended| *ended)).await.is_ok() {
            return Ok(());
        }
        // Those that still wait for room are turned away, or the queue would never end.
        self.0.room.close();
        self.0.abandon.send_replace(true);
        let _ = ended.wait_for(|ended| *ended).await;
        Err(Error::new(Kind::Timeout, "close", "events that were still waiting were not sent; their senders know"))
    }

    /// What the producer has done so far, in this process. At any time, from any thread.
    pub fn stats(&self) -> ProducerStats {
        match self.0.owner.is_other() {
            true => ProducerStats::default(),
            false => self.count(|stats| stats.clone()),
        }
    }

    fn count<T>(&self, f: impl FnOnce(&mut ProducerStats) -> T) -> T {
        f(&mut self.0.stats.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn jobs(&self, op: &'static str) -> Result<mpsc::Sender<Job>> {
        self.0.owner.check(op)?;
        let jobs = self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.clone().ok_or_else(|| closed(op))
    }
}

/// In a forked child the queue is the parent's: even to let go of it is to wake the task that answers, by way of locks
/// that its threads may have held.
impl Drop for Shared {
    fn drop(&mut self) {
        if self.owner.is_other() {
            std::mem::forget(self.jobs.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

/// What can be known to be wrong before the server sees it.
fn check(queue: &str, event: &Event) -> Result<()> {
    event.check("send", queue)?;
    match size(queue, event) {
        bytes if bytes > PAYLOAD_BYTES_MAX => {
            Err(Error::invalid("send", format!("the event has {bytes} bytes; at most {PAYLOAD_BYTES_MAX} can be sent")))
        }
        _ => Ok(()),
    }
}

fn size(queue: &str, event: &Event) -> usize {
    queue.len() + event.bytes()
}

fn closed(op: &'static str) -> Error {
    Error::new(Kind::Closed, op, "the producer is closed; make another one")
}

#[cfg(test)]
impl Item {
    fn of(queue: &str, event_type: &str, extra: bool) -> Item {
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("a new semaphore has room");
        let mut event = Event { event_type: Some(event_type.into()), ..Event::default() };
        event.extra[0] = extra.then(|| "x".to_owned());
        let (answer, _) = oneshot::channel();
        Item { queue: queue.into(), event, bytes: 1, until: Instant::now(), answer, _room: room }
    }
}
