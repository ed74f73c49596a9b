//! What a consumer has done, and how it fares.

use std::ffi::{CString, c_char};
use std::ptr;

use crate::consumer::pgque_consumer;
use crate::error::pgque_error;
use crate::ffi::{c_string, door, put, put_sized};

/// Counts since the consumer was made, and the newest readings of what goes up and down. Grows at its end only.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pgque_stats {
    pub batches: u64,
    pub received: u64,
    /// Messages that are done.
    pub handled: u64,
    /// Messages whose handler failed, whatever became of them.
    pub failed: u64,
    /// Messages that went to the retry queue.
    pub retried: u64,
    /// Messages that went to the dead letters at once.
    pub dead: u64,
    /// Messages that went back unhandled, or whose handlers were still running, at a stop.
    pub handed_back: u64,
    /// Connections made after the first.
    pub reconnects: u64,
    /// Messages in the newest batch or page.
    pub batch_size: u64,
    /// Time in handlers, summed over all of them.
    pub handler_seconds: f64,
    /// Events between the newest batch and the newest tick, looked at every ten seconds; 0 once there is nothing.
    pub lag_events: u64,
    /// Age of the newest message of the newest batch when it arrived; 0 once there is nothing.
    pub lag_seconds: f64,
}

/// Fills in the counters, all of one moment; `stats_size` is `sizeof(pgque_stats)`, by which the library knows the
/// header that the program was compiled with. Any thread, also while the consumer runs; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_stats(
    consumer: Option<&pgque_consumer>,
    stats: *mut pgque_stats,
    stats_size: usize,
) -> Option<Box<pgque_error>> {
    door("stats", |door| {
        let pgque::Stats {
            batches,
            received,
            handled,
            failed,
            retried,
            dead,
            handed_back,
            reconnects,
            batch_size,
            handler_seconds,
            lag_events,
            lag_seconds,
        } = door.consumer(consumer)?.stats();
        let counters = pgque_stats {
            batches,
            received,
            handled,
            failed,
            retried,
            dead,
            handed_back,
            reconnects,
            batch_size,
            handler_seconds,
            lag_events,
            lag_seconds,
        };
        door.required(ptr::NonNull::new(stats), "stats")?;
        put_sized(stats, stats_size, counters);
        Ok(())
    })
}

/// How a consumer or ticker fares. Any thread may read it; its texts end with NUL and live until `pgque_health_free`.
pub struct pgque_health {
    status: CString,
    alive: bool,
    since_us: i64,
    last_error: Option<CString>,
    last_error_at_us: Option<i64>,
}

impl From<pgque::Health> for pgque_health {
    fn from(health: pgque::Health) -> pgque_health {
        pgque_health {
            status: c_string(health.status.name()),
            alive: health.is_alive(),
            since_us: health.since.as_unix_micros(),
            last_error: health.last_error.as_deref().map(c_string),
            last_error_at_us: health.last_error_at.map(pgque::Timestamp::as_unix_micros),
        }
    }
}

impl From<pgque::TickerStats> for pgque_health {
    fn from(stats: pgque::TickerStats) -> pgque_health {
        pgque_health {
            status: c_string(stats.state.name()),
            alive: stats.state.is_alive(),
            since_us: stats.since.as_unix_micros(),
            last_error: stats.last_error.as_deref().map(c_string),
            last_error_at_us: None,
        }
    }
}

/// Tells how the consumer fares at this moment. The answer belongs to the caller, until `pgque_health_free`. Any
/// thread, also while the consumer runs; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_health(
    consumer: Option<&pgque_consumer>,
    health: *mut *mut pgque_health,
) -> Option<Box<pgque_error>> {
    door("health", |door| {
        let out = door.out(health, "health")?;
        out.put(door.consumer(consumer)?.health().into());
        Ok(())
    })
}

/// Of a consumer `stopped`, `connecting`, `retrying` (it waits after a failure), `standby` (another consumer of this
/// name is at work), `idle` (it waits for messages) or `handling`; of a ticker `stopped`, `connecting`, `standby`
/// (another ticker is at work) or `leading` (this one is); NULL for NULL. Lives as long as the health. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_health_status(health: Option<&pgque_health>) -> *const c_char {
    health.map_or(ptr::null(), |h| h.status.as_ptr())
}

/// Whether the loop works: it waits for messages or events, for its turn, or is at work. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_health_alive(health: Option<&pgque_health>) -> bool {
    health.is_some_and(|h| h.alive)
}

/// Since when the status holds, in microseconds since 1970; 0 for NULL. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_health_since_us(health: Option<&pgque_health>) -> i64 {
    health.map_or(0, |h| h.since_us)
}

/// The newest failure of the loop, or NULL if there was none; those of handlers are only counted. Lives as long as the
/// health. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_health_last_error(health: Option<&pgque_health>) -> *const c_char {
    health.and_then(|h| h.last_error.as_ref()).map_or(ptr::null(), |e| e.as_ptr())
}

/// When that was, in microseconds since 1970; false, and nothing written, if there was none, and for a ticker. Never
/// blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_health_last_error_at_us(health: Option<&pgque_health>, last_error_at_us: *mut i64) -> bool {
    let at = health.and_then(|h| h.last_error_at_us);
    at.inspect(|us| put(last_error_at_us, *us)).is_some()
}

/// Frees health. NULL is fine. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_health_free(health: Option<Box<pgque_health>>) {
    drop(health);
}
