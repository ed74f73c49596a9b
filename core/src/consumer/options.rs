//! What a consumer can be told.

use std::time::Duration;

use super::member;
use crate::client::{Interval, RETRY_AFTER_DEFAULT};
use crate::connect::Settings;
use crate::error::{Error, Kind, Result};
use crate::executor::check_nul;

/// A bound that clocks can count to.
const SECONDS_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// What one call of the engine hands out of a large batch at most.
const PAGE_SIZE_MAX: i64 = 10_000;
/// More handlers at once would each need a thread in some languages.
const CONCURRENCY_MAX: usize = 1000;
/// The name that stands for one of the core's own making.
const AUTO: &str = "auto";

/// What becomes of a message whose type has no handler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownHandlerPolicy {
    /// Retry it, and dead-letter it in the end: nothing is lost unseen.
    #[default]
    Nack,
    /// Take it for done.
    Ack,
}

/// How the delay of a message that fails again and again grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryBackoff {
    /// Always `retry_after`.
    #[default]
    Fixed,
    /// Doubles with each attempt, up to `retry_after_max`, less a random part of up to a half.
    Exponential,
}

/// What is done on stop with the messages of the batch in hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StopPolicy {
    /// They are handled.
    #[default]
    Drain,
    /// Those that are being handled are finished; the others go back to the queue and are delivered again.
    Handback,
}

/// Whose messages keep their order while several handlers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderedBy {
    /// Those of one event type.
    Type,
    /// Those with the same value of `extra1` (0) to `extra4` (3).
    Extra(usize),
}

/// The options of a consumer.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    pub queue: String,
    /// The consumer's name; it must be subscribed, unless it is cooperative.
    pub name: String,
    /// How long to wait for a notification before looking anyway. Default 30 s.
    pub poll_interval: Duration,
    /// The largest batch to accept; a larger one is an `overflow` error. Default 2147483647, which is no limit:
    /// a large batch is then read in pages of `page_size`, where the engine has them.
    pub max_messages: i64,
    /// How many messages of a large batch are read at once, 1 to 10000, and fewer if they are large: about four
    /// megabytes. Three such pages are read ahead of the handlers. Default 5000.
    pub page_size: i64,
    /// The delay of a failed message. Default 60 s.
    pub retry_after: Interval,
    /// Default fixed.
    pub retry_backoff: RetryBackoff,
    /// The longest delay of exponential back-off. Default one hour.
    pub retry_after_max: Duration,
    pub unknown_handler_policy: UnknownHandlerPolicy,
    /// The name of this worker among those that share the consumer. Default none: not cooperative.
    ///
    /// `auto` makes one up of host, process and a counter, and gives it up again on stop. One that was killed is
    /// unregistered by a later one: without a batch, and silent for ten dead intervals and ten minutes, or for a day.
    pub subconsumer: Option<String>,
    /// Take over the batch of a worker that was silent for so long. Default never.
    pub dead_interval: Option<Interval>,
    /// How many handlers run at once, 1 to 1000. Default 1.
    pub concurrency: usize,
    /// Keep the order of messages of one key, while `concurrency` handlers run. Default none.
    pub ordered_by: Option<OrderedBy>,
    /// Default drain.
    pub stop_policy: StopPolicy,
    /// How long `stop` waits for the batch in hand; what is not done by then goes back. Default without limit.
    pub stop_timeout: Option<Duration>,
    /// Receive, handlers and acknowledgement are one transaction, and the handlers are given its client. Default off.
    pub transactional: bool,
    /// Run a ticker beside the consumer, which needs the role `pgque_admin`. Default off.
    pub ticker: bool,
    /// Where to hear of news, and to hold the consumer's turn, where a pooler stands between: a direct connection.
    /// Default the same as for everything else. Behind a pooler the consumer then only looks every `poll_interval`; of
    /// two of its name one works at a time all the same, kept apart by leases of the engine's, which one that was killed
    /// holds for 15 seconds more, unless `max_messages` is set, or the engine is PgQue 0.2: then both get each batch.
    pub listen_dsn: Option<String>,
}

