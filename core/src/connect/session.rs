//! One socket: the driver's task, its notifications, and the reason of its end.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_postgres::AsyncMessage;

use super::Settings;
use super::dial::{Link, Route, dial};
use super::prepared::Prepared;
use super::statement::Pipeline;
use super::wheel::Wheel;
use super::wire::{Driver, Ready};
use crate::error::{Error, Kind, Result};
use crate::runtime;

/// What a listener has not fetched yet; the oldest are dropped beyond this number.
/// A notification is only a hint to look, so that the newest ones suffice.
const NOTIFICATIONS_MAX: usize = 1024;

/// Who cancels wants out; a server out of reach must not hold him up for as long as a connection attempt may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

/// A NOTIFY that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    pub channel: String,
    pub payload: String,
    pub process_id: i32,
}

pub(super) struct Session {
    pub client: tokio_postgres::Client,
    /// The process that opened it.
    pub pid: u32,
    /// The process id that the server gave at the login.
    pub backend: i32,
    pub pipeline: Pipeline,
    /// What is called often keeps its plan, where it may.
    pub plans: Prepared,
    route: Route,
    events: Arc<Events>,
    wheel: Arc<Wheel>,
}

#[derive(Default)]
pub(super) struct Events {
    queue: Mutex<VecDeque<Notification>>,
    /// As the server last reported it.
    time_zone: Mutex<String>,
    changed: Notify,
    closed: Mutex<Option<String>>,
    ended: AtomicBool,
    dismissed: AtomicBool,
}

/// Tells whether a session has ended, for who asks often.
#[derive(Clone)]
pub(crate) struct Pulse(Arc<Events>);

impl Pulse {
    pub(crate) fn has_stopped(&self) -> bool {
        self.0.ended.load(Ordering::Relaxed)
    }

    /// Why it has.
    pub(crate) fn reason(&self) -> Option<String> {
        self.0.closed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Session {
    pub async fn open(settings: &Settings) -> Result<Session> {
        let server = settings.server.clone();
        let runtime = runtime::handle()?;
        // On our own runtime, which alone then drives the socket, whatever runtime the caller is on. Whoever no longer
        // waits for it ends the attempt.
        let mut attempt = JoinSet::new();
        attempt.spawn_on(async move { dial(&server).await.map_err(|error| server.conceal(error)) }, &runtime);
        let gone = || Error::new(Kind::Internal, "connect", "the attempt was lost");
        let attempt = attempt.join_next().await.ok_or_else(gone)?;
        let Link { client, driver, line, route, backend } = attempt.map_err(|e| gone().with_source(e))??;
        let events = Arc::new(Events::default());
        events.note_time_zone(&driver);
        let wheel = Wheel::new(driver, events.clone(), line);
        runtime.spawn(wheel.clone().keep());
        let (pipeline, plans) = (Pipeline::default(), Prepared::default());
        Ok(Session { client, pid: std::process::id(), backend, pipeline, plans, route, events, wheel })
    }

    /// Asks the server to end the statement that runs now; done once the server has taken notice.
    pub async fn cancel(&self) -> Result<()> {
        let ask = async {
            let wire = self.route.open().await?;
            let token = self.client.cancel_token();
            let asked = token.cancel_query_raw(tokio::io::empty(), Ready(wire.wait_for_end())).await;
            asked.map_err(|e| Error::from_driver("cancel", e))
        };
        let gave_up = |_| Error::new(Kind::Timeout, "cancel", "the server did not answer");
        tokio::time::timeout(CANCEL_TIMEOUT, ask).await.map_err(gave_up)?
    }

    /// Ends the connection without the server's consent.
    pub fn give_up(&self, reason: &str) {
        self.events.close(reason);
        self.wheel.stop();
    }

    /// The answer to a statement. It is sent at the first look at it.
    pub async fn answer<T>(&self, statement: impl Future<Output = T>) -> T {
        self.wheel.answer(statement).await
    }

    /// A first look at a statement that sends it; the caller goes on with [`Session::answer`].
    pub fn send<T>(&self, look: impl FnOnce() -> T) -> T {
        self.wheel.quietly(look)
    }

    /// Right before a BEGIN that a statement follows.
    pub fn begins_with_a_statement(&self) {
        self.wheel.line.expect_more_than_begun();
    }

    /// Has what was sent so, and nobody went on with, go out.
    pub fn stir(&self) {
        self.wheel.pass_on();
    }

    /// Why the connection ended, or `None` while it lives.
    pub fn closed_reason(&self) -> Option<String> {
        let reason = self.events.closed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        reason.or_else(|| self.client.is_closed().then(|| "connection closed".to_owned()))
    }

    pub fn pulse(&self) -> Pulse {
        Pulse(self.events.clone())
    }

    /// Whether the server ended the connection with a word of its own while no statement was on its way. One that was
    /// meant to go was not sent then.
    pub fn dismissed(&self) -> bool {
        self.events.dismissed.load(Ordering::SeqCst)
    }

    /// The setting TimeZone.
    pub fn time_zone(&self) -> String {
        self.events.time_zone.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the waits for notifications, which would hold the session, and thus the socket, for as long as they last.
    pub fn end_waits(&self) {
        self.events.close("connection closed");
    }

    /// The next notification; waits for one. Ends with an error when the connection does.
    pub async fn notification(&self) -> Result<Notification> {
        let _listening = self.wheel.listen();
        loop {
            let changed = self.events.changed.notified();
            if let Some(notification) = self.events.pop() {
                return Ok(notification);
            }
            if let Some(reason) = self.closed_reason() {
                // One waiter was woken; it wakes the next.
                self.events.changed.notify_one();
                return Err(Error::new(Kind::Connection, "notification", reason));
            }
            changed.await;
        }
    }
}

impl Events {
    fn pop(&self) -> Option<Notification> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn take(&self, message: AsyncMessage) {
        match message {
            AsyncMessage::Notification(n) => {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                if queue.len() == NOTIFICATIONS_MAX {
                    queue.pop_front();
                }
                queue.push_back(Notification {
                    channel: n.channel().to_owned(),
                    payload: n.payload().to_owned(),
                    process_id: n.process_id(),
                });
                drop(queue);
                self.changed.notify_one();
            }
            AsyncMessage::Notice(notice) => {
                log::debug!(target: "pgque", "server {}: {}", notice.severity(), notice.message());
            }
            _ => {}
        }
    }

    /// The driver keeps what the server reports of its settings, but tells nobody when they change.
    pub fn note_time_zone(&self, driver: &Driver) {
        let Some(reported) = driver.parameter("TimeZone") else { return };
        let mut time_zone = self.time_zone.lock().unwrap_or_else(PoisonError::into_inner);
        if *time_zone != reported {
            reported.clone_into(&mut time_zone);
        }
    }

    /// Takes in what the driver has to say; whether it was its last word.
    pub fn is_end(&self, message: Option<Result<AsyncMessage, tokio_postgres::Error>>) -> bool {
        match message {
            Some(Ok(message)) => {
                self.take(message);
                return false;
            }
            Some(Err(e)) => {
                self.dismissed.store(e.as_db_error().is_some(), Ordering::SeqCst);
                self.close(Error::from_driver("connection", e).message());
            }
            None => self.close("connection closed"),
        }
        true
    }

    fn close(&self, reason: &str) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.get_or_insert_with(|| reason.to_owned());
        drop(closed);
        self.ended.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }
}
