//! The runner of ticks, retries and maintenance, without which nothing is delivered.

mod cadence;
mod lead;
mod options;
mod stats;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

pub use options::TickerOptions;
pub use stats::{TickerState, TickerStats};

use crate::client::Client;
use crate::connect::{Connection, Settings};
use crate::error::{Error, Kind, Result};
use crate::message::Timestamp;
use crate::policy::{Backoff, ends_loop};
use crate::process::Owner;
use lead::{Leader, Patience, within};

/// Runs the engine of one database. Many may run; one works, the others stand by.
///
/// Needs the role `pgque_admin`. Clones share the runner.
#[derive(Clone)]
pub struct Ticker(Arc<Shared>);

struct Shared {
    settings: Settings,
    options: TickerOptions,
    stop: watch::Sender<bool>,
    /// While it runs.
    owner: Owner,
    stats: Mutex<TickerStats>,
}

impl Ticker {
    /// Connects only when run.
    pub fn new(settings: Settings, options: TickerOptions) -> Ticker {
        Ticker(Arc::new(Shared {
            // A connection that silently replaced itself would have lost the lock by which it leads, and its LISTEN.
            settings: settings.autocommit(true).reconnect(false),
            options,
            stop: watch::Sender::new(false),
            owner: Owner::nobody("running ticker"),
            stats: Mutex::new(TickerStats { since: Timestamp::now(), ..TickerStats::default() }),
        }))
    }

    /// Ends the current or the next `run` at once. From any thread.
    pub fn stop(&self) {
        if !self.0.owner.is_other() {
            self.0.stop.send_replace(true);
        }
    }

    /// Where the ticker stands and what it has done, in this process. At any time, from any thread.
    pub fn stats(&self) -> TickerStats {
        match self.0.owner.is_other() {
            true => TickerStats { since: Timestamp::now(), ..TickerStats::default() },
            false => self.0.count(|stats| stats.clone()),
        }
    }

    /// Works, or stands by, until `stop`. Reconnects for as long as it takes; returns errors that time cannot mend.
    pub async fn run(&self) -> Result<()> {
        let _held = self.0.owner.hold("run")?;
        let mut stop = self.0.stop.subscribe();
        let result = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Ok(()),
            error = self.work() => Err(error),
        };
        self.0.stop.send_replace(false);
        self.0.enter(TickerState::Stopped);
        log::info!(target: "pgque.ticker", "ticker stopped");
        result
    }

    /// Comes back only with a permanent error.
    async fn work(&self) -> Error {
        let mut backoff = Backoff::new();
        let mut patience = Patience::default();
        loop {
            self.0.enter(TickerState::Connecting);
            let Err(error) = self.session(&mut backoff, &mut patience).await;
            if ends_loop(&error) {
                return error;
            }
            if error.kind() != Kind::Timeout {
                patience = Patience::default();
            }
            let delay = backoff.next_delay();
            log::warn!(target: "pgque.ticker", "{error}; trying again in {:.1}s", delay.as_secs_f64());
            self.0.count(|stats| {
                stats.reconnects += 1;
                stats.last_error = Some(error.to_string());
            });
            self.0.enter(TickerState::Connecting);
            tokio::time::sleep(delay).await;
        }
    }

    async fn session(&self, backoff: &mut Backoff, patience: &mut Patience) -> Result<std::convert::Infallible> {
        let connection = Connection::open(self.0.settings.clone()).await?;
        if connection.is_pooled().await? {
            let message =
                "the ticker's lock belongs to its session, which a pooler shares out; connect to the server itself";
            return Err(Error::new(Kind::Configuration, "ticker", message));
        }
        let client = Client::over(connection);
        self.stand_by(&client, patience).await?;
        log::info!(target: "pgque.ticker", "ticker running");
        self.0.enter(TickerState::Leading);
        let mut leader = Leader::new(&self.0, client, patience).await?;
        leader.round().await?;
        // Only now: a server that takes connections but no statements must not be asked ten times a second.
        *backoff = Backoff::new();
        leader.go_on().await
    }

    /// Waits until no other ticker works.
    async fn stand_by(&self, client: &Client, patience: &mut Patience) -> Result<()> {
        let mut told = false;
        while !within(patience, client.try_lead()).await? {
            if !std::mem::replace(&mut told, true) {
                log::info!(target: "pgque.ticker", "another ticker works here; standing by");
                self.0.enter(TickerState::Standby);
            }
            tokio::time::sleep(self.0.options.standby_interval).await;
        }
        Ok(())
    }
}

impl Shared {
    fn count<T>(&self, f: impl FnOnce(&mut TickerStats) -> T) -> T {
        f(&mut self.stats.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn enter(&self, state: TickerState) {
        self.count(|stats| {
            if stats.state != state {
                (stats.state, stats.since) = (state, Timestamp::now());
            }
        });
    }
}
