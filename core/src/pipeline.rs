//! Sends that go to the server one behind the other, without a wait for each answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::call::Call;
use crate::client::{Client, Payloads};
use crate::connect::{Connection, sending_ahead};
use crate::error::{Error, Kind, Result};
use crate::message::{Event, Payload};
use crate::pending::Pending;
use crate::runtime::{self, wait};

/// Most sends under way; one more first waits until half of them are answered.
const SENDS_MAX: u32 = 1000;
/// A send counts once more for each so many bytes: no more than 64 MB are under way.
const BYTES_PER_SEND: usize = 64 << 10;
/// So many statements keep the server at work while more are gathered.
const GATHER_BEHIND: usize = 2;

/// Sends events without waiting for each answer. Clones share it; any thread may call.
///
/// They reach the server in the order in which they were sent, and before whatever is called next on the same client. In
/// a transaction all of them are part of it, and after an error the rest fails as PostgreSQL says; in autocommit each
/// stands for itself. What was sent goes on when the pipeline is dropped.
///
/// In a transaction, where an error is everybody's in any case, what is sent while the server is busy goes to it in one
/// statement.
#[derive(Clone)]
pub struct Pipeline(Arc<Queue>);

struct Queue {
    client: Client,
    room: Arc<Semaphore>,
    /// The first error since the last flush, and the place of its statement among the others: these may end in the
    /// hands of several threads.
    failed: Mutex<Option<(u64, Error)>>,
    /// Held until what is sent has its place among the connection's statements.
    gathered: Mutex<Gathered>,
    /// Statements on their way, of those that more may be gathered behind.
    under_way: AtomicUsize,
}

#[derive(Default)]
struct Gathered {
    items: Vec<Item>,
    /// Statements so far.
    count: u64,
    /// Whether the connection knows that something waits.
    announced: bool,
}

struct Item {
    queue: String,
    event: Event,
    answer: oneshot::Sender<Result<i64>>,
    _room: OwnedSemaphorePermit,
}

impl Pipeline {
    /// Fails with `conflict` on a caller's connection, which runs one call at a time.
    pub(crate) fn new(client: &Client) -> Result<Pipeline> {
        client.own_connection("pipeline")?.check_open("pipeline")?;
        Ok(Pipeline(Arc::new(Queue {
            client: client.clone(),
            room: Arc::new(Semaphore::new(SENDS_MAX as usize)),
            failed: Mutex::default(),
            gathered: Mutex::default(),
            under_way: AtomicUsize::new(0),
        })))
    }

    /// As [`Client::send`], without waiting for the answer; waits only if too much is under way. An argument that is
    /// wrong, or a closed connection, is the error of this call; all else that of what it gives, and of the next
    /// [`Pipeline::flush`].
    pub fn send(&self, queue: &str, event: Event) -> Result<Pending<i64>> {
        let own = self.0.open("send")?;
        event.check("send", queue)?;
        let room = self.room(event.bytes())?;
        let (answer, pending) = oneshot::channel();
        self.0.send(own, Item { queue: queue.to_owned(), event, answer, _room: room })?;
        Ok(Pending::new(pending))
    }

    /// Waits until everything that was sent is answered, and fails with the first error since the last flush, also if
    /// it was given out before.
    ///
    /// A wait that is interrupted has the server end the statement that runs now.
    pub fn flush(&self) -> Result<()> {
        // Also after the connection was closed: what was sent before is answered.
        self.0.client.own_connection("flush")?.check_process("flush")?;
        wait(self.all_room(SENDS_MAX))?;
        self.0.failed().take().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Has the server end the statement that runs now; the rest, which fails with it in a transaction, goes on. For who
    /// no longer wants to wait.
    pub fn cancel(&self) {
        if self.0.open("cancel").is_ok() {
            self.0.cancel();
        }
    }

    fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let wanted = u32::try_from(1 + bytes / BYTES_PER_SEND).unwrap_or(u32::MAX).min(SENDS_MAX);
        loop {
            if let Ok(room) = self.0.room.clone().try_acquire_many_owned(wanted) {
                return Ok(room);
            }
            // Not for one alone: this thread would be woken for every answer.
            wait(self.all_room(wanted.max(SENDS_MAX / 2)))?;
        }
    }

    async fn all_room(&self, wanted: u32) -> Result<()> {
        let mut waiting = Waiting(Some(&self.0));
        let room = self.0.room.acquire_many(wanted).await;
        waiting.0 = None;
        room.map(drop).map_err(|e| Error::new(Kind::Internal, "pipeline", e.to_string()))
    }
}

/// A wait, which has been interrupted if it is dropped with this in it.
struct Waiting<'a>(Option<&'a Arc<Queue>>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(queue) = self.0 {
            queue.cancel();
        }
    }
}

impl Queue {
    fn open(&self, op: &'static str) -> Result<&Connection> {
        let own = self.client.own_connection(op)?;
        own.check_open(op)?;
        Ok(own)
    }

