//! The runner of ticks, retries and maintenance, without which nothing is delivered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::client::Client;
use crate::connect::{Connection, Settings};
use crate::error::{Error, Kind, Result};
use crate::policy::{Backoff, ends_loop};

/// How often the runner does what.
#[derive(Clone, Debug)]
pub struct TickerOptions {
    /// Between ticks while events flow. Default 10 ms.
    pub tick_interval: Duration,
    /// Between ticks when nothing is new; reached by doubling. Default 250 ms.
    pub tick_interval_max: Duration,
    /// Between looks for due retries. Default 1 s.
    pub retry_interval: Duration,
    /// Between maintenance runs. Default 10 s.
    pub maint_interval: Duration,
    /// Between attempts of a standby to take over. Default 1 s.
    pub standby_interval: Duration,
}

impl Default for TickerOptions {
    fn default() -> TickerOptions {
        TickerOptions {
            tick_interval: Duration::from_millis(10),
            tick_interval_max: Duration::from_millis(250),
            retry_interval: Duration::from_secs(1),
            maint_interval: Duration::from_secs(10),
            standby_interval: Duration::from_secs(1),
        }
    }
}

impl TickerOptions {
    /// Sets an option by its name, in seconds. Fails with `configuration` and lists the names.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let configuration = |message| Error::new(Kind::Configuration, "ticker", message);
        let option = match name {
            "tick_interval" => &mut self.tick_interval,
            "tick_interval_max" => &mut self.tick_interval_max,
            "retry_interval" => &mut self.retry_interval,
            "maint_interval" => &mut self.maint_interval,
            "standby_interval" => &mut self.standby_interval,
            _ => {
                return Err(configuration(format!(
                    "unknown ticker option '{name}'; there are tick_interval, tick_interval_max, retry_interval, \
                     maint_interval and standby_interval"
                )));
            }
        };
        let seconds = value.parse().ok().map(Duration::try_from_secs_f64).and_then(Result::ok);
        *option = seconds
            .filter(|s| *s >= Duration::from_millis(1))
            .ok_or_else(|| configuration(format!("{name} must be at least 0.001 seconds, got '{value}'")))?;
        Ok(())
    }
}

/// Runs the engine of one database. Many may run; one works, the others stand by.
///
/// Needs the role `pgque_admin`. Clones share the runner.
#[derive(Clone)]
pub struct Ticker(Arc<Shared>);

struct Shared {
    settings: Settings,
    options: TickerOptions,
    stop: watch::Sender<bool>,
}

impl Ticker {
    /// Connects only when run.
    pub fn new(settings: Settings, options: TickerOptions) -> Ticker {
        Ticker(Arc::new(Shared {
            settings: settings.autocommit(true).reconnect(false),
            options,
            stop: watch::Sender::new(false),
        }))
    }

    /// Ends the current or the next `run` at once. From any thread.
    pub fn stop(&self) {
        self.0.stop.send_replace(true);
    }

    /// Works, or stands by, until `stop`. Reconnects for as long as it takes; returns errors that time cannot mend.
    pub async fn run(&self) -> Result<()> {
        let mut stop = self.0.stop.subscribe();
        let result = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Ok(()),
            error = self.work() => Err(error),
        };
        self.0.stop.send_replace(false);
        log::info!(target: "pgque.ticker", "ticker stopped");
        result
    }

    /// Comes back only with a permanent error.
    async fn work(&self) -> Error {
        let mut backoff = Backoff::new();
        loop {
            let Err(error) = self.session(&mut backoff).await;
            if ends_loop(&error) {
                return error;
            }
            let delay = backoff.next_delay();
            log::warn!(target: "pgque.ticker", "{error}; trying again in {:.1}s", delay.as_secs_f64());
            tokio::time::sleep(delay).await;
        }
    }

    async fn session(&self, backoff: &mut Backoff) -> Result<std::convert::Infallible> {
        let client = Client::over(Connection::open(self.0.settings.clone()).await?);
        let mut told = false;
        while !client.try_lead().await? {
            if !std::mem::replace(&mut told, true) {
                log::info!(target: "pgque.ticker", "another ticker works here; standing by");
            }
            tokio::time::sleep(self.0.options.standby_interval).await;
        }
        log::info!(target: "pgque.ticker", "ticker running");
        *backoff = Backoff::new();
        self.lead(&client).await
    }

    /// Each step is a transaction of its own, as the snapshot rule of the engine wants.
    async fn lead(&self, client: &Client) -> Result<std::convert::Infallible> {
        let options = &self.0.options;
        let mut pause = options.tick_interval;
        let (mut retry_at, mut maint_at) = (Instant::now(), Instant::now());
        loop {
            let mut busy = tick(client).await? > 0;
            let now = Instant::now();
            if now >= retry_at {
                // Call until none is left, for an engine may move them in small lots.
                while client.maint_retry_events().await? > 0 {
                    busy = true;
                }
                retry_at = now + options.retry_interval;
            }
            if now >= maint_at {
                client.maint().await?;
                client.maint_rotate_tables_step2().await?;
                maint_at = now + options.maint_interval;
            }
            pause = match busy {
                true => options.tick_interval,
                false => (pause * 2).min(options.tick_interval_max),
            };
            tokio::time::sleep(pause).await;
        }
    }
}

/// New events first, then whatever the queues' own settings ask for.
async fn tick(client: &Client) -> Result<i64> {
    let pending = client.ticker_pending().await?.unwrap_or(0);
    Ok(pending + client.ticker_all().await?)
}
