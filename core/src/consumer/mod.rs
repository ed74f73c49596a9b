//! The loop that fetches batches, waits, reconnects and finishes; handlers run outside of it.

mod batch;
mod heartbeat;
mod options;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex as AsyncMutex, watch};

pub use batch::Batch;
pub use options::{ConsumerOptions, UnknownHandlerPolicy};

use crate::client::{Client, Verdict};
use crate::connect::{Connection, Settings};
use crate::error::{Error, Kind, Result};
use crate::message::Message;
use crate::policy::{Backoff, ends_loop};
use heartbeat::Heartbeat;

/// A poll interval of zero must not become a busy loop against the server.
const POLL_INTERVAL_MIN: Duration = Duration::from_millis(10);

/// Why [`Consumer::next`] came back.
#[derive(Debug)]
pub enum Next {
    /// Messages to handle; give the batch to [`Consumer::finish`] with the verdicts.
    Batch(Arc<Batch>),
    /// Nothing within the time limit.
    Idle,
    /// `stop` was called. The consumer may be used again.
    Stopped,
}

/// Receives batches and finishes them, for handlers that the caller runs in between.
///
/// No transaction is open while they run. Delivery is at least once: a batch that was not finished, for whatever
/// reason, comes again. A lost connection is replaced, with growing delays, for as long as it takes; errors that
/// time cannot mend (no such consumer, overflow, no permission) are returned.
///
/// Clones share the consumer. `next` and `finish` are for one task at a time; `stop` is for any thread.
#[derive(Clone)]
pub struct Consumer(Arc<Shared>);

struct Shared {
    settings: Settings,
    options: ConsumerOptions,
    logger: String,
    handlers: Mutex<Vec<String>>,
    stop: watch::Sender<bool>,
    work: AsyncMutex<Work>,
}

struct Work {
    client: Option<Client>,
    heartbeat: Option<Heartbeat>,
    backoff: Backoff,
    /// Set after a failure: how long to leave the server alone.
    pause_until: Option<Instant>,
    /// Set when there was nothing: wait for news until then before asking again.
    poll_at: Option<Instant>,
}

impl Consumer {
    /// Fails with `configuration` if the settings or options are wrong. Connects only at the first `next`.
    pub fn new(settings: Settings, options: ConsumerOptions) -> Result<Consumer> {
        options.check()?;
        let work = Work { client: None, heartbeat: None, backoff: Backoff::new(), pause_until: None, poll_at: None };
        Ok(Consumer(Arc::new(Shared {
            settings: settings.autocommit(true),
            logger: format!("pgque.consumer.{}", options.name),
            options,
            handlers: Mutex::default(),
            stop: watch::Sender::new(false),
            work: AsyncMutex::new(work),
        })))
    }

    pub fn options(&self) -> &ConsumerOptions {
        &self.0.options
    }

    /// Names a type to handle, `*` for all that have no handler of their own. The number of the handler; the
    /// same type gets the same number again.
    pub fn on(&self, event_type: &str) -> usize {
        let mut handlers = self.0.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        let known = handlers.iter().position(|h| h == event_type);
        known.unwrap_or_else(|| {
            handlers.push(event_type.to_owned());
            handlers.len() - 1
        })
    }

    /// Ends the current or the next wait at once, also when called before `next`. From any thread.
    pub fn stop(&self) {
        self.0.stop.send_replace(true);
    }

    /// Whether `stop` was called and not yet answered by [`Next::Stopped`].
    pub fn is_stopping(&self) -> bool {
        *self.0.stop.borrow()
    }