    fn send(self: &Arc<Self>, own: &Connection, item: Item) -> Result<()> {
        let mut gathered = self.gathered();
        let other = |first: &Item| first.queue != item.queue || !first.event.is_like(&item.event);
        if gathered.items.first().is_some_and(other) {
            self.ship(&mut gathered)?;
        }
        let gathers = own.is_in_transaction() && item.event.is_plain();
        gathered.items.push(item);
        if !gathers {
            return self.ship(&mut gathered);
        }
        if !std::mem::replace(&mut gathered.announced, true) {
            let queue = Arc::downgrade(self);
            own.put_ahead(Box::new(move || {
                if let Some(queue) = queue.upgrade() {
                    queue.send_gathered();
                }
            }));
        }
        // Looked at after there is something to find for whoever is just done.
        match self.under_way.load(Ordering::SeqCst) < GATHER_BEHIND {
            true => self.ship(&mut gathered),
            false => Ok(()),
        }
    }

    /// Called by the connection before it sends anything else.
    fn send_gathered(self: &Arc<Self>) {
        let mut gathered = self.gathered();
        gathered.announced = false;
        // A failure is told to those whom it concerns.
        let _ = self.ship(&mut gathered);
    }

    /// Begins the statement for what is gathered.
    fn ship(self: &Arc<Self>, gathered: &mut Gathered) -> Result<()> {
        let items = std::mem::take(&mut gathered.items);
        if items.is_empty() {
            return Ok(());
        }
        let (events, answers): (Vec<_>, Vec<_>) = items.into_iter().map(Item::parts).unzip();
        self.under_way.fetch_add(1, Ordering::SeqCst);
        gathered.count += 1;
        let (client, queue, place) = (self.client.clone(), self.clone(), gathered.count);
        let work = async move { send_all(&client, events).await };
        let deliver = move |result| queue.ended(place, answers, result);
        sending_ahead(|| Call::begin(work, deliver)).map(drop).inspect_err(|_| {
            self.under_way.fetch_sub(1, Ordering::SeqCst);
        })
    }

    fn ended(self: &Arc<Self>, place: u64, answers: Vec<Answer>, result: Result<Vec<i64>>) {
        if let Err(error) = &result {
            let mut failed = self.failed();
            if failed.as_ref().is_none_or(|(first, _)| place < *first) {
                *failed = Some((place, error.again()));
            }
        }
        for (i, answer) in answers.into_iter().enumerate() {
            let id = match &result {
                Ok(ids) => ids.get(i).copied().ok_or_else(unexpected),
                Err(error) => Err(error.again()),
            };
            // Nobody may wait for it.
            let _ = answer.sender.send(id);
        }
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        match self.gathered.try_lock() {
            Ok(mut gathered) => drop(self.ship(&mut gathered)),
            // Perhaps by this very thread, where the call ended as it was begun.
            Err(_) => {
                let queue = self.clone();
                if let Ok(runtime) = runtime::handle() {
                    runtime.spawn(async move { drop(queue.ship(&mut queue.gathered())) });
                }
            }
        }
    }

    /// Without effect once there is nothing under way, or nobody to ask.
    fn cancel(self: &Arc<Self>) {
        let queue = self.clone();
        let is_busy = move || queue.room.available_permits() < SENDS_MAX as usize;
        let asked = self.client.own_connection("cancel").and_then(|own| own.cancel_ahead(is_busy));
        if let Err(error) = asked {
            log::debug!(target: "pgque", "{error}");
        }
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self) -> MutexGuard<'_, Option<(u64, Error)>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the outcome of one send goes.
struct Answer {
    sender: oneshot::Sender<Result<i64>>,
    _room: OwnedSemaphorePermit,
}

impl Item {
    fn parts(self) -> ((String, Event), Answer) {
        ((self.queue, self.event), Answer { sender: self.answer, _room: self._room })
    }
}

/// Events that are alike, which have been checked.
async fn send_all(client: &Client, events: Vec<(String, Event)>) -> Result<Vec<i64>> {
    let Some((queue, first)) = events.first() else { return Ok(Vec::new()) };
    if events.len() == 1 {
        return client.send(queue, first).await.map(|id| vec![id]);
    }
    let (queue, event_type, is_json) = (queue.clone(), first.stored_type().to_owned(), first.payload.is_json());
    let texts = events.into_iter().map(|(_, event)| match event.payload {
        Payload::Json(text) => Some(text),
        Payload::Text(text) => text,
    });
    let payloads = match is_json {
        true => Payloads::Json(texts.flatten().collect()),
        false => Payloads::Text(texts.collect()),
    };
    client.send_checked("send", &queue, Some(&event_type), payloads).await
}

fn unexpected() -> Error {
    Error::new(Kind::Internal, "send", "the server's answer does not fit the events that were sent")
}
