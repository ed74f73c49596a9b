//! What a ticker can be told.

use std::time::Duration;

use crate::error::{Error, Kind, Result};

/// How often the runner does what.
#[derive(Clone, Debug)]
pub struct TickerOptions {
    /// Between ticks while events flow. Default 10 ms.
    pub tick_interval: Duration,
    /// Between ticks when nothing is new; reached by doubling. Default 1 s, at most 5 s. The first new event ends the
    /// pause; where the engine cannot have its producers ring for that, the pause is at most 250 ms.
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
            tick_interval_max: Duration::from_secs(1),
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
