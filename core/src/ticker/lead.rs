//! The one ticker that works: when it does what, and how it sleeps until there is something to do.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use super::Shared;
use super::cadence::Cadence;
use crate::client::Client;
use crate::error::{Error, Kind, Result};
use crate::policy::ends_loop;

/// A pause of this length is sleep: the producers are asked to ring when something is sent.
const SLEEP_FROM: Duration = Duration::from_millis(100);
/// The longest pause where nobody rings.
const UNATTENDED_MAX: Duration = Duration::from_millis(250);
/// How long the producers go on ringing if this ticker dies asleep, and when that is renewed.
const BELL_SECONDS: u32 = 30;
const BELL_RENEWAL: Duration = Duration::from_secs(15);
/// The longest pause: a ticker has to notice that its server is gone.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Between looks for ticks that a queue's own settings ask for without a new event: those for idle queues, which
/// nobody waits for.
const OWN_TICKS_INTERVAL: Duration = Duration::from_secs(10);
/// Maintenance truncates tables and moves what has piled up, in pieces of ten seconds at most.
const MAINT_TIMEOUT: Duration = Duration::from_secs(300);

/// How long a statement of the ticker's may take before its connection counts as lost.
///
/// Ticks are short, and the loop speaks to the server every second, so that a peer that vanished without a word is
/// noticed soon. A server that is merely slow gets twice as long at each new attempt: else no tick would ever finish.
pub(super) struct Patience(Duration);

impl Patience {
    const MIN: Duration = Duration::from_secs(10);

    fn lose(&mut self) {
        self.0 = (self.0 * 2).min(MAINT_TIMEOUT);
    }
}

impl Default for Patience {
    fn default() -> Patience {
        Patience(Patience::MIN)
    }
}

/// The answer of a short statement; `timeout` if the server does not give it.
pub(super) async fn within<T>(patience: &mut Patience, call: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(patience.0, call).await {
        Ok(result) => result,
        Err(_) => {
            let seconds = patience.0.as_secs();
            patience.lose();
            Err(Error::new(Kind::Timeout, "ticker", format!("the server did not answer within {seconds} s")))
        }
    }
}

/// Whether producers ring when they send something.
#[derive(Clone, Copy)]
enum Bell {
    /// They cannot in this database.
    None,
    Off,
    /// They do; to be renewed at this time.
    On(Instant),
}

pub(super) struct Leader<'a> {
    shared: &'a Shared,
    client: Client,
    patience: &'a mut Patience,
    cadence: Cadence,
    bell: Bell,
    rang: bool,
    /// The engine tells of new events; else the ticks that its queues' settings ask for are all there is.
    sees_events: bool,
    own_ticks_at: Instant,
    maint_at: Instant,
    /// When retries are due; `None` if none waits.
    retry_at: Option<Instant>,
    /// Retries must not be looked for before this time, were some of them stuck.
    retry_from: Instant,
}

