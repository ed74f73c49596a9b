//! The loop that fetches batches, waits, reconnects and finishes; handlers run outside of it.

mod ahead;
mod batch;
mod embedded;
mod fetch;
mod heartbeat;
mod hooks;
mod lanes;
mod member;
mod options;
mod run;
mod stats;
mod stop;
mod transaction;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;

pub use batch::{Batch, Outcome};
pub use options::{ConsumerOptions, OrderedBy, RetryBackoff, StopPolicy, UnknownHandlerPolicy};
pub use run::{run_batches_blocking, run_blocking};
pub use stats::{Health, Stats, Status};

use crate::client::{Client, Routing};
use crate::connect::Settings;
use crate::error::{Error, Kind, Result};
use crate::policy::{Backoff, ends_loop, route};
use crate::process::Owner;
use batch::Settlement;
use embedded::EmbeddedTicker;
use fetch::{Work, after};
use hooks::Hooks;
use stats::Monitor;
use stop::Stop;

/// Why [`Consumer::next`] came back.
#[derive(Debug)]
pub enum Next {
    /// Messages to handle; settle them and give the batch to [`Consumer::finish`].
    Batch(Arc<Batch>),
    /// Nothing within the time limit.
    Idle,
    /// `stop` was called. The consumer may be used again.
    Stopped,
}

/// Receives batches and finishes them, for handlers that the caller runs in between.
///
/// No transaction is open while they run, unless the consumer is `transactional`. Delivery is at least once: a batch
/// that was not finished, for whatever reason, comes again. A lost connection is replaced, with growing delays, for as
/// long as it takes; errors that time cannot mend (no such consumer, overflow, no permission) are returned. Of several
/// consumers of one name, in whatever processes, one works and the others stand by.
///
/// The turn is held by a connection. A process that was stopped (by SIGSTOP, a debugger, a paused machine) while its
/// connection lives therefore keeps it: nobody can tell whether its handler will go on, and two must never be at work.
/// Where others shall go on meanwhile, use cooperative workers with a `dead_interval`: the heart-beats of a stopped one
/// end, its batch is taken over under another id, and what it says later of the old one has no effect.
///
/// Clones share the consumer. `next` and `finish` are for one task at a time; everything else is for any thread.
#[derive(Clone)]
pub struct Consumer(Arc<Shared>);

/// What the consumer and its batches have in common.
struct Shared {
    settings: Settings,
    options: ConsumerOptions,
    logger: String,
    handlers: Mutex<Handlers>,
    hooks: RwLock<Hooks>,
    stop: Stop,
    monitor: Monitor,
    ticker: Option<EmbeddedTicker>,
    running: AtomicBool,
    /// From the first batch on until `close`.
    owner: Owner,
    work: AsyncMutex<Work>,
}

#[derive(Default)]
struct Handlers {
    types: Vec<String>,
    /// One handler gets whole batches.
    whole: bool,
}

impl Consumer {
    /// Fails with `configuration` if the settings or options are wrong. Connects only at the first `next`.
    pub fn new(settings: Settings, mut options: ConsumerOptions) -> Result<Consumer> {
        options.check()?;
        let auto = options.name_member();
        let settings = settings.autocommit(true);
        let direct = options.listen_dsn.as_deref().map(Settings::parse).transpose()?;
        Ok(Consumer(Arc::new(Shared {
            logger: format!("pgque.consumer.{}", options.name),
            stop: Stop::new(options.stop_policy, options.stop_timeout),
            // The ticker's lock, too, wants a session of its own.
            ticker: options.ticker.then(|| EmbeddedTicker::new(direct.unwrap_or(settings.clone()))),
            work: AsyncMutex::new(Work::new(&options, auto)),
            settings,
            options,
            handlers: Mutex::default(),
            hooks: RwLock::default(),
            monitor: Monitor::new(),
            running: AtomicBool::new(false),
            owner: Owner::nobody("running consumer"),
        })))
    }

    /// The options as they hold: with the name that was made up for `auto`.
    pub fn options(&self) -> &ConsumerOptions {
        &self.0.options
    }

    /// Names a type to handle, `*` for all that have no handler of their own. The number of the handler; the
    /// same type gets the same number again. Fails with `conflict` beside a handler of batches.
    pub fn on(&self, event_type: &str) -> Result<usize> {
        let mut handlers = self.handlers();
        if handlers.whole {
            return Err(mixed("on"));
        }
        let known = handlers.types.iter().position(|h| h == event_type);
        Ok(known.unwrap_or_else(|| {
            handlers.types.push(event_type.to_owned());
            handlers.types.len() - 1
        }))
    }