    /// Waits for the next batch; no longer than `limit`, if one is given, while there is nothing to fetch.
    pub async fn next(&self, limit: Option<Duration>) -> Result<Next> {
        let mut work = self.0.work.lock().await;
        let mut stop = self.0.stop.subscribe();
        let next = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Ok(Next::Stopped),
            next = self.fetch(&mut work, limit.and_then(after)) => next,
        };
        match &next {
            Ok(Next::Stopped) => {
                self.leave(&mut work).await;
                self.0.stop.send_replace(false);
                log::info!(target: "pgque", "consumer {} stopped", self.0.options.name);
            }
            Err(_) => self.leave(&mut work).await,
            _ => {}
        }
        next
    }

    /// Settles a batch: one verdict for each message, in order. A missing one counts as failed, except that a
    /// message without a handler follows `unknown_handler_policy`.
    ///
    /// Retries and acknowledgement are one step. If it cannot be taken the batch stays open, comes again, and
    /// this is logged; only errors that time cannot mend are returned.
    pub async fn finish(&self, batch: &Batch, verdicts: Vec<Option<Verdict>>) -> Result<()> {
        let mut work = self.0.work.lock().await;
        work.heartbeat = None;
        let settled = batch.settle(&self.0.options, &self.0.logger, verdicts);
        let result = match &work.client {
            Some(client) => self.conclude(client, batch.id(), settled).await,
            None => Err(Error::new(Kind::Connection, "finish", "the connection was lost")),
        };
        match result {
            Ok(0) => {
                let id = batch.id();
                log::warn!(
                    target: "pgque",
                    "pgque: ack batch {id} returned 0 -- stale or double ack (batch already finished or not found)"
                );
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(error) if ends_loop(&error) => {
                self.leave(&mut work).await;
                Err(error)
            }
            Err(error) => {
                let id = batch.id();
                log::error!(target: &self.0.logger, "batch {id} not finished, it will be redelivered: {error}");
                self.retreat(&mut work, &error).await;
                Ok(())
            }
        }
    }

    /// Interval text is for the server to read. Where a handler's is none, the batch is finished without it: the same
    /// handler would give it again, and end the next run as well.
    async fn conclude(&self, client: &Client, id: i64, settled: Vec<(i64, Verdict)>) -> Result<i64> {
        let error = match client.finish(id, &settled).await {
            Err(error) if error.kind() == Kind::InvalidInput => error,
            result => return result,
        };
        let Some(settled) = batch::without_text_delays(settled, &self.0.options.retry_after) else {
            return Err(error);
        };
        log::error!(target: &self.0.logger, "a handler's verdict: {}; using retry_after", error.message());
        client.finish(id, &settled).await
    }

    /// Handles batches until `stop`: the handler gets its number and the message, and answers a verdict.
    pub async fn run(&self, mut handler: impl AsyncFnMut(usize, &Message) -> Verdict) -> Result<()> {
        while let Next::Batch(batch) = self.next(None).await? {
            let mut verdicts = Vec::with_capacity(batch.messages().len());
            for (i, message) in batch.messages().iter().enumerate() {
                verdicts.push(match batch.handler(i) {
                    Some(number) => Some(handler(number, message).await),
                    None => None,
                });
            }
            self.finish(&batch, verdicts).await?;
        }
        Ok(())
    }

    /// Gives up the connection. An unfinished batch comes again.
    pub async fn close(&self) {
        let mut work = self.0.work.lock().await;
        self.leave(&mut work).await;
    }

    /// Goes on until there is a batch, a permanent error, or nothing until the limit.
    async fn fetch(&self, work: &mut Work, limit: Option<Instant>) -> Result<Next> {
        loop {
            if let Some(end) = work.pause_until {
                if !wait_until(end, limit).await {
                    return Ok(Next::Idle);
                }
                work.pause_until = None;
            }
            match self.try_fetch(work, limit).await {
                Ok(Some(messages)) if messages.is_empty() => {
                    work.backoff = Backoff::new();
                    work.poll_at = after(pause(&self.0.options));
                }
                Ok(Some(messages)) => {
                    work.backoff = Backoff::new();
                    return Ok(Next::Batch(self.hand_out(work, messages)));
                }
                Ok(None) => return Ok(Next::Idle),
                Err(error) if ends_loop(&error) => return Err(error),
                Err(error) => self.retreat(work, &error).await,
            }
        }
    }

    /// One look for messages, after a wait for news if there was nothing at the last look. `None` if the limit
    /// came first.
    async fn try_fetch(&self, work: &mut Work, limit: Option<Instant>) -> Result<Option<Vec<Message>>> {
        let client = match &work.client {
            Some(client) => client.clone(),
            None => {
                let client = self.connect().await?;
                work.poll_at = None;
                work.client.insert(client).clone()
            }
        };
        if let Some(poll_at) = work.poll_at {
            if !news(client.own_connection("consumer")?, poll_at, limit).await? {
                return Ok(None);
            }
            work.poll_at = None;
        }
        let ConsumerOptions { queue, name, subconsumer, dead_interval, max_messages, .. } = &self.0.options;
        let messages = match subconsumer {
            None => client.receive(queue, name, *max_messages).await?,
            Some(member) => client.receive_coop(queue, name, member, *max_messages, dead_interval.as_ref()).await?,
        };
        Ok(Some(messages))
    }

    async fn connect(&self) -> Result<Client> {
        let ConsumerOptions { queue, name, poll_interval, .. } = &self.0.options;
        // A connection that silently replaced itself would have lost its LISTEN.
        let connection = Connection::open(self.0.settings.clone().reconnect(false)).await?;
        // Before the first look, so that nothing falls between the two.
        connection.listen(&format!("pgque_{queue}")).await?;
        let poll = poll_interval.as_secs_f64();
        log::info!(target: "pgque", "consumer {name} listening on {queue} (poll={poll:.0}s)");
        Ok(Client::over(connection))
    }

    fn hand_out(&self, work: &mut Work, messages: Vec<Message>) -> Arc<Batch> {
        let handlers = self.0.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        let batch = Arc::new(Batch::new(messages, &handlers));
        log::debug!(target: "pgque", "batch {}: {} message(s)", batch.id(), batch.messages().len());
        work.heartbeat =
            work.client.clone().and_then(|client| Heartbeat::start(client, &self.0.settings, &self.0.options));
        batch
    }

    /// Drops the connection after a failure and plans a pause.
    async fn retreat(&self, work: &mut Work, error: &Error) {
        let delay = work.backoff.next_delay();
        log::warn!(
            target: "pgque",
            "consumer {}: {error}; trying again in {:.1}s",
            self.0.options.name,
            delay.as_secs_f64()
        );
        self.leave(work).await;
        work.pause_until = after(delay);
    }

    async fn leave(&self, work: &mut Work) {
        work.heartbeat = None;
        if let Some(client) = work.client.take() {
            client.close().await;
        }
    }
}

