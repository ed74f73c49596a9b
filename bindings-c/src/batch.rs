//! `pgque_batch`: messages on their way through the handlers.

use std::ffi::c_char;
use std::ptr;
use std::sync::Arc;

use pgque::{Batch, Error, Outcome, Result};

use crate::error::pgque_error;
use crate::ffi::{Door, Failure, door};
use crate::message::pgque_message;
use crate::options::pgque_interval;

/// The number of the handler of a message that has none; `unknown_handler_policy` decides on it.
pub const PGQUE_NO_HANDLER: i64 = -1;

/// The messages of one batch, or of a page of a large one. Any thread.
pub struct pgque_batch {
    views: Vec<pgque_message>,
    /// It holds what the views point to.
    inner: Arc<Batch>,
}

impl pgque_batch {
    pub fn new(inner: Arc<Batch>) -> pgque_batch {
        let views = inner.messages().iter().map(|message| pgque_message::new(message, inner.client())).collect();
        pgque_batch { views, inner }
    }
}

impl Door {
    pub fn batch(self, batch: Option<&pgque_batch>) -> Result<&Batch> {
        self.required(batch, "batch").map(|b| &*b.inner)
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
    batch.map_or(0, |b| b.views.len())
}

/// One message, or NULL beyond the last. Lives as long as the batch. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_batch_message(batch: Option<&pgque_batch>, index: usize) -> *const pgque_message {
    batch.and_then(|b| b.views.get(index)).map_or(ptr::null(), ptr::from_ref)
}

/// The number of the handler of a message, or `PGQUE_NO_HANDLER`. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_batch_handler(batch: Option<&pgque_batch>, index: usize) -> i64 {
    batch.and_then(|b| b.inner.handler(index)).map_or(PGQUE_NO_HANDLER, |number| number as i64)
}

/// How many threads may take and handle messages at once: the option `concurrency`, but no more than there are
/// messages; 0 for NULL. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_batch_lanes(batch: Option<&pgque_batch>) -> usize {
    batch.map_or(0, |b| b.inner.lanes())
}

/// The message at this index is done. The last word on a message counts, until the batch is finished. Calls the hook
/// of `pgque_consumer_after_message`, as the others do; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_batch_ack(batch: Option<&pgque_batch>, index: usize) -> Option<Box<pgque_error>> {
    settle("batch_ack", batch, index, |_| Ok(pgque::Verdict::Ack.into()))
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
    settle("batch_retry", batch, index, |door| door.retry(after, reason).map(Outcome::from))
}

/// Dead-letter the message at this index now. `reason` may be NULL. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_batch_dead(
    batch: Option<&pgque_batch>,
    index: usize,
    reason: *const c_char,
) -> Option<Box<pgque_error>> {
    settle("batch_dead", batch, index, |door| door.dead(reason).map(Outcome::from))
}

/// The handler of the message at this index failed: the error is logged and becomes the reason, and `retry_after` and
/// `retry_backoff`, or the callback of `pgque_consumer_on_failure`, say when the message comes again. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_batch_fail(
    batch: Option<&pgque_batch>,
    index: usize,
    error: *const c_char,
) -> Option<Box<pgque_error>> {
    settle("batch_fail", batch, index, |door| door.failed(error))
}

fn settle(
    op: &'static str,
    batch: Option<&pgque_batch>,
    index: usize,
    outcome: impl FnOnce(Door) -> Result<Outcome>,
) -> Failure {
    door(op, |door| {
        let batch = door.batch(batch)?;
        if index >= batch.messages().len() {
            return Err(Error::invalid(op, format!("index {index} is beyond the last message")));
        }
        batch.settle(index, outcome(door)?);
        Ok(())
    })
}

/// Frees a batch and its messages. One that was not finished is delivered again. NULL is fine. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_batch_free(batch: Option<Box<pgque_batch>>) {
    drop(batch);
}
