//! What a producer can be told.

use std::time::Duration;

use crate::error::{Error, Kind, Result};

/// The server builds an array of the payloads, which PostgreSQL limits to 1 GB.
const BATCH_BYTES_LIMIT: usize = 256 << 20;
/// Beyond this a batch gains nothing and only makes its callers wait.
const BATCH_SIZE_LIMIT: usize = 100_000;
const QUEUE_SIZE_LIMIT: usize = 10_000_000;
const QUEUE_BYTES_LIMIT: usize = 1 << 30;
const SECONDS_LIMIT: f64 = 24.0 * 3600.0;

/// The options of a producer.
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// How long to wait for company once there is something to send. Default 0: what queues up while the last batch
    /// is on its way is company enough.
    pub linger: Duration,
    /// Most events in a batch. Default 1000. A full one leaves while the one before it is still on its way, unless a
    /// pooler stands between us and the server.
    pub batch_size_max: usize,
    /// Most bytes of events in a batch, unless a single one is larger. Default 4 MiB.
    pub batch_bytes_max: usize,
    /// Most events that wait for the next batch; beyond it `send` waits. Default 10,000.
    pub queue_size_max: usize,
    /// Most bytes of events that are not stored yet; beyond it `send` waits. Default 64 MiB.
    pub queue_bytes_max: usize,
    /// How long an event may wait to be sent, also while the server is away. Default 60 s.
    pub send_timeout: Duration,
}

impl Default for ProducerOptions {
    fn default() -> ProducerOptions {
        ProducerOptions {
            linger: Duration::ZERO,
            batch_size_max: 1000,
            batch_bytes_max: 4 << 20,
            queue_size_max: 10_000,
            queue_bytes_max: 64 << 20,
            send_timeout: Duration::from_secs(60),
        }
    }
}

impl ProducerOptions {
    /// Sets an option by its name, with times in seconds. Fails with `configuration` and lists the names.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "linger" => self.linger = seconds(name, value, 0.0)?,
            "batch_size_max" => self.batch_size_max = count(name, value, BATCH_SIZE_LIMIT)?,
            "batch_bytes_max" => self.batch_bytes_max = count(name, value, BATCH_BYTES_LIMIT)?,
            "queue_size_max" => self.queue_size_max = count(name, value, QUEUE_SIZE_LIMIT)?,
            "queue_bytes_max" => self.queue_bytes_max = count(name, value, QUEUE_BYTES_LIMIT)?,
            "send_timeout" => self.send_timeout = seconds(name, value, 0.001)?,
            _ => {
                return Err(configuration(format!(
                    "unknown producer option '{name}'; there are linger, batch_size_max, batch_bytes_max, \
                     queue_size_max, queue_bytes_max and send_timeout"
                )));
            }
        }
        Ok(())
    }

    /// The fields may have been set without [`ProducerOptions::set`].
    pub(super) fn check(&self) -> Result<()> {
        let text = |seconds: Duration| seconds.as_secs_f64().to_string();
        let mut checked = self.clone();
        checked.set("linger", &text(self.linger))?;
        checked.set("send_timeout", &text(self.send_timeout))?;
        checked.set("batch_size_max", &self.batch_size_max.to_string())?;
        checked.set("batch_bytes_max", &self.batch_bytes_max.to_string())?;
        checked.set("queue_size_max", &self.queue_size_max.to_string())?;
        checked.set("queue_bytes_max", &self.queue_bytes_max.to_string())
    }
}

fn count(name: &str, value: &str, limit: usize) -> Result<usize> {
    let number = value.parse().ok().filter(|n| (1..=limit).contains(n));
    number.ok_or_else(|| configuration(format!("{name} must be a whole number from 1 to {limit}, got '{value}'")))
}

fn seconds(name: &str, value: &str, least: f64) -> Result<Duration> {
    let number: Option<f64> = value.parse().ok().filter(|n| (least..=SECONDS_LIMIT).contains(n));
    number.map(Duration::from_secs_f64).ok_or_else(|| {
        configuration(format!("{name} must be a number of seconds from {least} to {SECONDS_LIMIT}, got '{value}'"))
    })
}

fn configuration(message: impl Into<String>) -> Error {
    Error::new(Kind::Configuration, "producer", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_set_by_name_and_bounded() {
        let mut options = ProducerOptions::default();
        options.set("linger", "0.005").unwrap();
        options.set("batch_size_max", "50").unwrap();
        assert_eq!((options.linger, options.batch_size_max), (Duration::from_millis(5), 50));
        for (name, value) in
            [("linger", "-1"), ("linger", "NaN"), ("send_timeout", "0"), ("queue_size_max", "0"), ("linger", "1e9")]
        {
            assert!(options.set(name, value).unwrap_err().message().contains(name), "{name}={value}");
        }
        assert!(options.set("lingr", "1").unwrap_err().message().contains("linger"));
    }

    #[test]
    fn fields_are_checked_like_names() {
        assert!(ProducerOptions::default().check().is_ok());
        let options = ProducerOptions { batch_size_max: 0, ..ProducerOptions::default() };
        assert_eq!(options.check().unwrap_err().kind(), Kind::Configuration);
    }
}