/// How long to wait for news. Of a worker that dies nothing is told: its batch has to be looked for in time.
fn pause(options: &ConsumerOptions) -> Duration {
    let dead_after = options.dead_interval.as_ref().and_then(heartbeat::dead_after);
    dead_after.map_or(options.poll_interval, |dead| dead.min(options.poll_interval)).max(POLL_INTERVAL_MIN)
}

/// Waits for a notification, or until it is time to poll. False if the limit came first.
async fn news(connection: &Connection, poll_at: Instant, limit: Option<Instant>) -> Result<bool> {
    let end = limit.map_or(poll_at, |limit| limit.min(poll_at));
    let time = end.saturating_duration_since(Instant::now());
    if connection.notification(time).await?.is_none() {
        return Ok(end == poll_at);
    }
    // One look serves all notifications that have arrived by now.
    while connection.notification(Duration::ZERO).await?.is_some() {}
    Ok(true)
}

/// False if the limit came first.
async fn wait_until(end: Instant, limit: Option<Instant>) -> bool {
    let stop = limit.map_or(end, |limit| limit.min(end));
    tokio::time::sleep_until(stop.into()).await;
    stop == end
}

/// `None`, which is never, where the clock cannot count so far.
fn after(duration: Duration) -> Option<Instant> {
    Instant::now().checked_add(duration)
}
