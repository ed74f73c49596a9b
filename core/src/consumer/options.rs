//! What a consumer can be told.

use std::time::Duration;

use crate::client::{Interval, RETRY_AFTER_DEFAULT};
use crate::error::{Error, Kind, Result};
use crate::executor::check_nul;

/// A bound that clocks can count to.
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// What becomes of a message whose type has no handler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownHandlerPolicy {
    /// Retry it, and dead-letter it in the end: nothing is lost unseen.
    #[default]
    Nack,
    /// Take it for done.
    Ack,
}

/// The options of a consumer.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    pub queue: String,
    /// The consumer's name; it must be subscribed, unless it is cooperative.
    pub name: String,
    /// How long to wait for a notification before looking anyway. Default 30 s.
    pub poll_interval: Duration,
    /// The largest batch to accept; a larger one is an `overflow` error. Default 2147483647.
    pub max_messages: i64,
    /// The delay of a failed message. Default 60 s.
    pub retry_after: Interval,
    pub unknown_handler_policy: UnknownHandlerPolicy,
    /// The name of this worker among those that share the consumer. Default none: not cooperative.
    pub subconsumer: Option<String>,
    /// Take over the batch of a worker that was silent for so long. Default never.
    pub dead_interval: Option<Interval>,
}

impl ConsumerOptions {
    pub fn new(queue: impl Into<String>, name: impl Into<String>) -> ConsumerOptions {
        ConsumerOptions {
            queue: queue.into(),
            name: name.into(),
            poll_interval: Duration::from_secs(30),
            max_messages: i64::from(i32::MAX),
            retry_after: RETRY_AFTER_DEFAULT.into(),
            unknown_handler_policy: UnknownHandlerPolicy::default(),
            subconsumer: None,
            dead_interval: None,
        }
    }

    /// Sets an option by its name, with times in seconds. Fails with `configuration` and lists the names.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let bad = |what: &str| configuration(format!("{name} must be {what}, got '{value}'"));
        match name {
            "poll_interval" => {
                let seconds = value.parse().ok().map(Duration::try_from_secs_f64);
                self.poll_interval = seconds.and_then(Result::ok).ok_or_else(|| bad("a number of seconds"))?;
            }
            "max_messages" => self.max_messages = value.parse().map_err(|_| bad("a whole number"))?,
            "retry_after" => self.retry_after = interval(value),
            "unknown_handler_policy" => {
                self.unknown_handler_policy = match value {
                    "nack" => UnknownHandlerPolicy::Nack,
                    "ack" => UnknownHandlerPolicy::Ack,
                    _ => return Err(bad("'nack' or 'ack'")),
                }
            }
            "subconsumer" => self.subconsumer = Some(value.to_owned()),
            "dead_interval" => self.dead_interval = Some(interval(value)),
            _ => {
                return Err(configuration(format!(
                    "unknown consumer option '{name}'; there are poll_interval, max_messages, retry_after, \
                     unknown_handler_policy, subconsumer and dead_interval"
                )));
            }
        }
        Ok(())
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.dead_interval.is_some() && self.subconsumer.is_none() {
            let message = "dead_interval is only valid in cooperative mode (set subconsumer=...)";
            return Err(configuration(message));
        }
        for (name, value) in
            [("queue", Some(&self.queue)), ("name", Some(&self.name)), ("subconsumer", self.subconsumer.as_ref())]
        {
            check_nul("consumer", name, value.map_or("", String::as_str)).map_err(as_configuration)?;
        }
        if self.poll_interval > POLL_INTERVAL_MAX {
            return Err(configuration("poll_interval must be at most 31536000 seconds (one year)"));
        }
        if !(1..=i64::from(i32::MAX)).contains(&self.max_messages) {
            let message = format!("max_messages must be between 1 and 2147483647, got {}", self.max_messages);
            return Err(configuration(message));
        }
        self.retry_after.to_sql("consumer", "retry_after").map_err(as_configuration)?;
        if let Some(dead_interval) = &self.dead_interval {
            dead_interval.to_sql("consumer", "dead_interval").map_err(as_configuration)?;
        }
        Ok(())
    }
}

/// A number is seconds, anything else PostgreSQL interval text.
fn interval(value: &str) -> Interval {
    value.parse().map_or_else(|_| Interval::Text(value.to_owned()), Interval::Seconds)
}

fn as_configuration(error: Error) -> Error {
    configuration(error.message())
}

fn configuration(message: impl Into<String>) -> Error {
    Error::new(Kind::Configuration, "consumer", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_set_by_name() {
        let mut options = ConsumerOptions::new("q", "c");
        options.set("poll_interval", "0.5").unwrap();
        options.set("dead_interval", "5 minutes").unwrap();
        assert_eq!(options.poll_interval, Duration::from_millis(500));
        assert_eq!(options.dead_interval, Some(Interval::Text("5 minutes".into())));
        assert!(options.set("poll_interval", "-1").is_err());
        assert!(options.set("pol_interval", "1").unwrap_err().message().contains("poll_interval"));
    }

    #[test]
    fn what_can_never_work_is_refused_at_once() {
        let refused = |name: &str, value: &str| {
            let mut options = ConsumerOptions::new("q", "c");
            options.set("subconsumer", "m").unwrap();
            options.set(name, value).unwrap();
            options.check().unwrap_err().message().contains(name)
        };
        assert!(refused("dead_interval", "-1"));
        assert!(refused("dead_interval", "NaN"));
        assert!(refused("retry_after", "-1"));
        assert!(refused("subconsumer", "a\0"));
    }

    #[test]
    fn a_dead_interval_needs_a_subconsumer() {
        let mut options = ConsumerOptions::new("q", "c");
        options.dead_interval = Some(Interval::Seconds(1.0));
        assert_eq!(options.check().unwrap_err().kind(), Kind::Configuration);
    }
}
