//! `pgque_consumer` and its batches.

use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

use pgque::blocking::wait;
use pgque::{Batch, Consumer, ConsumerOptions, Error, Next, Result, Settings, Verdict};

use crate::error::pgque_error;
use crate::ffi::{Door, call_handler, door, put};
use crate::message::pgque_message;
use crate::options::{pgque_interval, pgque_options};
use crate::verdict::pgque_verdict;

/// What `pgque_consumer_next` came back with: a batch to handle and to finish.
pub const PGQUE_NEXT_BATCH: i32 = 1;
/// Nothing within the time limit.
pub const PGQUE_NEXT_IDLE: i32 = 2;
/// `pgque_consumer_stop` was called. The consumer may be used again.
pub const PGQUE_NEXT_STOPPED: i32 = 3;

/// The number of the handler of a message that has none; `unknown_handler_policy` decides on it.
pub const PGQUE_NO_HANDLER: i64 = -1;

/// Handles one message: `handler` is the number that `pgque_consumer_on` gave. It tells its verdict by one of the
/// `pgque_verdict` functions; without one the message counts as failed. Called on the thread inside
/// `pgque_consumer_run`, where it may make any call but those of this consumer other than stop. Message and verdict
/// die when it returns. It must not throw nor jump out.
pub type pgque_handler = Option<
    unsafe extern "C" fn(
        handler: i64,
        message: *const pgque_message,
        verdict: *mut pgque_verdict,
        user_data: *mut c_void,
    ),
>;

/// As `pgque_handler`, but not NULL.
pub type Handler = unsafe extern "C" fn(i64, *const pgque_message, *mut pgque_verdict, *mut c_void);

/// Receives batches and finishes them. One thread at a time, but for stop, which is for any thread.
pub struct pgque_consumer(Consumer);

/// A batch on its way through the handlers. Any thread.
pub struct pgque_batch {
    inner: Arc<Batch>,
    verdicts: Mutex<Vec<Option<Verdict>>>,
}

impl Door {
    fn consumer(self, consumer: Option<&pgque_consumer>) -> Result<&Consumer> {
        self.required(consumer, "consumer").map(|c| &c.0)
    }
}

/// Makes a consumer, which connects only when it is run. `name` must be subscribed, unless the option `subconsumer`
/// is set. `options` may be NULL for the defaults, and are copied. `configuration` if an option is wrong. The
/// consumer belongs to the caller, until `pgque_consumer_free`. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_new(
    dsn: *const c_char,
    queue: *const c_char,
    name: *const c_char,
    options: Option<&pgque_options>,
    consumer: *mut *mut pgque_consumer,
) -> Option<Box<pgque_error>> {
    door("consumer", |door| {
        let out = door.out(consumer, "consumer")?;
        let mut chosen = ConsumerOptions::new(door.text(queue, "queue")?, door.text(name, "name")?);
        pgque_options::apply(options, |name, value| chosen.set(name, value))?;
        out.put(pgque_consumer(Consumer::new(Settings::parse(door.text(dsn, "dsn")?)?, chosen)?));
        Ok(())
    })
}

/// Names a type to handle, `*` for all that have no handler of their own, and gives the number of its handler: 0 for
/// the first, and so on; the same type gets the same number again. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_on(
    consumer: Option<&pgque_consumer>,
    event_type: *const c_char,
    handler: *mut i64,
) -> Option<Box<pgque_error>> {
    door("on", |door| {
        let number = door.consumer(consumer)?.on(door.text(event_type, "event_type")?);
        put(handler, number as i64);
        Ok(())
    })
}

/// Waits for the next batch, up to so many seconds while there is none; INFINITY waits without limit. Writes one of
/// `PGQUE_NEXT_*`, and the batch, or NULL when there is none. The batch belongs to the caller, until
/// `pgque_batch_free`. Reconnects for as long as it takes; errors that time cannot mend are returned. One thread at
/// a time; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_next(
    consumer: Option<&pgque_consumer>,
    timeout_seconds: f64,
    next: *mut i32,
    batch: *mut *mut pgque_batch,
) -> Option<Box<pgque_error>> {
    door("next", |door| {
        let out = door.out(batch, "batch")?;
        let limit = pgque::runtime::time_limit(door.0, "timeout_seconds", timeout_seconds)?;
        let (number, handed_out) = match wait(door.consumer(consumer)?.next(limit))? {
            Next::Batch(batch) => (PGQUE_NEXT_BATCH, Some(pgque_batch::new(batch))),
            Next::Idle => (PGQUE_NEXT_IDLE, None),
            Next::Stopped => (PGQUE_NEXT_STOPPED, None),
        };
        put(next, number);
        out.put_maybe(handed_out);
        Ok(())
    })
}