    /// All messages are for one handler of whole batches, of the number 0; of a large batch it gets pages. Fails with
    /// `conflict` beside handlers by type.
    pub fn on_batch(&self) -> Result<()> {
        let mut handlers = self.handlers();
        if !handlers.types.is_empty() {
            return Err(mixed("on_batch"));
        }
        handlers.whole = true;
        Ok(())
    }

    /// Whether [`Consumer::on_batch`] was called.
    pub fn handles_batches(&self) -> bool {
        self.handlers().whole
    }

    /// Ends the current or the next wait at once, also when called before `next`. From any thread.
    ///
    /// What happens to the batch in hand is said by `stop_policy` and `stop_timeout`. A second call forces: nothing
    /// more is handled, and no handler waited for.
    pub fn stop(&self) {
        if !self.0.owner.is_other() {
            self.0.stop.ask();
        }
    }

    /// Whether `stop` was called and not yet answered by [`Next::Stopped`].
    pub fn is_stopping(&self) -> bool {
        self.0.stop.is_asked()
    }

    /// Waits until a stop has been forced or its `stop_timeout` is over: handlers that still run are not waited for.
    pub async fn overdue(&self) {
        self.0.stop.overdue().await;
    }

    /// Counters of this process, readable at any time.
    pub fn stats(&self) -> Stats {
        match self.0.owner.is_other() {
            true => Stats::default(),
            false => self.0.monitor.stats(),
        }
    }

    /// Whether the loop is alive in this process, since when, and its last error; readable at any time.
    pub fn health(&self) -> Health {
        match self.0.owner.is_other() {
            true => Monitor::new().health(),
            false => self.0.monitor.health(),
        }
    }

    /// Marks the consumer as running, until `close`. Fails with `conflict` if it is: one run at a time.
    pub fn begin_run(&self) -> Result<()> {
        self.0.owner.claim("run")?;
        if self.0.running.swap(true, Ordering::AcqRel) {
            let message = format!("consumer {} is running already", self.0.options.name);
            return Err(Error::new(Kind::Conflict, "run", message));
        }
        Ok(())
    }

    /// Waits for the next batch; no longer than `limit`, if one is given, while there is nothing to fetch.
    pub async fn next(&self, limit: Option<Duration>) -> Result<Next> {
        self.0.owner.claim("next")?;
        let mut work = self.0.work.lock().await;
        self.begin_step(&mut work).await;
        // A large batch is finished to its last page.
        let draining = work.in_pages && !self.0.stop.hands_back();
        let stopped = async {
            match draining {
                true => self.0.stop.overdue().await,
                false => self.0.stop.asked().await,
            }
        };
        let next = tokio::select! {
            biased;
            () = stopped => Ok(Next::Stopped),
            error = self.ticker_failed() => Err(error),
            next = self.fetch(&mut work, limit.and_then(after)) => next,
        };
        match &next {
            Ok(Next::Stopped) => {
                self.part(&mut work).await;
                self.0.stop.reset();
                log::info!(target: "pgque", "consumer {} stopped", self.0.options.name);
            }
            Err(error) => {
                self.0.monitor.failed(error);
                self.part(&mut work).await;
            }
            _ => {}
        }
        work.is_amidst = false;
        next
    }

    /// Settles a batch as its handlers did. A message that has none follows `unknown_handler_policy`; one that was not
    /// settled counts as failed, or goes back if the consumer stops.
    ///
    /// Retries and acknowledgement are one step. If it cannot be taken the batch stays open, comes again, and
    /// this is logged; only errors that time cannot mend are returned.
    pub async fn finish(&self, batch: &Batch) -> Result<()> {
        self.0.owner.claim("finish")?;
        let mut work = self.0.work.lock().await;
        work.heartbeat = None;
        self.begin_step(&mut work).await;
        let finished = self.finish_step(&mut work, batch).await;
        work.is_amidst = false;
        finished
    }

    async fn finish_step(&self, work: &mut Work, batch: &Batch) -> Result<()> {
        let id = batch.id();
        match self.conclude(work, batch).await {
            Ok(Some(settlement)) => {
                work.backoff = Backoff::new();
                self.0.monitor.settled(settlement.fates.into_iter());
                Ok(())
            }
            Ok(None) => {
                log::warn!(
                    target: "pgque",
                    "pgque: ack batch {id} returned 0 -- stale or double ack (batch already finished or not found)"
                );
                Ok(())
            }
            Err(error) if ends_loop(&error) => {
                self.0.monitor.failed(&error);
                self.part(work).await;
                Err(error)
            }
            Err(error) => {
                log::error!(target: &self.0.logger, "batch {id} not finished, it will be redelivered: {error}");
                self.retreat(work, &error).await;
                Ok(())
            }
        }
    }

