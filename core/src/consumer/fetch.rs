//! From nothing to a batch: connecting, waiting for one's turn and for news, and receiving.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::ahead::ReadingAhead;
use super::batch::{Batch, Page};
use super::heartbeat::{Heartbeat, PAGE_LEASE, dead_after};
use super::options::ConsumerOptions;
use super::stats::Status;
use super::{Consumer, Next, member};
use crate::client::{Ahead, Client, PageAnswer, PageRequest, Routing};
use crate::connect::{Connection, Pulse, Settings};
use crate::error::{Error, Kind, Result};
use crate::message::Message;
use crate::policy::{Backoff, ends_loop};

/// A poll interval of zero must not become a busy loop against the server.
const POLL_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// Between attempts of a standby to take over, and of a worker whose page another one still holds.
const TURN_INTERVAL: Duration = Duration::from_secs(1);
/// While there is nothing to do, the server is asked for a sign of life so often, and given so long to answer.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// The first page of a large batch is no larger, so that its first message is at hand at once.
const FIRST_PAGE_MAX: i64 = 500;
/// How often the lag is looked at while batches flow.
const LAG_INTERVAL: Duration = Duration::from_secs(10);
/// Who leaves does not wait longer for the server to hear of it.
const FAREWELL: Duration = Duration::from_secs(2);

/// The loop's state, in the hands of one task at a time.
pub(super) struct Work {
    pub client: Option<Client>,
    pulse: Option<Pulse>,
    /// Where news come in and the turn is held: the same session, or a direct one beside a pooler; there may be none.
    ear: Option<Client>,
    /// Another worker holds the page that is next.
    waits_for_page: bool,
    pub heartbeat: Option<Heartbeat>,
    pub backoff: Backoff,
    /// A large batch is being read in pages.
    pub in_pages: bool,
    /// What follows the page in hand.
    pub ahead: Option<ReadingAhead>,
    /// The next page, which is ours already.
    turned: Option<(Vec<Message>, Page)>,
    /// A receive or a finish is under way, or was given up in its midst.
    pub is_amidst: bool,
    /// In transactional mode, the messages of the handlers since the savepoint.
    pub savepoint: Option<Vec<usize>>,
    /// The batch in hand.
    pub batch: Weak<Batch>,
    /// The name among cooperative workers, and whether it was made up.
    member: Option<String>,
    auto: bool,
    /// Who we are to the engine when we hold pages.
    worker: String,
    /// Whether the turn is ours, on this connection; and the server process that had it last.
    owner: bool,
    owner_pid: Option<i64>,
    connected_before: bool,
    /// When the attempt to connect began that is under way or has failed.
    tried_at: Option<Instant>,
    /// Set after a failure: how long to leave the server alone.
    pause_until: Option<Instant>,
    /// Set when there was nothing: wait for news until then before asking again.
    poll_at: Option<Instant>,
    lag_at: Option<Instant>,
    /// Where the consumer stood at the last empty answer of an engine that does not pass empty windows by itself.
    empty_at: Option<i64>,
}

/// What one look at the queue gave.
enum Look {
    Batch(Vec<Message>, Option<Page>),
    /// An empty window was passed; the next may have something.
    Again,
    /// Nothing to do for so long, unless there are news.
    Nothing(Duration),
    /// The caller's limit came first.
    TimeOver,
}

impl Work {
    pub(super) fn new(options: &ConsumerOptions, auto: bool) -> Work {
        Work {
            client: None,
            pulse: None,
            ear: None,
            waits_for_page: false,
            heartbeat: None,
            backoff: Backoff::new(),
            in_pages: false,
            ahead: None,
            turned: None,
            is_amidst: false,
            savepoint: None,
            batch: Weak::new(),
            member: options.subconsumer.clone(),
            auto,
            worker: member::fresh_name(),
            owner: false,
            owner_pid: None,
            connected_before: false,
            tried_at: None,
            pause_until: None,
            poll_at: None,
            lag_at: None,
            empty_at: None,
        }
    }
}

