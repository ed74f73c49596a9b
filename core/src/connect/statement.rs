//! Statements in flight, and what becomes of one whose caller no longer waits: the server is asked to give it up, so
//! that it neither goes on for nobody nor keeps the next one waiting.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;

use super::session::Session;
use crate::executor::BoxFuture;
use crate::runtime;

/// How long a cancelled statement has to end before it is asked again, for a request may come too early.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);
/// After so many requests the connection is given up.
const REQUESTS_MAX: u32 = 10;

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
    tickets: BTreeSet<u64>,
    /// How many keep new statements back.
    holds: usize,
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
    failed: Option<Box<dyn FnOnce() + Send>>,
}

impl Running {
    /// To be called right before the statement is sent.
    pub(super) async fn start(
        session: &Arc<Session>,
        abandoned: Abandoned,
        failed: impl FnOnce() + Send + 'static,
    ) -> Running {
        let ticket = session.pipeline.ticket().await;
        let failed: Option<Box<dyn FnOnce() + Send>> = Some(Box::new(failed));
        Running { session: session.clone(), ticket, abandoned, failed }
    }

    pub(super) fn done(mut self) {
        self.failed = None;
        self.session.pipeline.end(self.ticket);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // In a forked child the session, and the runtime it lives on, are the parent's.
        let Some(failed) = self.failed.take().filter(|_| self.session.pid == std::process::id()) else { return };
        let (session, ticket, abandoned) = (self.session.clone(), self.ticket, self.abandoned);
        // From here on, so that the caller's next statement comes after.
        let hold = Hold::new(&session);
        let Ok(runtime) = runtime::handle() else { return };
        let farewell = runtime::farewell();
        runtime.spawn(async move {
            end(&session, ticket, abandoned, hold, failed).await;
            drop(farewell);
        });
    }
}

/// A BEGIN on its way.
pub(super) struct Begun {
    pub session: Arc<Session>,
    pub running: Running,
    pub answer: BoxFuture<'static, Result<(), tokio_postgres::Error>>,
    pub answered: Option<Result<(), tokio_postgres::Error>>,
}

impl Begun {
    pub async fn answer(mut self) -> Result<(), tokio_postgres::Error> {
        let answer = match self.answered {
            Some(answer) => answer,
            None => match futures_util::poll!(self.answer.as_mut()) {
                // The usual case: it was answered before the statement that it travelled with.
                Poll::Ready(answer) => answer,
                Poll::Pending => self.session.answer(self.answer).await,
            },
        };
        self.running.done();
        answer
    }
}

impl Pipeline {
    /// Until no statement is being ended at the server, or for a second.
    pub(super) async fn settled(&self) {
        let _ =
            tokio::time::timeout(SETTLE_TIMEOUT, self.until(|in_flight| (in_flight.holds == 0).then_some(()))).await;
    }

    /// A place for a new statement, once it is not kept back.
    async fn ticket(&self) -> u64 {
        let take = |in_flight: &mut InFlight| {
            (in_flight.holds == 0).then(|| {
                let ticket = in_flight.next;
                in_flight.next += 1;
                in_flight.tickets.insert(ticket);
                ticket
            })
        };
        self.until(take).await
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

    fn is_last(&self, ticket: u64) -> bool {
        self.lock().tickets.last() == Some(&ticket)
    }

    /// Until all that was sent before has ended.
    async fn first(&self, ticket: u64) {
        self.until(|in_flight| (in_flight.tickets.first() == Some(&ticket)).then_some(())).await;
    }
}

async fn end(session: &Arc<Session>, ticket: u64, abandoned: Abandoned, hold: Hold, failed: impl FnOnce()) {
    // What another caller has sent behind it must not be hit: then it ends by itself.
    let asks = abandoned == Abandoned::Cancel && session.pipeline.is_last(ticket);
    let hold = Some(hold).filter(|_| asks);
    // A BEGIN may have been left behind before the statement that it was to travel with.
    session.stir();
    // Answered after all that was sent before it; fails if the transaction has.
    let mut marker = std::pin::pin!(session.client.batch_execute("select"));
    // Sent now, before anybody else sends.
    let mut answer = match futures_util::poll!(marker.as_mut()) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    };
    if asks && answer.is_none() {
        answer = tokio::select! {
            () = session.pipeline.first(ticket) => ask_to_end(session, marker.as_mut()).await,
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

/// Asks until the answer to what was sent behind the statement shows that it has ended; `None` if it never does.
async fn ask_to_end<T>(session: &Session, mut answer: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    for _ in 0..REQUESTS_MAX {
        if let Err(error) = session.cancel().await {
            log::debug!(target: "pgque", "{error}");
        }
        if let Ok(answer) = tokio::time::timeout(ANSWER_TIMEOUT, answer.as_mut()).await {
            return Some(answer);
        }
    }
    None
}
