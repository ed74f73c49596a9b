//! `pgque_options`, lengths of time, and the constants of the calls.

use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::LazyLock;

use pgque::Result;

use crate::error::pgque_error;
use crate::ffi::{c_string, door};

/// The usual `max_messages` of `pgque_client_receive` and `pgque_client_receive_coop`.
pub const PGQUE_MAX_MESSAGES_DEFAULT: i64 = 100;
/// The usual delay of a retry, in seconds.
pub const PGQUE_RETRY_AFTER_DEFAULT: f64 = 60.0;
/// The usual `batch_handling` of `pgque_client_unsubscribe_subconsumer`.
pub const PGQUE_BATCH_HANDLING_DEFAULT: i64 = 0;
/// The usual `limit` of `pgque_client_dlq_inspect`.
pub const PGQUE_DLQ_LIMIT_DEFAULT: i64 = 100;
/// The generator of the header wants literals; this keeps them equal to core's.
const _: () = {
    assert!(PGQUE_MAX_MESSAGES_DEFAULT == pgque::MAX_MESSAGES_DEFAULT);
    assert!(PGQUE_RETRY_AFTER_DEFAULT == pgque::RETRY_AFTER_DEFAULT.as_secs() as f64);
    assert!(pgque::RETRY_AFTER_DEFAULT.subsec_nanos() == 0);
    assert!(PGQUE_BATCH_HANDLING_DEFAULT == pgque::BATCH_HANDLING_DEFAULT);
    assert!(PGQUE_DLQ_LIMIT_DEFAULT == pgque::DLQ_LIMIT_DEFAULT);
};

pub const PGQUE_INTERVAL_NONE: i32 = 0;
pub const PGQUE_INTERVAL_SECONDS: i32 = 1;
pub const PGQUE_INTERVAL_TEXT: i32 = 2;

/// A length of time. Made by the three functions below.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pgque_interval {
    pub kind: i32,
    pub seconds: f64,
    pub text: *const c_char,
}

/// No length of time, where one is optional. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_interval_none() -> pgque_interval {
    pgque_interval { kind: PGQUE_INTERVAL_NONE, seconds: 0.0, text: ptr::null() }
}

/// A number of seconds. The call that gets it refuses what is negative or not a number. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_interval_seconds(seconds: f64) -> pgque_interval {
    pgque_interval { kind: PGQUE_INTERVAL_SECONDS, seconds, text: ptr::null() }
}

/// PostgreSQL interval text, for instance `5 minutes`. Points to the caller's text, which must live until the
/// call that gets the interval has returned. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_interval_text(text: *const c_char) -> pgque_interval {
    pgque_interval { kind: PGQUE_INTERVAL_TEXT, seconds: 0.0, text }
}

/// The usual age in `pgque_client_dlq_purge`. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_dlq_older_than_default() -> pgque_interval {
    static TEXT: LazyLock<CString> = LazyLock::new(|| c_string(pgque::DLQ_OLDER_THAN_DEFAULT));
    pgque_interval_text(TEXT.as_ptr())
}

/// Options by name, for `pgque_consumer_new`, `pgque_producer_new` and `pgque_ticker_new`. One thread at a time.
#[derive(Default)]
pub struct pgque_options(Vec<(String, String)>);

impl pgque_options {
    /// Hands every option to the setter of what is being made.
    pub fn apply(options: Option<&pgque_options>, mut set: impl FnMut(&str, &str) -> Result<()>) -> Result<()> {
        let options = options.map_or(&[][..], |options| &options.0);
        options.iter().try_for_each(|(name, value)| set(name, value))
    }
}

/// An empty set of options, to be freed by `pgque_options_free`. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_options_new() -> Box<pgque_options> {
    Box::default()
}

/// Sets an option, with times in seconds; a later value of the same name replaces an earlier one. Whether the name
/// exists and the value fits is told by the function that is given the options. Never blocks.
///
/// Of a consumer:
/// - `poll_interval`: how long to wait for a notification before looking anyway; 30.
/// - `max_messages`: the largest batch to accept, a larger one is `overflow`; 2147483647, which is no limit.
/// - `page_size`: how many messages of a large batch are read at once, 1 to 10000, three pages ahead; 5000.
/// - `retry_after`: the delay of a failed message, seconds or interval text; 60.
/// - `retry_backoff`: `fixed`, or `exponential`, by which the delay doubles with each attempt, less jitter; `fixed`.
/// - `retry_after_max`: the longest delay of exponential back-off; 3600.
/// - `unknown_handler_policy`: `nack` or `ack` what has no handler; `nack`.
/// - `subconsumer`: the name of this worker among those that share the consumer, `auto` makes one up; none.
/// - `dead_interval`: take over the batch of a worker that was silent for so long, seconds or interval text; never.
/// - `concurrency`: how many handlers run at once, 1 to 1000; 1.
/// - `ordered_by`: `type`, or `extra1` to `extra4`, by which messages keep their order among several handlers; none.
/// - `stop_policy`: what a stop does with the batch in hand: `drain` it, or `handback` what no handler has yet; `drain`.
/// - `stop_timeout`: how long a stop waits for the batch in hand; what is not done by then goes back; no limit.
/// - `transactional`: `true` has receive, handlers and acknowledgement be one transaction; `false`.
/// - `ticker`: `true` runs a ticker beside the consumer, which needs the role `pgque_admin`; `false`.
/// - `listen_dsn`: a direct connection to hear of news and to hold the consumer's turn, where the other leads through a
///   pooler; none: behind a pooler the consumer then looks every `poll_interval`, and with `max_messages`, or on PgQue
///   0.2, two of its name both get each batch.
///
/// Of a producer:
/// - `linger`: how long to wait for company once there is something to send; 0, for what queues up while the last batch
///   is on its way is company enough.
/// - `batch_size_max`, `batch_bytes_max`: the most events, and bytes of events, in a batch; 1000 and 4194304.
/// - `queue_size_max`, `queue_bytes_max`: the most events that wait for the next batch, and bytes of events that are not
///   stored yet, beyond which a send waits; 10000 and 67108864.
/// - `send_timeout`: how long an event may wait to be sent, also while the server is away; 60.
///
/// Of a ticker: `tick_interval`, `tick_interval_max`, `retry_interval`, `maint_interval`, `standby_interval`.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_options_set(
    options: Option<&mut pgque_options>,
    name: *const c_char,
    value: *const c_char,
) -> Option<Box<pgque_error>> {
    door("options_set", |door| {
        let options = door.required(options, "options")?;
        options.0.push((door.text(name, "name")?.to_owned(), door.text(value, "value")?.to_owned()));
        Ok(())
    })
}

/// Frees options; what was made with them keeps its own copy. NULL is fine. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_options_free(options: Option<Box<pgque_options>>) {
    drop(options);
}