impl<'a> Leader<'a> {
    pub async fn new(shared: &'a Shared, client: Client, patience: &'a mut Patience) -> Result<Leader<'a>> {
        let mut bell = Bell::None;
        if within(patience, client.capabilities()).await?.ticker_sleep {
            within(patience, client.listen_for_bell()).await?;
            bell = Bell::Off;
        }
        let now = Instant::now();
        let cadence = Cadence::new(shared.options.tick_interval, now);
        let (own_ticks_at, maint_at, retry_at, retry_from) = (now, now, Some(now), now);
        let (rang, sees_events) = (false, true);
        Ok(Leader {
            shared,
            client,
            patience,
            cadence,
            bell,
            rang,
            sees_events,
            own_ticks_at,
            maint_at,
            retry_at,
            retry_from,
        })
    }

    pub async fn go_on(&mut self) -> Result<Infallible> {
        loop {
            self.rest().await?;
            self.round().await?;
        }
    }

    /// Everything that is due. Each step is a transaction of its own, as the snapshot rule of the engine wants.
    pub async fn round(&mut self) -> Result<()> {
        self.cadence.begin(Instant::now());
        let events = self.tick_pending().await? | self.tick_own().await? | self.retry().await?;
        self.maintain().await?;
        let events = events || std::mem::take(&mut self.rang);
        if events {
            self.silence().await?;
        }
        let longest = match self.bell {
            Bell::None => UNATTENDED_MAX,
            _ => PAUSE_MAX,
        };
        self.cadence.end(events, self.shared.options.tick_interval_max.min(longest), Instant::now());
        Ok(())
    }

    /// A tick for every queue with new events, and whether there were any. The same look tells when retries are due.
    async fn tick_pending(&mut self) -> Result<bool> {
        let pending = within(self.patience, self.client.ticker_pending()).await;
        let now = Instant::now();
        match self.tolerate(pending)? {
            Some(Some(pending)) => {
                self.retry_at = pending.retry_in.map(|left| (now + left).max(self.retry_from));
                self.sees_events = true;
                self.shared.count(|stats| stats.ticks += pending.ticks);
                Ok(pending.ticks > 0)
            }
            // An engine without that look, or in which it failed: the queues' own settings have to do.
            _ => {
                self.retry_at = Some(self.retry_from);
                self.sees_events = false;
                Ok(false)
            }
        }
    }

    /// The ticks that the queues' own settings ask for; whether they are a sign of new events.
    async fn tick_own(&mut self) -> Result<bool> {
        let now = Instant::now();
        if self.sees_events && now < self.own_ticks_at {
            return Ok(false);
        }
        self.own_ticks_at = now + OWN_TICKS_INTERVAL;
        let ticks = within(self.patience, self.client.ticker_all()).await;
        let ticks = self.tolerate(ticks)?.unwrap_or_default().unsigned_abs();
        self.shared.count(|stats| stats.ticks += ticks);
        Ok(!self.sees_events && ticks > 0)
    }

    /// One lot of retries. If there was one the next round looks again, so that ticks go on in between.
    async fn retry(&mut self) -> Result<bool> {
        let now = Instant::now();
        if self.retry_at.is_none_or(|at| now < at) {
            return Ok(false);
        }
        let moved = within(&mut Patience(MAINT_TIMEOUT), self.client.maint_retry_events()).await;
        let moved = self.tolerate(moved)?.unwrap_or_default().unsigned_abs();
        self.shared.count(|stats| stats.retries += moved);
        self.retry_from = if moved > 0 { now } else { now + self.shared.options.retry_interval };
        self.retry_at = Some(self.retry_from);
        Ok(moved > 0)
    }

    async fn maintain(&mut self) -> Result<()> {
        let now = Instant::now();
        if now < self.maint_at {
            return Ok(());
        }
        self.maint_at = now + self.shared.options.maint_interval;
        let patience = &mut Patience(MAINT_TIMEOUT);
        let rotating = within(patience, self.client.maint_and_rotating()).await;
        let rotating = self.tolerate(rotating)?.unwrap_or_default().unsigned_abs();
        // The second half waits for the next maintenance, so that a quiet database is not asked twice.
        if rotating > 0 {
            let done = within(patience, self.client.maint_rotate_tables_step2()).await;
            self.tolerate(done)?;
            self.shared.count(|stats| stats.rotations += rotating);
        }
        Ok(())
    }

    /// Waits out the pause, or until a producer rings.
    async fn rest(&mut self) -> Result<()> {
        let now = Instant::now();
        let next = self.cadence.next(now, self.retry_at);
        if self.cadence.rest() < SLEEP_FROM || matches!(self.bell, Bell::None) {
            tokio::time::sleep_until(next.into()).await;
            return Ok(());
        }
        let pause = next.saturating_duration_since(now);
        match self.set_bell().await? {
            Some(true) => self.rang = self.client.bell(pause).await?,
            Some(false) => {}
            None => tokio::time::sleep(pause.min(UNATTENDED_MAX)).await,
        }
        Ok(())
    }

    /// Has producers ring. False when they did not until now: what was sent meanwhile has to be looked for first.
    /// `None` when they will not: while a producer's transaction is open, which began before anybody asked it to ring.
    async fn set_bell(&mut self) -> Result<Option<bool>> {
        let now = Instant::now();
        let was_on = match self.bell {
            Bell::On(renew_at) if now < renew_at => return Ok(Some(true)),
            Bell::On(_) => true,
            _ => false,
        };
        let rings = within(self.patience, self.client.ticker_sleep(BELL_SECONDS)).await;
        let (bell, answer) = match self.tolerate(rings)? {
            Some(true) => (Bell::On(now + BELL_RENEWAL), Some(was_on)),
            Some(false) => (Bell::Off, None),
            None => (Bell::None, None),
        };
        self.bell = bell;
        Ok(answer)
    }

    /// Has producers ring no longer, which costs them.
    async fn silence(&mut self) -> Result<()> {
        if let Bell::On(_) = self.bell {
            self.bell = Bell::Off;
            let done = within(self.patience, self.client.ticker_wake()).await;
            self.tolerate(done)?;
            // Rung meanwhile, for what the next round finds anyway.
            self.client.bell(Duration::ZERO).await?;
        }
        Ok(())
    }

    /// `None` for a step that the server refused although it is well: the others go on, and this one is tried again.
    fn tolerate<T>(&self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Err(error) if ends_loop(&error) && matches!(error.kind(), Kind::Server | Kind::Conflict) => {
                log::warn!(target: "pgque.ticker", "{error}; going on");
                self.shared.count(|stats| {
                    stats.failures += 1;
                    stats.last_error = Some(error.to_string());
                });
                Ok(None)
            }
            result => result.map(Some),
        }
    }
}
