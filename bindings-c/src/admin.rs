//! `pgque_client` for the engine itself: ticks, maintenance, queues, information, dead letters, installing.

use std::ffi::c_char;

use pgque::{Capabilities, Replayed, Result, ResultSet};

use crate::client::pgque_client;
use crate::error::pgque_error;
use crate::ffi::{Door, Failure, counted, door, free_text, put};
use crate::message::pgque_bytes;
use crate::options::pgque_interval;
use crate::value::pgque_result;

/// Installs the engine, or brings an existing one up to date; repeating it is harmless. `conflict` if the database
/// has a `pgque` schema that is not ours. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_install(client: Option<&pgque_client>) -> Option<Box<pgque_error>> {
    door("install", |door| door.client(client)?.install())
}

/// Removes the engine with all queues and events. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_uninstall(client: Option<&pgque_client>) -> Option<Box<pgque_error>> {
    door("uninstall", |door| door.client(client)?.uninstall())
}

/// The engine's version, which ends with NUL and belongs to the caller, until `pgque_text_free`. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_version(
    client: Option<&pgque_client>,
    version: *mut *mut c_char,
) -> Option<Box<pgque_error>> {
    door("version", |door| {
        let out = door.out(version, "version")?;
        out.put_text(&door.client(client)?.version()?);
        Ok(())
    })
}

/// Frees a text that a function gave to the caller. NULL is fine. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_text_free(text: *mut c_char) {
    free_text(text);
}

/// What the server at the other end offers. Any thread may read it.
pub struct pgque_capabilities(Capabilities);

/// Asks, once for each client, what the server offers. The answer belongs to the caller, until
/// `pgque_capabilities_free`. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_capabilities(
    client: Option<&pgque_client>,
    capabilities: *mut *mut pgque_capabilities,
) -> Option<Box<pgque_error>> {
    door("capabilities", |door| {
        let out = door.out(capabilities, "capabilities")?;
        out.put(pgque_capabilities(door.client(client)?.capabilities()?));
        Ok(())
    })
}

/// PostgreSQL's version, for instance 150018; 0 for NULL. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_capabilities_server_version(capabilities: Option<&pgque_capabilities>) -> i64 {
    capabilities.map_or(0, |c| c.0.server_version)
}

/// Whether the engine settles a batch in one call. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_capabilities_finish(capabilities: Option<&pgque_capabilities>) -> bool {
    capabilities.is_some_and(|c| c.0.finish)
}

/// Whether the engine can tick every queue with new events. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_capabilities_ticker_pending(capabilities: Option<&pgque_capabilities>) -> bool {
    capabilities.is_some_and(|c| c.0.ticker_pending)
}

/// Whether the engine hands out large batches in pages. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_capabilities_pages(capabilities: Option<&pgque_capabilities>) -> bool {
    capabilities.is_some_and(|c| c.0.pages)
}

/// Frees capabilities. NULL is fine. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_capabilities_free(capabilities: Option<Box<pgque_capabilities>>) {
    drop(capabilities);
}

/// Ticks one queue if its settings ask for it. Writes whether there was a tick, and only then its id. Any thread;
/// blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_ticker(
    client: Option<&pgque_client>,
    queue: *const c_char,
    has_tick: *mut bool,
    tick_id: *mut i64,
) -> Option<Box<pgque_error>> {
    ticked("ticker", has_tick, tick_id, |door| door.client(client)?.ticker(door.text(queue, "queue")?))
}

/// Has the next `pgque_client_ticker` of the queue tick in any case. Writes whether the queue has a tick, and only
/// then the id of its newest. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_force_next_tick(
    client: Option<&pgque_client>,
    queue: *const c_char,
    has_tick: *mut bool,
    tick_id: *mut i64,
) -> Option<Box<pgque_error>> {
    let call = |door: Door| door.client(client)?.force_next_tick(door.text(queue, "queue")?);
    ticked("force_next_tick", has_tick, tick_id, call)
}

/// Alias of `pgque_client_force_next_tick`. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_force_tick(
    client: Option<&pgque_client>,
    queue: *const c_char,
    has_tick: *mut bool,
    tick_id: *mut i64,
) -> Option<Box<pgque_error>> {
    ticked("force_tick", has_tick, tick_id, |door| door.client(client)?.force_tick(door.text(queue, "queue")?))
}

