//! Statements in flight, and what becomes of one whose caller no longer waits: the server is asked to give it up, so
//! that it neither goes on for nobody nor keeps the next one waiting.

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::Notify;

use super::session::Session;
use crate::executor::BoxFuture;
use crate::runtime;

/// How long a cancelled statement has to end before it is asked again, for a request may come too early.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);
/// The same while there are more to come, of which each takes a request of its own.
const NEXT_TIMEOUT: Duration = Duration::from_millis(10);
/// After so many requests to one statement the connection is given up.
const REQUESTS_MAX: usize = 10;

/// Who closes a connection wants out, but what he leaves behind should have been told first.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// The statements of one session that wait for their answers, in the order in which they were sent.
#[derive(Default)]
pub(super) struct Pipeline {
    in_flight: Mutex<InFlight>,
    /// A statement has ended, or the last hold.
    changed: Notify,
}

#[derive(Default)]
struct InFlight {
    next: u64,
    /// Whether each may be ended: its caller has gone.
    tickets: BTreeMap<u64, bool>,
    /// How many keep new statements back.
    holds: usize,
}

impl InFlight {
    fn ticket(&mut self) -> Option<u64> {
        (self.holds == 0).then(|| {
            let ticket = self.next;
            self.next += 1;
            self.tickets.insert(ticket, false);
            ticket
        })
    }
}

/// Keeps new statements back while one is being ended at the server: the next would be hit in its place. There may be
/// several at a time; one that waited for another could wait for the very statement that it is to end.
pub(super) struct Hold(Arc<Session>);

impl Hold {
    pub(super) fn new(session: &Arc<Session>) -> Hold {
        session.pipeline.lock().holds += 1;
        Hold(session.clone())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let pipeline = &self.0.pipeline;
        pipeline.lock().holds -= 1;
        pipeline.changed.notify_waiters();
    }
}

/// Whether an abandoned statement is to be cancelled, or only waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Abandoned {
    Cancel,
    /// The end of a transaction: half of it is nothing anybody could want.
    Await,
}

/// One statement in flight. Dropped before `done`, its caller has gone.
pub(super) struct Running {
    session: Arc<Session>,
    ticket: u64,
    abandoned: Abandoned,
    /// Told if the statement took the open transaction with it.
    failed: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Running {
    pub(super) fn new(
        session: &Arc<Session>,
        ticket: u64,
        abandoned: Abandoned,
        failed: impl FnOnce() + Send + Sync + 'static,
    ) -> Running {
        Running { session: session.clone(), ticket, abandoned, failed: Some(Box::new(failed)) }
    }

    pub(super) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Waits for the answer to the statement; if nobody does so to the end, it is given up at the server as well. `slot` is
    /// kept until the statement is sent.
    ///
    /// Given by value, the statement would double in size with each function that it is handed on to.
    pub(super) async fn answer<T>(&self, slot: impl Sized, statement: Pin<&mut impl Future<Output = T>>) -> T {
        self.session.answer(once_sent(slot, statement)).await
    }

    /// Whether there is no other one in flight.
    pub(super) fn is_alone(&self) -> bool {
        self.session.pipeline.lock().tickets.len() == 1
    }

    pub(super) fn done(mut self) {
        self.failed = None;
        self.session.pipeline.end(self.ticket);
    }

    /// For who was not there to hear the answer.
    fn answered<T, E>(mut self, answer: Result<T, E>) {
        if answer.is_err()
            && let Some(failed) = self.failed.take()
        {
            failed();
        }
        self.done();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // In a forked child the session, and the runtime it lives on, are the parent's.
        let Some(failed) = self.failed.take().filter(|_| self.session.pid == std::process::id()) else { return };
        let (session, ticket, abandoned) = (self.session.clone(), self.ticket, self.abandoned);
        // From here on, so that the caller's next statement comes after.
        let hold = Hold::new(&session);
        if abandoned == Abandoned::Cancel {
            session.pipeline.give_up(ticket);
        }
        let Ok(runtime) = runtime::handle() else { return };
        let farewell = runtime::farewell();
        runtime.spawn(async move {
            end(&session, ticket, abandoned, hold, failed).await;
            drop(farewell);
        });
    }
}

/// Lets go of `slot` after the first look at the statement, which sends it.
pub(super) async fn once_sent<T>(slot: impl Sized, mut statement: Pin<&mut impl Future<Output = T>>) -> T {
    let mut slot = Some(slot);
    let look = |cx: &mut Context<'_>| {
        let answer = statement.as_mut().poll(cx);
        slot = None;
        answer
    };
    std::future::poll_fn(look).await
}

/// A BEGIN on its way.
pub(super) struct Begun(Option<Beginning>);

struct Beginning {
    running: Running,
    answer: BoxFuture<'static, Result<(), tokio_postgres::Error>>,
    answered: Option<Result<(), tokio_postgres::Error>>,
}

impl Begun {
    /// Sends it and does not wait for the answer.
    pub async fn send(running: Running) -> Begun {
        let session = &running.session;
        let sending = session.clone();
        let mut answer: BoxFuture<_> = Box::pin(async move { sending.client.batch_execute("begin").await });
        let sent = std::future::poll_fn(|cx| Poll::Ready(session.send(|| answer.as_mut().poll(cx)))).await;
        let answered = match sent {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        };
        Begun(Some(Beginning { running, answer, answered }))
    }

