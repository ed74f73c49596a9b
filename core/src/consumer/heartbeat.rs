//! Tells the other workers of a group that this one lives, while its handlers run.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::options::ConsumerOptions;
use crate::client::{Client, Interval};
use crate::connect::{Connection, Settings};
use crate::error::Kind;
use crate::runtime;

/// Without a `dead_interval` of our own, another worker's is unknown; ten seconds suits any sensible one.
const INTERVAL_MAX: Duration = Duration::from_secs(10);
const INTERVAL_MIN: Duration = Duration::from_millis(50);

/// A task on the runtime's own thread, so that a blocked interpreter does not silence it. Ends when dropped.
pub(super) struct Heartbeat(JoinHandle<()>);

impl Heartbeat {
    /// `None` for a consumer that is not cooperative.
    pub(super) fn start(client: Client, settings: &Settings, options: &ConsumerOptions) -> Option<Heartbeat> {
        let member = options.subconsumer.clone()?;
        let (queue, name) = (options.queue.clone(), options.name.clone());
        let interval = interval(options.dead_interval.as_ref());
        let settings = settings.clone().reconnect(true);
        let beat = async move {
            let mut client = client;
            loop {
                tokio::time::sleep(interval).await;
                let Err(error) = client.touch_subconsumer(&queue, &name, &member).await else { continue };
                log::warn!(target: "pgque", "consumer {name}: heart-beat of {member} failed: {error}");
                // The loop replaces its connection only after the handlers; until then this has one of its own.
                if error.kind() == Kind::Connection
                    && let Ok(connection) = Connection::open(settings.clone()).await
                {
                    client = Client::over(connection);
                    let _ = client.touch_subconsumer(&queue, &name, &member).await;
                }
            }
        };
        Some(Heartbeat(runtime::handle().ok()?.spawn(beat)))
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A third of the time after which the others give us up, so that two beats may be lost.
fn interval(dead_interval: Option<&Interval>) -> Duration {
    let third = |dead| dead_after(dead).unwrap_or_default() / 3;
    dead_interval.map_or(INTERVAL_MAX, third).clamp(INTERVAL_MIN, INTERVAL_MAX)
}

/// The length of a dead interval; `None` where it is not known here.
pub(super) fn dead_after(dead_interval: &Interval) -> Option<Duration> {
    let seconds = match dead_interval {
        Interval::Seconds(seconds) => *seconds,
        Interval::Text(text) => text_seconds(text)?,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

/// Reads the common forms of interval text; where it cannot, the shortest interval is safe.
fn text_seconds(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    let number: f64 = words.next()?.parse().ok()?;
    let unit = match words.next()?.trim_end_matches('s') {
        "m" | "msec" | "millisecond" => 0.001,
        "sec" | "second" => 1.0,
        "min" | "minute" => 60.0,
        "hour" => 3600.0,
        "day" => 86400.0,
        _ => return None,
    };
    words.next().is_none().then_some(number * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_three_times_within_the_dead_interval() {
        let of = |text: &str| interval(Some(&Interval::Text(text.into())));
        assert_eq!(of("3 seconds"), Duration::from_secs(1));
        assert_eq!(of("600 ms"), Duration::from_millis(200));
        assert_eq!(of("2 hours"), INTERVAL_MAX);
        assert_eq!(of("00:00:03"), INTERVAL_MIN);
        assert_eq!(interval(None), INTERVAL_MAX);
    }
}