impl ConsumerOptions {
    pub fn new(queue: impl Into<String>, name: impl Into<String>) -> ConsumerOptions {
        ConsumerOptions {
            queue: queue.into(),
            name: name.into(),
            poll_interval: Duration::from_secs(30),
            max_messages: i64::from(i32::MAX),
            page_size: 5000,
            retry_after: RETRY_AFTER_DEFAULT.into(),
            retry_backoff: RetryBackoff::default(),
            retry_after_max: Duration::from_secs(3600),
            unknown_handler_policy: UnknownHandlerPolicy::default(),
            subconsumer: None,
            dead_interval: None,
            concurrency: 1,
            ordered_by: None,
            stop_policy: StopPolicy::default(),
            stop_timeout: None,
            transactional: false,
            ticker: false,
            listen_dsn: None,
        }
    }

    /// Sets an option by its name, with times in seconds. Fails with `configuration` and lists the names.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let bad = |what: &str| configuration(format!("{name} must be {what}, got '{value}'"));
        let number = || value.parse().map_err(|_| bad("a whole number"));
        let duration = || seconds(value).ok_or_else(|| bad("a number of seconds"));
        let flag = || value.parse().map_err(|_| bad("true or false"));
        match name {
            "poll_interval" => self.poll_interval = duration()?,
            "max_messages" => self.max_messages = number()?,
            "page_size" => self.page_size = number()?,
            "retry_after" => self.retry_after = interval(value),
            "retry_backoff" => {
                let known = [("fixed", RetryBackoff::Fixed), ("exponential", RetryBackoff::Exponential)];
                self.retry_backoff = choice(&known, value).map_err(|names| bad(&names))?;
            }
            "retry_after_max" => self.retry_after_max = duration()?,
            "unknown_handler_policy" => {
                let known = [("nack", UnknownHandlerPolicy::Nack), ("ack", UnknownHandlerPolicy::Ack)];
                self.unknown_handler_policy = choice(&known, value).map_err(|names| bad(&names))?;
            }
            "subconsumer" => self.subconsumer = Some(value.to_owned()),
            "dead_interval" => self.dead_interval = Some(interval(value)),
            "concurrency" => self.concurrency = usize::try_from(number()?).map_err(|_| bad("at least 1"))?,
            "ordered_by" => {
                let extra = ["extra1", "extra2", "extra3", "extra4"];
                let extras = (0..).zip(extra).map(|(i, name)| (name, OrderedBy::Extra(i)));
                let known: Vec<_> = [("type", OrderedBy::Type)].into_iter().chain(extras).collect();
                self.ordered_by = Some(choice(&known, value).map_err(|names| bad(&names))?);
            }
            "stop_policy" => {
                let known = [("drain", StopPolicy::Drain), ("handback", StopPolicy::Handback)];
                self.stop_policy = choice(&known, value).map_err(|names| bad(&names))?;
            }
            "stop_timeout" => self.stop_timeout = Some(duration()?),
            "transactional" => self.transactional = flag()?,
            "ticker" => self.ticker = flag()?,
            "listen_dsn" => self.listen_dsn = Some(value.to_owned()),
            _ => {
                return Err(configuration(format!(
                    "unknown consumer option '{name}'; there are poll_interval, max_messages, page_size, \
                     retry_after, retry_backoff, retry_after_max, unknown_handler_policy, subconsumer, \
                     dead_interval, concurrency, ordered_by, stop_policy, stop_timeout, transactional, ticker and \
                     listen_dsn"
                )));
            }
        }
        Ok(())
    }

    pub(crate) fn check(&self) -> Result<()> {
        if let Some(dsn) = &self.listen_dsn {
            Settings::parse(dsn)?;
        }
        if self.dead_interval.is_some() && self.subconsumer.is_none() {
            let message = "dead_interval is only valid in cooperative mode (set subconsumer=...)";
            return Err(configuration(message));
        }
        for (name, value) in
            [("queue", Some(&self.queue)), ("name", Some(&self.name)), ("subconsumer", self.subconsumer.as_ref())]
        {
            check_nul("consumer", name, value.map_or("", String::as_str)).map_err(as_configuration)?;
        }
        self.retry_after.to_sql("consumer", "retry_after").map_err(as_configuration)?;
        if let Some(dead_interval) = &self.dead_interval {
            dead_interval.to_sql("consumer", "dead_interval").map_err(as_configuration)?;
        }
        self.check_ranges()?;
        self.check_combinations()
    }

    fn check_ranges(&self) -> Result<()> {
        let times = [
            ("poll_interval", self.poll_interval),
            ("retry_after_max", self.retry_after_max),
            ("stop_timeout", self.stop_timeout.unwrap_or_default()),
        ];
        if let Some((name, _)) = times.iter().find(|(_, time)| *time > SECONDS_MAX) {
            return Err(configuration(format!("{name} must be at most 31536000 seconds (one year)")));
        }
        let concurrency = i64::try_from(self.concurrency).unwrap_or(i64::MAX);
        let numbers = [
            ("max_messages", self.max_messages, i64::from(i32::MAX)),
            ("page_size", self.page_size, PAGE_SIZE_MAX),
            ("concurrency", concurrency, CONCURRENCY_MAX as i64),
        ];
        for (name, number, max) in numbers {
            if !(1..=max).contains(&number) {
                return Err(configuration(format!("{name} must be between 1 and {max}, got {number}")));
            }
        }
        Ok(())
    }

    fn check_combinations(&self) -> Result<()> {
        if self.transactional && self.concurrency > 1 {
            let message = "transactional mode has one connection and thus one handler at a time; set concurrency to 1";
            return Err(configuration(message));
        }
        if self.retry_backoff == RetryBackoff::Exponential && self.retry_after.seconds().is_none() {
            let message = "exponential retry_backoff needs retry_after as a number of seconds, or as text of one unit";
            return Err(configuration(message));
        }
        Ok(())
    }

    /// The name in place of `auto`; whether it was made up.
    pub(super) fn name_member(&mut self) -> bool {
        let auto = self.subconsumer.as_deref() == Some(AUTO);
        if auto {
            self.subconsumer = Some(member::auto_name());
        }
        auto
    }
}