    pub async fn answer(mut self) -> Result<(), tokio_postgres::Error> {
        let Some(mut begun) = self.0.take() else { return Ok(()) };
        let answer = match begun.answered {
            Some(answer) => answer,
            None => match futures_util::poll!(begun.answer.as_mut()) {
                // The usual case: it was answered before the statement that it travelled with.
                Poll::Ready(answer) => answer,
                Poll::Pending => begun.running.session.answer(begun.answer).await,
            },
        };
        begun.running.done();
        answer
    }
}

/// Only once it is answered may the statement behind it be ended: a request that hit BEGIN would leave that to run, and
/// to be committed, by itself.
impl Drop for Begun {
    fn drop(&mut self) {
        let Some(Beginning { running, answer, answered }) = self.0.take() else { return };
        if let Some(answer) = answered {
            return running.answered(answer);
        }
        let ours = |_: &_| running.session.pid == std::process::id();
        let Some(runtime) = runtime::handle().ok().filter(ours) else { return };
        runtime.spawn(async move {
            let session = &running.session;
            // It may have been left behind before the statement that it was to travel with, without which nobody reads
            // its answer.
            session.stir();
            let _ = futures_util::poll!(pin!(session.client.batch_execute("select")));
            running.answered(answer.await);
        });
    }
}

impl Pipeline {
    /// Until no statement is being ended at the server, or for a second.
    pub(super) async fn settled(&self) {
        let _ =
            tokio::time::timeout(SETTLE_TIMEOUT, self.until(|in_flight| (in_flight.holds == 0).then_some(()))).await;
    }

    /// A place for a new statement, which is to be sent right after, once it is not kept back.
    pub(super) async fn ticket(&self) -> u64 {
        self.until(InFlight::ticket).await
    }

    /// As [`Pipeline::ticket`], if it is not kept back.
    pub(super) fn ticket_at_once(&self) -> Option<u64> {
        self.lock().ticket()
    }

    /// Looks at each change until there is something.
    async fn until<T>(&self, mut look: impl FnMut(&mut InFlight) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            if let Some(found) = look(&mut self.lock()) {
                return found;
            }
            changed.await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, InFlight> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, ticket: u64) {
        self.lock().tickets.remove(&ticket);
        self.changed.notify_waiters();
    }

    fn give_up(&self, ticket: u64) {
        self.lock().tickets.entry(ticket).and_modify(|may_be_ended| *may_be_ended = true);
        self.changed.notify_waiters();
    }

    fn is_last(&self, ticket: u64) -> bool {
        self.lock().tickets.keys().next_back() == Some(&ticket)
    }

    /// Until nothing is in flight that somebody still wants; how much is.
    async fn given_up(&self) -> usize {
        let count = |in_flight: &mut InFlight| {
            in_flight.tickets.values().all(|may_be_ended| *may_be_ended).then_some(in_flight.tickets.len())
        };
        self.until(count).await
    }
}

async fn end(session: &Arc<Session>, ticket: u64, abandoned: Abandoned, hold: Hold, failed: impl FnOnce()) {
    // What another caller has sent behind it must not be hit: then it ends by itself, or with that if it is given up too.
    let asks = abandoned == Abandoned::Cancel && session.pipeline.is_last(ticket);
    let hold = Some(hold).filter(|_| asks);
    // A BEGIN may have been left behind before the statement that it was to travel with.
    session.stir();
    // Answered after all that was sent before it; fails if the transaction has.
    let mut marker = pin!(session.client.batch_execute("select"));
    // Sent now, before anybody else sends.
    let mut answer = match futures_util::poll!(marker.as_mut()) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    };
    if asks && answer.is_none() {
        answer = tokio::select! {
            count = session.pipeline.given_up() => ask_to_end(session, count, marker.as_mut()).await,
            result = marker.as_mut() => Some(result),
        };
        if answer.is_none() {
            session.give_up("a cancelled statement did not end; the connection was given up");
        }
    }
    let result = match answer {
        Some(result) => result,
        None => marker.await,
    };
    if result.is_err_and(|e| e.as_db_error().is_some()) {
        failed();
    }
    session.pipeline.end(ticket);
    drop(hold);
}

/// Asks until the answer to what was sent behind the statements, `count` of them, shows that they have ended; `None` if
/// it never does.
async fn ask_to_end<T>(session: &Session, count: usize, mut answer: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    for n in 1..count + REQUESTS_MAX {
        request(session).await;
        let limit = if n < count { NEXT_TIMEOUT } else { ANSWER_TIMEOUT };
        if let Ok(answer) = tokio::time::timeout(limit, answer.as_mut()).await {
            return Some(answer);
        }
    }
    None
}

/// Has the server end the statement that runs now, which its caller waits for.
pub(super) async fn end_running(session: &Session) {
    let Some(running) = session.pipeline.lock().tickets.keys().next().copied() else { return };
    let ended = |in_flight: &mut InFlight| (!in_flight.tickets.contains_key(&running)).then_some(());
    for _ in 0..REQUESTS_MAX {
        request(session).await;
        if tokio::time::timeout(ANSWER_TIMEOUT, session.pipeline.until(ended)).await.is_ok() {
            return;
        }
    }
}

async fn request(session: &Session) {
    if let Err(error) = session.cancel().await {
        log::debug!(target: "pgque", "{error}");
    }
}