impl pgque_batch {
    fn new(batch: Arc<Batch>) -> pgque_batch {
        let count = batch.messages().len();
        pgque_batch { inner: batch, verdicts: Mutex::new(vec![None; count]) }
    }

    fn judge(&self, door: Door, index: usize, verdict: Verdict) -> Result<()> {
        let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        let beyond = || Error::invalid(door.0, format!("index {index} is beyond the last message"));
        *verdicts.get_mut(index).ok_or_else(beyond)? = Some(verdict);
        Ok(())
    }
}

/// The id under which the batch is open; 0 for NULL. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_batch_id(batch: Option<&pgque_batch>) -> i64 {
    batch.map_or(0, |b| b.inner.id())
}

/// How many messages; 0 for NULL. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_batch_count(batch: Option<&pgque_batch>) -> usize {
    batch.map_or(0, |b| b.inner.messages().len())
}

/// One message, or NULL beyond the last. Lives as long as the batch. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_batch_message(batch: Option<&pgque_batch>, index: usize) -> *const pgque_message {
    batch.and_then(|b| b.inner.messages().get(index)).map_or(ptr::null(), pgque_message::of)
}

/// The number of the handler of a message, or `PGQUE_NO_HANDLER`. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_batch_handler(batch: Option<&pgque_batch>, index: usize) -> i64 {
    batch.and_then(|b| b.inner.handler(index)).map_or(PGQUE_NO_HANDLER, |number| number as i64)
}

/// The message at this index is done. A later verdict replaces an earlier one. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_batch_ack(batch: Option<&pgque_batch>, index: usize) -> Option<Box<pgque_error>> {
    door("batch_ack", |door| door.required(batch, "batch")?.judge(door, index, Verdict::Ack))
}

/// Deliver the message at this index again after a delay; `pgque_interval_none()` is the consumer's `retry_after`.
/// `reason` may be NULL. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_batch_retry(
    batch: Option<&pgque_batch>,
    index: usize,
    after: pgque_interval,
    reason: *const c_char,
) -> Option<Box<pgque_error>> {
    door("batch_retry", |door| door.required(batch, "batch")?.judge(door, index, door.retry(after, reason)?))
}

/// Dead-letter the message at this index now. `reason` may be NULL. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_batch_dead(
    batch: Option<&pgque_batch>,
    index: usize,
    reason: *const c_char,
) -> Option<Box<pgque_error>> {
    door("batch_dead", |door| door.required(batch, "batch")?.judge(door, index, door.dead(reason)?))
}

/// Frees a batch and its messages. One that was not finished is delivered again. NULL is fine. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_batch_free(batch: Option<Box<pgque_batch>>) {
    drop(batch);
}

/// Settles a batch by the verdicts given on it; a message without a verdict counts as failed, unless it has no
/// handler. All or nothing: if it cannot be done now, this is logged and the batch is delivered again; only errors
/// that time cannot mend are returned. The batch must still be freed. One thread at a time; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_finish(
    consumer: Option<&pgque_consumer>,
    batch: Option<&pgque_batch>,
) -> Option<Box<pgque_error>> {
    door("finish", |door| {
        let batch = door.required(batch, "batch")?;
        let verdicts = batch.verdicts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        wait(door.consumer(consumer)?.finish(&batch.inner, verdicts))
    })
}

/// Handles messages until `pgque_consumer_stop`, calling `handler` for each that has a handler. `user_data` is
/// handed to it and may be NULL. One thread at a time; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_run(
    consumer: Option<&pgque_consumer>,
    handler: pgque_handler,
    user_data: *mut c_void,
) -> Option<Box<pgque_error>> {
    door("run", |door| {
        let handler = door.required(handler, "handler")?;
        pgque::blocking::run(door.consumer(consumer)?, |number, message| {
            call_handler(handler, number as i64, pgque_message::of(message), user_data).0
        })
    })
}

/// Ends the current wait of the consumer at once, or else the next: also when called before it. The batch that is
/// being handled is finished first. Any thread, but not a signal handler; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_stop(consumer: Option<&pgque_consumer>) -> Option<Box<pgque_error>> {
    door("stop", |door| {
        door.consumer(consumer)?.stop();
        Ok(())
    })
}

/// Gives up the connection; an unfinished batch is delivered again. The consumer may be used again and must still be
/// freed. Twice is fine. One thread at a time; blocks for the call that runs now.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_close(consumer: Option<&pgque_consumer>) -> Option<Box<pgque_error>> {
    door("close", |door| {
        let consumer = door.consumer(consumer)?;
        wait(async {
            consumer.close().await;
            Ok(())
        })
    })
}

/// Frees a consumer and gives up its connection. NULL is fine. Once, when no thread uses it any more; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_free(consumer: Option<Box<pgque_consumer>>) {
    drop(consumer);
}