    /// Gives up the connection, and the name that was made up for `auto`; ends the run that `begin_run` began. An
    /// unfinished batch comes again; of this one nothing more is handed out.
    pub async fn close(&self) {
        if self.0.owner.is_other() {
            return;
        }
        let mut work = self.0.work.lock().await;
        if let Some(batch) = work.batch.upgrade() {
            batch.abandon();
        }
        self.part(&mut work).await;
        work.is_amidst = false;
        if self.0.running.swap(false, Ordering::AcqRel) {
            // A stop of this run that its end has forestalled is not one of the next.
            self.0.stop.reset();
        }
        self.0.owner.release();
    }

    /// Tells the server; `None` if the batch was not open any more.
    async fn conclude(&self, work: &mut Work, batch: &Batch) -> Result<Option<Settlement>> {
        if let Some(reason) = batch.cut_off_by() {
            batch.abandon();
            return Err(Error::new(Kind::Connection, "finish", reason));
        }
        let left = self.leave_savepoint(work, batch).await;
        batch.close();
        left?;
        let settlement = batch.settlement();
        let lost = || Error::new(Kind::Connection, "finish", "the connection was lost");
        let client = work.client.clone().ok_or_else(lost)?;
        if settlement.hands_back() && !client.capabilities().await?.finish {
            log::info!(target: "pgque", "batch {} stays open and comes again: this engine takes nothing back", batch.id());
            if batch.client().is_some() {
                self.leave(work).await;
            }
            return Ok(Some(settlement));
        }
        let done = self.tell(work, &client, batch, &settlement.routed).await?;
        self.commit(&client, batch).await?;
        Ok(done.then_some(settlement))
    }

    /// Interval text is for the server to read. Where a handler's is none, the batch is finished without it: the same
    /// handler would give it again, and end the next run as well.
    async fn tell(&self, work: &mut Work, client: &Client, batch: &Batch, routed: &[Routing]) -> Result<bool> {
        let doubtful = batch::has_text_delays(routed, &self.0.options.retry_after);
        if doubtful {
            self.savepoint(batch).await?;
        }
        match self.tell_once(work, client, batch, routed).await {
            Err(error) if doubtful && error.kind() == Kind::InvalidInput => {
                log::error!(target: &self.0.logger, "a handler's verdict: {}; using retry_after", error.message());
                self.undo(batch).await?;
                let routed = batch::without_text_delays(routed, &self.0.options.retry_after);
                self.tell_once(work, client, batch, &routed).await
            }
            result => result,
        }
    }

    async fn tell_once(&self, work: &mut Work, client: &Client, batch: &Batch, routed: &[Routing]) -> Result<bool> {
        let Some(page) = &batch.page else {
            return client.route(batch.id(), routed).await.map(|done| done > 0);
        };
        let last = match self.next_page(work).await {
            Some(ahead) => self.turn_page(work, client, page, routed, ahead).await,
            None => client.ack_page(&page.token, &page.worker, routed).await,
        };
        match last {
            Ok(last) => {
                work.in_pages = !last;
                Ok(true)
            }
            Err(error) if error.kind() == Kind::BatchNotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn handlers(&self) -> std::sync::MutexGuard<'_, Handlers> {
        self.0.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the handler of each message.
    fn routes(&self, messages: &[crate::Message]) -> Vec<Option<usize>> {
        let handlers = self.handlers();
        let of = |message: &crate::Message| match handlers.whole {
            true => Some(0),
            false => route(&handlers.types, message.event_type.as_deref()),
        };
        messages.iter().map(of).collect()
    }
}

/// In a forked child the heart-beat and the reader are tasks of the parent's: even to end them is to take locks that its
/// threads may have held.
impl Drop for Shared {
    fn drop(&mut self) {
        if self.owner.is_other() {
            let work = self.work.get_mut();
            std::mem::forget((work.heartbeat.take(), work.ahead.take()));
        }
    }
}

fn mixed(op: &'static str) -> Error {
    let message = "a consumer has either handlers by type or one of whole batches; make two consumers of it";
    Error::new(Kind::Conflict, op, message)
}