impl Consumer {
    /// Goes on until there is a batch, a permanent error, or nothing until the limit.
    pub(super) async fn fetch(&self, work: &mut Work, limit: Option<Instant>) -> Result<Next> {
        let draining = work.in_pages;
        loop {
            if draining && self.is_stopping() && !work.in_pages {
                return Ok(Next::Stopped);
            }
            if let Some(end) = work.pause_until {
                self.0.monitor.status(Status::Retrying);
                if !wait_until(end, limit).await {
                    return Ok(Next::Idle);
                }
                work.pause_until = None;
            }
            match self.look(work, limit).await {
                Ok(Look::Batch(messages, page)) => return Ok(Next::Batch(self.hand_out(work, messages, page).await?)),
                Ok(Look::Again) => {}
                // A stop that waited for the last page has come to its end.
                Ok(Look::Nothing(_)) if self.is_stopping() => return Ok(Next::Stopped),
                Ok(Look::Nothing(pause)) => {
                    work.backoff = Backoff::new();
                    work.poll_at = after(pause);
                }
                Ok(Look::TimeOver) => return Ok(Next::Idle),
                Err(error) if ends_loop(&error) => return Err(error),
                Err(error) => self.retreat(work, &error).await,
            }
        }
    }

    /// One look for messages, after a wait for one's turn, and for news if there was nothing at the last look.
    async fn look(&self, work: &mut Work, limit: Option<Instant>) -> Result<Look> {
        let client = match &work.client {
            Some(client) => client.clone(),
            None => self.connect(work).await?,
        };
        if !self.has_turn(work, &client, limit).await? {
            return Ok(Look::TimeOver);
        }
        self.0.monitor.status(if work.waits_for_page { Status::Standby } else { Status::Idle });
        if let Some(poll_at) = work.poll_at {
            let news = match &work.ear {
                Some(ear) => news(ear.own_connection("consumer")?, poll_at, limit).await?,
                None => wait_until(poll_at, limit).await,
            };
            if !news {
                return Ok(Look::TimeOver);
            }
            work.poll_at = None;
        }
        self.begin(&client).await?;
        let look = self.receive(work, &client).await?;
        if !matches!(look, Look::Batch(..)) {
            self.end_empty(&client).await?;
        }
        Ok(look)
    }

    async fn connect(&self, work: &mut Work) -> Result<Client> {
        let ConsumerOptions { queue, name, poll_interval, .. } = &self.0.options;
        self.0.monitor.status(Status::Connecting);
        work.tried_at = Some(Instant::now());
        // A connection that silently replaced itself would have lost its LISTEN, and its turn.
        let connection = Connection::open(self.0.settings.clone().reconnect(false)).await?;
        work.pulse = Some(connection.pulse().await?);
        let ear = self.ear(&connection).await?;
        let client = Client::over(connection);
        let poll = poll_interval.as_secs_f64();
        match &ear {
            Some(ear) => {
                // Before the first look, so that nothing falls between the two.
                ear.listen(&format!("pgque_{queue}")).await?;
                log::info!(target: "pgque", "consumer {name} listening on {queue} (poll={poll:.0}s)");
            }
            None if self.is_apart(&client).await? => log::info!(
                target: "pgque",
                "consumer {name} looks at {queue} every {poll:.0}s: a pooler hides notifications; a direct connection \
                 in listen_dsn would bring them back"
            ),
            None => log::warn!(
                target: "pgque",
                "consumer {name} looks at {queue} every {poll:.0}s: a pooler hides notifications, and others of this \
                 name, who would get the same batches; a direct connection in listen_dsn would bring both back"
            ),
        }
        if std::mem::replace(&mut work.connected_before, true) {
            self.0.monitor.count(|stats| stats.reconnects += 1);
        }
        (work.poll_at, work.owner, work.tried_at) = (None, false, None);
        // Without a session of its own nobody can hold a turn.
        work.ear = ear.map(Client::over);
        Ok(work.client.insert(client).clone())
    }

    /// The session for what only a session can do.
    async fn ear(&self, connection: &Connection) -> Result<Option<Connection>> {
        match &self.0.options.listen_dsn {
            Some(dsn) => Connection::open(Settings::parse(dsn)?.reconnect(false)).await.map(Some),
            None if connection.is_pooled().await? => Ok(None),
            None => Ok(Some(connection.clone())),
        }
    }

    /// Of several consumers of one name, one works. Waits until this is the one; false if the limit came first.
    async fn has_turn(&self, work: &mut Work, client: &Client, limit: Option<Instant>) -> Result<bool> {
        if work.owner {
            return Ok(true);
        }
        let mut told = false;
        while let Some(ear) = work.ear.clone() {
            let turn = ear.try_own(&self.key(work)).await?;
            if turn.ours {
                work.owner_pid = Some(turn.backend_pid);
                break;
            }
            if !self.clear_the_way(work, &ear).await? {
                self.0.monitor.status(Status::Standby);
                if !std::mem::replace(&mut told, true) {
                    let name = &self.0.options.name;
                    log::info!(target: "pgque", "consumer {name}: another one of this name is at work; standing by");
                }
                let next = Instant::now() + TURN_INTERVAL;
                if !wait_until(next, limit).await {
                    return Ok(false);
                }
            }
        }
        work.owner = true;
        self.register(work, client).await?;
        Ok(true)
    }

