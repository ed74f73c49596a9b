//! `pgque_pipeline` and `pgque_pending`: sends that are begun, and waited for later.

use std::ffi::c_char;

use pgque::blocking::Pipeline;
use pgque::{Pending, Result};

use crate::client::pgque_client;
use crate::error::pgque_error;
use crate::ffi::{Door, counted, door};
use crate::message::pgque_event;

/// A way to send many events without waiting for each answer. Any thread.
pub struct pgque_pipeline(Pipeline);

/// What stands for the answer to a send until it is there. Any thread.
pub struct pgque_pending(Pending<i64>);

impl Door {
    fn pipeline(self, pipeline: Option<&pgque_pipeline>) -> Result<&Pipeline> {
        self.required(pipeline, "pipeline").map(|p| &p.0)
    }
}

/// Begins a send; what stands for its answer goes to `pending`, which may be NULL.
pub fn begun(
    pending: *mut *mut pgque_pending,
    begin: impl FnOnce(Door) -> Result<Pending<i64>>,
) -> Option<Box<pgque_error>> {
    door("send", |door| {
        let sent = begin(door)?;
        if let Some(out) = door.maybe_out(pending) {
            out.put(pgque_pending(sent));
        }
        Ok(())
    })
}

/// Makes a pipeline on the client's connection, which it may outlive. `conflict` for a client on the caller's own
/// connection, which runs one call at a time. The pipeline belongs to the caller, until `pgque_pipeline_free`. Any
/// thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_pipeline(
    client: Option<&pgque_client>,
    pipeline: *mut *mut pgque_pipeline,
) -> Option<Box<pgque_error>> {
    door("pipeline", |door| {
        let out = door.out(pipeline, "pipeline")?;
        out.put(pgque_pipeline(door.client(client)?.pipeline()?));
        Ok(())
    })
}

/// Sends an event without waiting for the answer. Events reach the server in the order of these calls, and before
/// whatever is called next on the same client. In a transaction all of them are part of it, and after an error the rest
/// fails too; in autocommit each stands for itself. Fails at once if an argument is wrong or the client is closed; all
/// else is told by `pgque_pending_wait`, and by the next `pgque_pipeline_flush`. `pending` may be NULL, else it belongs
/// to the caller, until `pgque_pending_free`. Any thread; blocks only while some 1,000 sends are under way.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_pipeline_send(
    pipeline: Option<&pgque_pipeline>,
    queue: *const c_char,
    event: Option<&pgque_event>,
    pending: *mut *mut pgque_pending,
) -> Option<Box<pgque_error>> {
    begun(pending, |door| {
        let event = door.required(event, "event")?.inner().clone();
        door.pipeline(pipeline)?.send(door.text(queue, "queue")?, event)
    })
}

/// Waits until everything that was sent is answered, and fails with the first error since the last flush, also if
/// `pgque_pending_wait` has told it before. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_pipeline_flush(pipeline: Option<&pgque_pipeline>) -> Option<Box<pgque_error>> {
    door("flush", |door| door.pipeline(pipeline)?.flush())
}

/// Frees a pipeline; what was sent goes on, but its errors are lost without a flush before. NULL is fine. Once, when no
/// thread uses it any more; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_pipeline_free(pipeline: Option<Box<pgque_pipeline>>) {
    drop(pipeline);
}

/// Waits for the answer, up to so many seconds, and gives the id of the event or fails as the send itself would;
/// INFINITY waits without limit. `timeout` when the time is over: the send goes on. Any number of times. Any thread;
/// blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_pending_wait(
    pending: Option<&pgque_pending>,
    timeout_seconds: f64,
    msg_id: *mut i64,
) -> Option<Box<pgque_error>> {
    counted("wait", msg_id, |door| {
        let limit = pgque::runtime::time_limit(door.0, "timeout_seconds", timeout_seconds)?;
        door.required(pending, "pending")?.0.wait(limit)
    })
}

/// Frees a pending answer; the send goes on. NULL is fine. Once, when no thread uses it any more; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_pending_free(pending: Option<Box<pgque_pending>>) {
    drop(pending);
}