fn seconds(value: &str) -> Option<Duration> {
    value.parse().ok().map(Duration::try_from_secs_f64)?.ok()
}

/// A number is seconds, anything else PostgreSQL interval text.
fn interval(value: &str) -> Interval {
    value.parse().map_or_else(|_| Interval::Text(value.to_owned()), Interval::Seconds)
}

/// The value of a name, or else the names that there are.
fn choice<T: Copy>(known: &[(&str, T)], value: &str) -> std::result::Result<T, String> {
    let names = || known.iter().map(|(name, _)| format!("'{name}'")).collect::<Vec<_>>().join(" or ");
    known.iter().find(|(name, _)| *name == value).map(|(_, choice)| *choice).ok_or_else(names)
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
        options.set("ordered_by", "extra3").unwrap();
        options.set("transactional", "true").unwrap();
        assert_eq!(options.poll_interval, Duration::from_millis(500));
        assert_eq!(options.dead_interval, Some(Interval::Text("5 minutes".into())));
        assert_eq!(options.ordered_by, Some(OrderedBy::Extra(2)));
        assert!(options.transactional);
        assert!(options.set("poll_interval", "-1").is_err());
        assert!(options.set("ordered_by", "extra5").unwrap_err().message().contains("'extra4'"));
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
        assert!(refused("concurrency", "0"));
        assert!(refused("page_size", "10001"));
        assert!(refused("stop_timeout", "1e9"));
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        let refused = |pairs: &[(&str, &str)]| {
            let mut options = ConsumerOptions::new("q", "c");
            pairs.iter().for_each(|(name, value)| options.set(name, value).unwrap());
            options.check().unwrap_err().kind() == Kind::Configuration
        };
        assert!(refused(&[("dead_interval", "1")]));
        assert!(refused(&[("transactional", "true"), ("concurrency", "2")]));
        assert!(refused(&[("retry_backoff", "exponential"), ("retry_after", "1 month 2 days")]));
    }
}