    /// What can be done at once if the name is taken: end a connection of our own that the server has not missed yet,
    /// or take another name, if it is ours to choose.
    async fn clear_the_way(&self, work: &mut Work, client: &Client) -> Result<bool> {
        if work.auto {
            work.member = Some(member::auto_name());
            return Ok(true);
        }
        let Some(pid) = work.owner_pid else { return Ok(false) };
        let ended = client.end_owner(&self.key(work), pid).await?;
        // Not before: one that failed, or was given up, is tried again.
        work.owner_pid = None;
        Ok(ended > 0)
    }

    /// What only one may do at a time, each name quoted, so that no two pairs look alike.
    fn key(&self, work: &Work) -> String {
        let ConsumerOptions { queue, name, .. } = &self.0.options;
        format!("pgque consumer {queue:?} {name:?} {:?}", work.member)
    }

    /// A worker with a name of its own making is known to nobody yet. Others register with their first receive.
    async fn register(&self, work: &Work, client: &Client) -> Result<()> {
        let ConsumerOptions { queue, name, .. } = &self.0.options;
        match &work.member {
            Some(member) if work.auto => {
                client.subscribe_subconsumer(queue, name, member, false).await?;
                self.bury_the_dead(client).await;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn receive(&self, work: &mut Work, client: &Client) -> Result<Look> {
        let ConsumerOptions { max_messages, page_size, transactional, .. } = self.0.options;
        if let Some((messages, page)) = work.turned.take() {
            return Ok(Look::Batch(messages, Some(page)));
        }
        // Without a session of its own nobody holds a turn. A page is held by its lease, which does as well.
        if work.in_pages || work.ear.is_none() && !transactional && self.is_apart(client).await? {
            return self.receive_page(work, client).await;
        }
        let pages = client.capabilities().await?.pages && !transactional;
        let unlimited = self.takes_any_number();
        // Most batches are small, and then one call does it. The server refuses a larger one before it reads it.
        let first = if pages && unlimited { page_size } else { max_messages };
        let error = match self.receive_whole(work, client, first).await {
            Ok(messages) if messages.is_empty() => return self.nothing(work, client).await,
            Ok(messages) => return Ok(Look::Batch(messages, None)),
            Err(error) => error,
        };
        let too_large = unlimited && error.kind() == Kind::Overflow;
        // A page of the open batch has been handed out before.
        let begun = error.sqlstate() == Some("55000");
        if !pages || !(too_large || begun) {
            return Err(error);
        }
        self.receive_page(work, client).await
    }

    /// Whether two consumers of one name do not work at once, also if none of them holds a turn: a page has a lease, and a
    /// transaction the lock that its receive took. Another engine may know of neither.
    async fn is_apart(&self, client: &Client) -> Result<bool> {
        let held = self.0.options.transactional || self.takes_any_number();
        Ok(held && client.capabilities().await?.pages)
    }

    fn takes_any_number(&self) -> bool {
        self.0.options.max_messages == i64::from(i32::MAX)
    }

    async fn receive_whole(&self, work: &Work, client: &Client, limit: i64) -> Result<Vec<Message>> {
        let ConsumerOptions { queue, name, dead_interval, .. } = &self.0.options;
        match &work.member {
            None => client.receive(queue, name, limit).await,
            Some(member) => client.receive_coop(queue, name, member, limit, dead_interval.as_ref()).await,
        }
    }

    async fn receive_page(&self, work: &mut Work, client: &Client) -> Result<Look> {
        let ConsumerOptions { queue, name, dead_interval, page_size, .. } = &self.0.options;
        if let Some(member) = work.member.as_ref().filter(|_| !work.in_pages) {
            // Pages are for registered members only.
            client.subscribe_subconsumer(queue, name, member, false).await?;
        }
        let page_size = if work.in_pages { *page_size } else { FIRST_PAGE_MAX.min(*page_size) };
        let request = PageRequest {
            queue,
            consumer: name,
            member: work.member.as_deref(),
            worker: &work.worker,
            page_size,
            dead_interval: dead_interval.as_ref(),
            lease: PAGE_LEASE.into(),
        };
        let answer = client.receive_page(&request).await?;
        work.in_pages = matches!(answer, PageAnswer::Page { .. });
        let waited = std::mem::replace(&mut work.waits_for_page, matches!(answer, PageAnswer::Busy));
        if work.waits_for_page && !waited {
            log::info!(target: "pgque", "consumer {name}: another one of this name is at work; standing by");
        }
        Ok(match answer {
            PageAnswer::Page { token, messages } => {
                Look::Batch(messages, Some(Page { token, worker: work.worker.clone() }))
            }
            PageAnswer::Advanced => Look::Again,
            PageAnswer::Idle => self.pause(),
            PageAnswer::Busy => Look::Nothing(TURN_INTERVAL),
        })
    }

    /// What follows the page in hand, unless a stop leaves it to the next run.
    pub(super) async fn next_page(&self, work: &mut Work) -> Option<Ahead> {
        let mut ahead = work.ahead.take()?;
        if self.0.stop.hands_back() {
            return None;
        }
        let next = ahead.next().await?;
        work.ahead = Some(ahead);
        Some(next)
    }

    /// Settles the page and takes the next; whether there is none.
    pub(super) async fn turn_page(
        &self,
        work: &mut Work,
        client: &Client,
        page: &Page,
        routed: &[Routing],
        ahead: Ahead,
    ) -> Result<bool> {
        // Unless this page becomes ours, what was read behind it is not the next.
        let reading = work.ahead.take();
        let turned = client.turn_page(&page.token, &page.worker, routed, &ahead, PAGE_LEASE.into()).await?;
        if let Some(token) = turned.token {
            let next = Page { token, worker: page.worker.clone() };
            let member = work.member.as_deref();
            work.heartbeat =
                Heartbeat::start(client.clone(), &self.0.settings, &self.0.options, member, Some(next.clone()));
            work.turned = Some((ahead.messages, next));
            work.ahead = reading;
        }
        Ok(turned.finished)
    }

    /// An empty answer: of our engine it means that there is nothing; of another, perhaps just an empty window.
    async fn nothing(&self, work: &mut Work, client: &Client) -> Result<Look> {
        if !client.capabilities().await?.finish {
            let ConsumerOptions { queue, name, .. } = &self.0.options;
            let at = client.tick_behind(queue, name).await?;
            // As long as it moves on.
            if at.is_some() && at != std::mem::replace(&mut work.empty_at, at) {
                return Ok(Look::Again);
            }
        }
        Ok(self.pause())
    }

    /// How long to wait for news. Of a worker that dies nothing is told: its batch has to be looked for, and twice in a
    /// dead interval, or a look just before its end would have the next one come too late by itself.
    fn pause(&self) -> Look {
        self.0.monitor.caught_up();
        let ConsumerOptions { poll_interval, dead_interval, .. } = &self.0.options;
        let dead_after = dead_interval.as_ref().and_then(dead_after);
        Look::Nothing(dead_after.map_or(*poll_interval, |dead| (dead / 2).min(*poll_interval)).max(POLL_INTERVAL_MIN))
    }

    async fn hand_out(&self, work: &mut Work, messages: Vec<Message>, page: Option<Page>) -> Result<Arc<Batch>> {
        let client = work.client.clone().ok_or_else(|| Error::new(Kind::Internal, "consumer", "not connected"))?;
        self.0.monitor.received(&messages);
        self.0.monitor.status(Status::Handling);
        // A connection that was lost meanwhile is noticed when the batch is finished.
        let time_zone = client.own_connection("consumer")?.time_zone().unwrap_or_default();
        let transaction = self.0.options.transactional.then(|| client.clone());
        if transaction.is_none() {
            self.look_at_lag(work, &client).await;
            let member = work.member.as_deref();
            work.heartbeat = Heartbeat::start(client.clone(), &self.0.settings, &self.0.options, member, page.clone());
        }
        let routes = self.routes(&messages);
        let mut batch = Batch::new(messages, routes, self.0.clone(), page, transaction, work.pulse.clone());
        batch.time_zone = time_zone;
        let batch = Arc::new(batch);
        work.batch = Arc::downgrade(&batch);
        match &batch.page {
            Some(page) if work.ahead.is_none() && client.capabilities().await?.read_ahead => {
                work.ahead = ReadingAhead::start(client, &batch, page, self.0.options.page_size);
            }
            Some(_) => {}
            None => work.ahead = None,
        }
        log::debug!(target: "pgque", "batch {}: {} message(s)", batch.id(), batch.messages().len());
        Ok(batch)
    }

    async fn look_at_lag(&self, work: &mut Work, client: &Client) {
        if work.lag_at.is_some_and(|at| at > Instant::now()) {
            return;
        }
        work.lag_at = after(LAG_INTERVAL);
        let ConsumerOptions { queue, name, .. } = &self.0.options;
        // Who may consume may look; but a reading that cannot be had is no reason to hold the batch up.
        if let Ok(events) = client.pending_events(queue, name).await {
            self.0.monitor.count(|stats| stats.lag_events = u64::try_from(events).unwrap_or(0));
        }
    }

    /// Drops the connection after a failure and plans a pause.
    pub(super) async fn retreat(&self, work: &mut Work, error: &Error) {
        // An attempt that took long has been a pause by itself; a server that is back is not to wait for another.
        let tried = work.tried_at.take().map_or(Duration::ZERO, |at| at.elapsed());
        let delay = work.backoff.next_delay().saturating_sub(tried);
        let (name, seconds) = (&self.0.options.name, delay.as_secs_f64());
        log::warn!(target: "pgque", "consumer {name}: {error}; trying again in {seconds:.1}s");
        self.0.monitor.failed(error);
        self.0.monitor.status(Status::Retrying);
        self.leave(work).await;
        work.pause_until = after(delay);
    }

    /// Begins a receive or a finish. Nobody knows where one that was given up has left its transaction, which goes with
    /// the connection.
    pub(super) async fn begin_step(&self, work: &mut Work) {
        if std::mem::replace(&mut work.is_amidst, true) && self.0.options.transactional {
            self.leave(work).await;
        }
    }

    /// Gives up the connection, to come back later.
    pub(super) async fn leave(&self, work: &mut Work) {
        work.heartbeat = None;
        work.savepoint = None;
        (work.in_pages, work.waits_for_page, work.owner) = (false, false, false);
        (work.ahead, work.turned) = (None, None);
        for client in [work.client.take(), work.ear.take()].into_iter().flatten() {
            client.close().await;
        }
    }

    /// Gives up everything: the run is over.
    pub(super) async fn part(&self, work: &mut Work) {
        if let Some(ticker) = &self.0.ticker {
            ticker.stop();
        }
        if let (Some((_, page)), Some(client)) = (work.turned.take(), &work.client) {
            // Or whoever comes next would have to wait for the end of the lease.
            let release = client.release_page(&page.token, &page.worker);
            if !matches!(tokio::time::timeout(FAREWELL, release).await, Ok(Ok(_))) {
                log::debug!(target: "pgque", "the next page stays leased for {} s", PAGE_LEASE.as_secs());
            }
        }
        if let (true, Some(member), Some(client)) = (work.auto && work.owner, &work.member, &work.client) {
            let ConsumerOptions { queue, name, .. } = &self.0.options;
            let unregister = client.unsubscribe_subconsumer(queue, name, member, BATCH_TO_RETRY);
            match tokio::time::timeout(FAREWELL, unregister).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => log::warn!(target: "pgque", "consumer {name}: {member} stays registered: {error}"),
                Err(_) => log::warn!(target: "pgque", "consumer {name}: {member} stays registered: no answer"),
            }
        }
        self.leave(work).await;
        self.0.monitor.status(Status::Stopped);
    }
}

/// A member that leaves with a batch in hand: its messages go to the retry queue.
const BATCH_TO_RETRY: i64 = 1;

/// Waits for a notification, or until it is time to poll. False if the limit came first.
async fn news(connection: &Connection, poll_at: Instant, limit: Option<Instant>) -> Result<bool> {
    let end = limit.map_or(poll_at, |limit| limit.min(poll_at));
    loop {
        let time = end.saturating_duration_since(Instant::now());
        if connection.notification(time.min(PING_INTERVAL)).await?.is_some() {
            // One look serves all notifications that have arrived by now.
            while connection.notification(Duration::ZERO).await?.is_some() {}
            return Ok(true);
        }
        if time <= PING_INTERVAL {
            return Ok(end == poll_at);
        }
        connection.ping(PING_INTERVAL).await?;
    }
}

/// False if the limit came first.
async fn wait_until(end: Instant, limit: Option<Instant>) -> bool {
    let stop = limit.map_or(end, |limit| limit.min(end));
    tokio::time::sleep_until(stop.into()).await;
    stop == end
}

/// `None`, which is never, where the clock cannot count so far.
pub(super) fn after(duration: Duration) -> Option<Instant> {
    Instant::now().checked_add(duration)
}
