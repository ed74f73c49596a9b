//! Decisions without a clock or I/O: how long to back off, which errors end a loop.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::client::Interval;
use crate::consumer::{ConsumerOptions, RetryBackoff};
use crate::error::{Error, Kind};

const RECONNECT_DELAY_MIN: Duration = Duration::from_millis(100);
/// Without the jitter, which adds as much again at most: a server that has returned is found within four seconds.
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(2);

/// The delays between attempts of a loop that must go on: they double, with jitter, up to four seconds.
pub(crate) struct Backoff(ExponentialBackoff);

impl Backoff {
    pub(crate) fn new() -> Backoff {
        let builder = ExponentialBuilder::new()
            .with_min_delay(RECONNECT_DELAY_MIN)
            .with_max_delay(RECONNECT_DELAY_MAX)
            .with_jitter()
            .without_max_times();
        Backoff(builder.build())
    }

    pub(crate) fn next_delay(&mut self) -> Duration {
        self.0.next().unwrap_or(RECONNECT_DELAY_MAX)
    }
}

/// Whether a loop must end: time alone will not mend the cause.
pub(crate) fn ends_loop(error: &Error) -> bool {
    match error.kind() {
        Kind::Connection | Kind::Server | Kind::Conflict => !error.is_retriable(),
        Kind::Timeout | Kind::BatchNotFound => false,
        _ => true,
    }
}

/// The delay before the attempt after this one, which is counted from 1. `random` is from 0 to 1.
///
/// Jitter takes away up to a half, so that messages that failed together do not come again together.
pub(crate) fn retry_delay(options: &ConsumerOptions, attempt: i64, random: f64) -> Interval {
    match (options.retry_backoff, options.retry_after.seconds()) {
        (RetryBackoff::Exponential, Some(first)) => {
            let doublings = i32::try_from(attempt - 1).unwrap_or(i32::MAX).max(0);
            let grown = (first * 2f64.powi(doublings)).min(options.retry_after_max.as_secs_f64());
            Interval::Seconds(grown * (1.0 - random.clamp(0.0, 1.0) / 2.0))
        }
        _ => options.retry_after.clone(),
    }
}

/// The number of the handler for a type: its own, else the one for `*`. NULL has none of its own.
pub(crate) fn route(handlers: &[String], event_type: Option<&str>) -> Option<usize> {
    let find = |wanted: &str| handlers.iter().position(|h| h == wanted);
    event_type.and_then(find).or_else(|| find("*"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_cap_and_never_end() {
        let mut backoff = Backoff::new();
        let delays: Vec<Duration> = (0..50).map(|_| backoff.next_delay()).collect();
        assert!(delays[0] < Duration::from_secs(1));
        assert!(delays.iter().all(|d| *d <= Duration::from_secs(4)), "a server that is back is found soon");
        assert!(delays[49] >= RECONNECT_DELAY_MAX);
    }

    #[test]
    fn exponential_delays_double_up_to_the_cap_less_jitter() {
        let mut options = ConsumerOptions::new("q", "c");
        options.retry_after = Interval::Seconds(10.0);
        assert_eq!(retry_delay(&options, 9, 0.0), Interval::Seconds(10.0), "fixed by default");
        options.retry_backoff = RetryBackoff::Exponential;
        options.retry_after_max = Duration::from_secs(60);
        let delays = [1, 2, 3, 4, i64::MAX].map(|attempt| retry_delay(&options, attempt, 0.0));
        assert_eq!(delays, [10.0, 20.0, 40.0, 60.0, 60.0].map(Interval::Seconds));
        assert_eq!(retry_delay(&options, 2, 1.0), Interval::Seconds(10.0));
    }

    #[test]
    fn a_type_finds_its_handler_then_the_catch_all() {
        let handlers = ["a".to_owned(), "*".to_owned(), "b".to_owned()];
        assert_eq!(route(&handlers, Some("b")), Some(2));
        assert_eq!(route(&handlers, Some("c")), Some(1));
        assert_eq!(route(&handlers, None), Some(1));
        assert_eq!(route(&handlers[..1], None), None);
        assert_eq!(route(&handlers[..1], Some("c")), None);
    }

    #[test]
    fn only_what_time_can_mend_keeps_a_loop_alive() {
        assert!(!ends_loop(&Error::new(Kind::Connection, "receive", "lost")));
        assert!(ends_loop(&Error::new(Kind::Overflow, "receive", "")));
        assert!(ends_loop(&Error::new(Kind::ConsumerNotFound, "receive", "")));
    }
}