fn ticked(
    op: &'static str,
    has_tick: *mut bool,
    tick_id: *mut i64,
    call: impl FnOnce(Door) -> Result<Option<i64>>,
) -> Failure {
    door(op, |door| {
        let tick = call(door)?;
        put(has_tick, tick.is_some());
        if let Some(id) = tick {
            put(tick_id, id);
        }
        Ok(())
    })
}

/// Ticks all queues whose settings ask for it; how many ticked. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_ticker_all(client: Option<&pgque_client>, count: *mut i64) -> Option<Box<pgque_error>> {
    counted("ticker_all", count, |door| door.client(client)?.ticker_all())
}

/// Runs due maintenance, table rotation above all; how much was done. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_maint(client: Option<&pgque_client>, count: *mut i64) -> Option<Box<pgque_error>> {
    counted("maint", count, |door| door.client(client)?.maint())
}

/// Puts messages whose retry delay is over back into their queues; how many. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_maint_retry_events(
    client: Option<&pgque_client>,
    count: *mut i64,
) -> Option<Box<pgque_error>> {
    counted("maint_retry_events", count, |door| door.client(client)?.maint_retry_events())
}

/// Creates a queue. 1, or 0 if it existed. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_create_queue(
    client: Option<&pgque_client>,
    queue: *const c_char,
    count: *mut i64,
) -> Option<Box<pgque_error>> {
    counted("create_queue", count, |door| door.client(client)?.create_queue(door.text(queue, "queue")?))
}

/// Drops a queue with its events. `conflict` while consumers are subscribed, unless `force`. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_drop_queue(
    client: Option<&pgque_client>,
    queue: *const c_char,
    force: bool,
    count: *mut i64,
) -> Option<Box<pgque_error>> {
    counted("drop_queue", count, |door| door.client(client)?.drop_queue(door.text(queue, "queue")?, force))
}

/// Sets one setting of a queue; `value` NULL resets it. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_set_queue_config(
    client: Option<&pgque_client>,
    queue: *const c_char,
    name: *const c_char,
    value: *const c_char,
    count: *mut i64,
) -> Option<Box<pgque_error>> {
    counted("set_queue_config", count, |door| {
        let (queue, name) = (door.text(queue, "queue")?, door.text(name, "name")?);
        door.client(client)?.set_queue_config(queue, name, door.maybe_text(value, "value")?)
    })
}

/// One row for each part of the engine: `component`, `status`, `detail`. The result belongs to the caller, until
/// `pgque_result_free`. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_status(
    client: Option<&pgque_client>,
    result: *mut *mut pgque_result,
) -> Option<Box<pgque_error>> {
    answered("status", result, |door| door.client(client)?.status())
}

/// One queue, or all with NULL; no row for an unknown one. Intervals are in seconds. The result belongs to the
/// caller, until `pgque_result_free`. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_queue_info(
    client: Option<&pgque_client>,
    queue: *const c_char,
    result: *mut *mut pgque_result,
) -> Option<Box<pgque_error>> {
    answered("queue_info", result, |door| door.client(client)?.queue_info(door.maybe_text(queue, "queue")?))
}

/// The subscriptions of a queue and a consumer; NULL means all. Intervals are in seconds. The result belongs to the
/// caller, until `pgque_result_free`. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_consumer_info(
    client: Option<&pgque_client>,
    queue: *const c_char,
    consumer: *const c_char,
    result: *mut *mut pgque_result,
) -> Option<Box<pgque_error>> {
    answered("consumer_info", result, |door| {
        let (queue, consumer) = (door.maybe_text(queue, "queue")?, door.maybe_text(consumer, "consumer")?);
        door.client(client)?.consumer_info(queue, consumer)
    })
}

/// An open batch; no row for an unknown one. Intervals are in seconds. The result belongs to the caller, until
/// `pgque_result_free`. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_batch_info(
    client: Option<&pgque_client>,
    batch_id: i64,
    result: *mut *mut pgque_result,
) -> Option<Box<pgque_error>> {
    answered("batch_info", result, |door| door.client(client)?.batch_info(batch_id))
}

