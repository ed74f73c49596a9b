//! How consumers, tickers and producers fare.

use napi::bindgen_prelude::{BigInt, Either, Null};
use napi_derive::napi;

/// The counters of a consumer.
#[napi(object, object_from_js = false)]
pub struct Stats {
    pub batches: f64,
    pub received: f64,
    pub handled: f64,
    pub failed: f64,
    pub retried: f64,
    pub dead: f64,
    pub handed_back: f64,
    pub reconnects: f64,
    pub batch_size: f64,
    pub handler_seconds: f64,
    pub lag_events: f64,
    pub lag_seconds: f64,
}

impl From<pgque::Stats> for Stats {
    fn from(stats: pgque::Stats) -> Stats {
        Stats {
            batches: stats.batches as f64,
            received: stats.received as f64,
            handled: stats.handled as f64,
            failed: stats.failed as f64,
            retried: stats.retried as f64,
            dead: stats.dead as f64,
            handed_back: stats.handed_back as f64,
            reconnects: stats.reconnects as f64,
            batch_size: stats.batch_size as f64,
            handler_seconds: stats.handler_seconds,
            lag_events: stats.lag_events as f64,
            lag_seconds: stats.lag_seconds,
        }
    }
}

/// The state of a consumer; times in microseconds since 1970.
#[napi(object, object_from_js = false)]
pub struct Health {
    pub status: String,
    pub alive: bool,
    pub since: BigInt,
    #[napi(ts_type = "string | null")]
    pub last_error: Either<String, Null>,
    #[napi(ts_type = "bigint | null")]
    pub last_error_at: Either<BigInt, Null>,
}

impl From<pgque::Health> for Health {
    fn from(health: pgque::Health) -> Health {
        Health {
            status: health.status.name().to_owned(),
            alive: health.is_alive(),
            since: micros(health.since),
            last_error: maybe(health.last_error),
            last_error_at: health.last_error_at.map_or(Either::B(Null), |at| Either::A(micros(at))),
        }
    }
}

/// Where a ticker stands, and what it has done; `since` in microseconds since 1970.
#[napi(object, object_from_js = false)]
pub struct TickerStats {
    pub state: String,
    pub since: BigInt,
    pub ticks: f64,
    pub retries: f64,
    pub rotations: f64,
    pub reconnects: f64,
    pub failures: f64,
    #[napi(ts_type = "string | null")]
    pub last_error: Either<String, Null>,
}

impl From<pgque::TickerStats> for TickerStats {
    fn from(stats: pgque::TickerStats) -> TickerStats {
        TickerStats {
            state: stats.state.name().to_owned(),
            since: micros(stats.since),
            ticks: stats.ticks as f64,
            retries: stats.retries as f64,
            rotations: stats.rotations as f64,
            reconnects: stats.reconnects as f64,
            failures: stats.failures as f64,
            last_error: maybe(stats.last_error),
        }
    }
}

/// The counters of a producer.
#[napi(object, object_from_js = false)]
pub struct ProducerStats {
    pub sent: f64,
    pub failed: f64,
    pub uncertain: f64,
    pub batches: f64,
    pub batch_size: f64,
    pub queue_length: f64,
    pub reconnects: f64,
    #[napi(ts_type = "string | null")]
    pub last_error: Either<String, Null>,
}

impl From<pgque::ProducerStats> for ProducerStats {
    fn from(stats: pgque::ProducerStats) -> ProducerStats {
        ProducerStats {
            sent: stats.sent as f64,
            failed: stats.failed as f64,
            uncertain: stats.uncertain as f64,
            batches: stats.batches as f64,
            batch_size: stats.batch_size as f64,
            queue_length: stats.queue_length as f64,
            reconnects: stats.reconnects as f64,
            last_error: maybe(stats.last_error),
        }
    }
}

fn micros(at: pgque::Timestamp) -> BigInt {
    BigInt::from(at.as_unix_micros())
}

fn maybe(text: Option<String>) -> Either<String, Null> {
    text.map_or(Either::B(Null), Either::A)
}
