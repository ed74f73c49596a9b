//! Statements in flight, and what becomes of one whose caller no longer waits: the server is asked to give it up, so
//! that it neither goes on for nobody nor keeps the next one waiting.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, Notify, OwnedMutexGuard};

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
    ended: Notify,
    /// Held while an abandoned statement is being ended: what is sent meanwhile would be hit in its place.
    gate: Arc<AsyncMutex<()>>,
}

#[derive(Default)]
struct InFlight {
    next: u64,
    tickets: BTreeSet<u64>,
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
        let _open = session.pipeline.gate.lock().await;
        let mut in_flight = session.pipeline.lock();
        let ticket = in_flight.next;
        in_flight.next += 1;
        in_flight.tickets.insert(ticket);
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
        let gate = session.pipeline.hold_back();
        let Ok(runtime) = runtime::handle() else { return };
        let farewell = runtime::farewell();
        runtime.spawn(async move {
            end(&session, ticket, abandoned, gate.await, failed).await;
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
    /// Keeps new statements back, from now on, for as long as what this gives is held; it may be somebody else's turn
    /// before. For who is about to have one ended: the next must not be hit in its place.
    pub(super) fn hold_back(&self) -> impl Future<Output = OwnedMutexGuard<()>> + Send + use<> {
        let mut gate = Box::pin(self.gate.clone().lock_owned());
        // The first look is what queues for it.
        let looked = gate.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        async move {
            match looked {
                Poll::Ready(gate) => gate,
                Poll::Pending => gate.await,
            }
        }
    }

    /// Until no abandoned statement is being ended, or for a second.
    pub(super) async fn settled(&self) {
        let _ = tokio::time::timeout(SETTLE_TIMEOUT, self.gate.lock()).await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, InFlight> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, ticket: u64) {
        self.lock().tickets.remove(&ticket);
        self.ended.notify_waiters();
    }

    fn is_first(&self, ticket: u64) -> bool {
        self.lock().tickets.first() == Some(&ticket)
    }

    fn is_last(&self, ticket: u64) -> bool {
        self.lock().tickets.last() == Some(&ticket)
    }

    /// Until all that was sent before has ended.
    async fn first(&self, ticket: u64) {
        loop {
            let ended = self.ended.notified();
            if self.is_first(ticket) {
                return;
            }
            ended.await;
        }
    }
}

async fn end(
    session: &Arc<Session>,
    ticket: u64,
    abandoned: Abandoned,
    gate: OwnedMutexGuard<()>,
    failed: impl FnOnce(),
) {
    // What another caller has sent behind it must not be hit: then it ends by itself.
    let asks = abandoned == Abandoned::Cancel && session.pipeline.is_last(ticket);
    let gate = Some(gate).filter(|_| asks);
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
    drop(gate);
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