/// The dead letters of a queue, the newest first; none for an unknown queue. The result belongs to the caller, until
/// `pgque_result_free`. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_dlq_inspect(
    client: Option<&pgque_client>,
    queue: *const c_char,
    limit: i64,
    result: *mut *mut pgque_result,
) -> Option<Box<pgque_error>> {
    answered("dlq_inspect", result, |door| door.client(client)?.dlq_inspect(door.text(queue, "queue")?, limit))
}

fn answered(op: &'static str, result: *mut *mut pgque_result, call: impl FnOnce(Door) -> Result<ResultSet>) -> Failure {
    door(op, |door| {
        let out = door.out(result, "result")?;
        out.put(pgque_result::from(call(door)?));
        Ok(())
    })
}

/// Sends a dead letter again as a new event, which every consumer of the queue receives; its id. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_dlq_replay(
    client: Option<&pgque_client>,
    dead_letter_id: i64,
    msg_id: *mut i64,
) -> Option<Box<pgque_error>> {
    counted("dlq_replay", msg_id, |door| door.client(client)?.dlq_replay(dead_letter_id))
}

/// The outcome of `pgque_client_dlq_replay_all`. Any thread may read it.
pub struct pgque_replayed(Replayed);

/// Replays every dead letter of a queue; what fails stays and is counted. The outcome belongs to the caller, until
/// `pgque_replayed_free`. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_dlq_replay_all(
    client: Option<&pgque_client>,
    queue: *const c_char,
    replayed: *mut *mut pgque_replayed,
) -> Option<Box<pgque_error>> {
    door("dlq_replay_all", |door| {
        let out = door.out(replayed, "replayed")?;
        out.put(pgque_replayed(door.client(client)?.dlq_replay_all(door.text(queue, "queue")?)?));
        Ok(())
    })
}

/// How many were replayed. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_replayed_count(replayed: Option<&pgque_replayed>) -> i64 {
    replayed.map_or(0, |r| r.0.replayed)
}

/// How many failed. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_replayed_failed(replayed: Option<&pgque_replayed>) -> i64 {
    replayed.map_or(0, |r| r.0.failed)
}

/// Why the first of those failed; NULL if none did. A view into the outcome. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_replayed_first_error(replayed: Option<&pgque_replayed>) -> pgque_bytes {
    pgque_bytes::text(replayed.and_then(|r| r.0.first_error.as_deref()))
}

/// Frees an outcome. NULL is fine. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_replayed_free(replayed: Option<Box<pgque_replayed>>) {
    drop(replayed);
}

/// Gives a dead letter back to the consumer that could not handle it, and to no other: as a retry that is due at once,
/// with the id that it had and all of its retries; that id. `PGQUE_ERROR_CONSUMER_NOT_FOUND` if the consumer is not
/// subscribed any more. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_dlq_redeliver(
    client: Option<&pgque_client>,
    dead_letter_id: i64,
    msg_id: *mut i64,
) -> Option<Box<pgque_error>> {
    counted("dlq_redeliver", msg_id, |door| door.client(client)?.dlq_redeliver(dead_letter_id))
}

/// Gives all dead letters of a queue, or of the consumer unless it is NULL, back to their consumers; how many. Those of
/// consumers that are not subscribed any more stay. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_dlq_redeliver_all(
    client: Option<&pgque_client>,
    queue: *const c_char,
    consumer: *const c_char,
    count: *mut i64,
) -> Option<Box<pgque_error>> {
    counted("dlq_redeliver_all", count, |door| {
        let consumer = door.maybe_text(consumer, "consumer")?;
        door.client(client)?.dlq_redeliver_all(door.text(queue, "queue")?, consumer)
    })
}

/// Deletes dead letters that are older than the given time; how many. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_dlq_purge(
    client: Option<&pgque_client>,
    queue: *const c_char,
    older_than: pgque_interval,
    count: *mut i64,
) -> Option<Box<pgque_error>> {
    counted("dlq_purge", count, |door| {
        let older_than = door.required_interval(older_than, "older_than")?;
        door.client(client)?.dlq_purge(door.text(queue, "queue")?, &older_than)
    })
}
