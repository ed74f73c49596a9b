//! One socket: the driver's task, its notifications, and the reason of its end.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, NoTls};

use super::Settings;
use crate::error::{Error, Kind, Result};
use crate::runtime;

/// What a listener has not fetched yet; the oldest are dropped beyond this number.
/// A notification is only a hint to look, so that the newest ones suffice.
const NOTIFICATIONS_MAX: usize = 1024;

/// A NOTIFY that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    pub channel: String,
    pub payload: String,
    pub process_id: i32,
}

pub(super) struct Session {
    pub client: tokio_postgres::Client,
    events: Arc<Events>,
}

#[derive(Default)]
struct Events {
    queue: Mutex<VecDeque<Notification>>,
    changed: Notify,
    closed: Mutex<Option<String>>,
    dismissed: AtomicBool,
}

impl Session {
    pub async fn open(settings: &Settings) -> Result<Session> {
        let (config, limit) = (settings.config.clone(), settings.connect_timeout());
        // On our own runtime, which alone then drives the socket, whatever runtime the caller is on.
        // The driver's own limit covers the TCP connect only, not a server that accepts and stays silent.
        let attempt = async move { tokio::time::timeout(limit, config.connect(NoTls)).await };
        let (client, mut connection) = runtime::handle()?
            .spawn(attempt)
            .await
            .map_err(|e| Error::new(Kind::Internal, "connect", e.to_string()))?
            .map_err(|_| unreachable(settings, "timed out"))?
            .map_err(|e| refused(settings, e))?;
        let events = Arc::new(Events::default());
        let sink = events.clone();
        runtime::handle()?.spawn(async move {
            loop {
                match std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                    Some(Ok(message)) => sink.take(message),
                    Some(Err(e)) => {
                        sink.dismissed.store(e.as_db_error().is_some(), Ordering::SeqCst);
                        return sink.close(Error::from_driver("connection", e).message());
                    }
                    None => return sink.close("connection closed"),
                }
            }
        });
        Ok(Session { client, events })
    }

    /// Why the connection ended, or `None` while it lives.
    pub fn closed_reason(&self) -> Option<String> {
        let reason = self.events.closed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        reason.or_else(|| self.client.is_closed().then(|| "connection closed".to_owned()))
    }

    /// Whether the server ended the connection with a word of its own while no statement was on its way. One that was
    /// meant to go was not sent then.
    pub fn dismissed(&self) -> bool {
        self.events.dismissed.load(Ordering::SeqCst)
    }

    /// Ends the waits for notifications, which would hold the session, and thus the socket, for as long as they last.
    pub fn end_waits(&self) {
        self.events.close("connection closed");
    }

    /// The next notification; waits for one. Ends with an error when the connection does.
    pub async fn notification(&self) -> Result<Notification> {
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

    fn close(&self, reason: &str) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        self.changed.notify_one();
    }
}

/// What the server says decides the kind; everything else that prevents a connection is of that kind.
fn refused(settings: &Settings, error: tokio_postgres::Error) -> Error {
    let ours = Error::from_driver("connect", error);
    match ours.server().is_some() {
        true => ours,
        false => {
            let reason = ours.message().trim_start_matches("error connecting to server: ");
            unreachable(settings, reason)
        }
    }
}

/// Names the server, for the reason alone ("connection refused") does not say which setting to look at.
fn unreachable(settings: &Settings, reason: &str) -> Error {
    Error::new(Kind::Connection, "connect", format!("{}: {reason}", settings.server()))
}
