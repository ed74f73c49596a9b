//! `pgque_client`: connect, transactions, raw statements, produce, subscribe, consume by hand.

use std::ffi::c_char;

use pgque::blocking::{Client, wait};
use pgque::{Connection, Error, Kind, Payloads, Result};

use crate::error::pgque_error;
use crate::ffi::{Door, counted, door};
use crate::message::{pgque_bytes, pgque_event, pgque_messages, pgque_notification};
use crate::options::pgque_interval;
use crate::value::pgque_result;
use crate::verdict::pgque_verdicts;

/// A client of one database. Any thread; calls from several threads share the connection, and its transaction.
pub struct pgque_client {
    client: Client,
    /// It is a consumer's, and a handler has it for a while.
    lent: bool,
}

impl pgque_client {
    pub fn lent(client: pgque::Client) -> pgque_client {
        pgque_client { client: client.into(), lent: true }
    }

    fn close(&self, op: &'static str) -> Result<()> {
        if self.lent {
            let message = "the connection is the consumer's, which ends with its run";
            return Err(Error::new(Kind::Conflict, op, message));
        }
        self.client.close()
    }
}

impl From<Client> for pgque_client {
    fn from(client: Client) -> pgque_client {
        pgque_client { client, lent: false }
    }
}

impl Door {
    pub fn client(self, client: Option<&pgque_client>) -> Result<&Client> {
        self.required(client, "client").map(|c| &c.client)
    }

    fn connection(self, client: Option<&pgque_client>) -> Result<&Connection> {
        self.client(client)?.as_async().own_connection(self.0)
    }
}

/// Connects with a connection string of libpq, as URI or keywords, in autocommit. The client belongs to the caller,
/// until `pgque_client_free`. Any thread; blocks until connected or `connect_timeout` is over.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_connect(dsn: *const c_char, client: *mut *mut pgque_client) -> Option<Box<pgque_error>> {
    door("connect", |door| {
        let out = door.out(client, "client")?;
        out.put(Client::connect(door.text(dsn, "dsn")?)?.into());
        Ok(())
    })
}

/// With autocommit off the first statement opens a transaction, which commit or rollback ends. `conflict` while a
/// transaction is open. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_set_autocommit(client: Option<&pgque_client>, on: bool) -> Option<Box<pgque_error>> {
    door("set_autocommit", |door| door.connection(client)?.set_autocommit(on))
}

/// Closes the connection; an open transaction is rolled back. Later calls fail with `closed`; the client must still
/// be freed. Twice is fine. `conflict` for a client from `pgque_message_client`. Any thread; waits for the statement
/// that runs now.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_close(client: Option<&pgque_client>) -> Option<Box<pgque_error>> {
    door("close", |door| door.required(client, "client")?.close(door.0))
}

/// Closes and frees a client. NULL is fine. Once, when no thread uses it any more; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_free(client: Option<Box<pgque_client>>) {
    drop(client);
}

/// Opens a transaction, also in autocommit. `conflict` inside one. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_begin(client: Option<&pgque_client>) -> Option<Box<pgque_error>> {
    door("begin", |door| door.client(client)?.begin())
}

/// Commits; without a transaction nothing happens. A transaction in which a statement failed is rolled back and the
/// call fails. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_commit(client: Option<&pgque_client>) -> Option<Box<pgque_error>> {
    door("commit", |door| door.client(client)?.commit())
}

/// Rolls back; without a transaction nothing happens. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_rollback(client: Option<&pgque_client>) -> Option<Box<pgque_error>> {
    door("rollback", |door| door.client(client)?.rollback())
}

/// Runs any one statement but BEGIN, COMMIT and ROLLBACK. `params` are texts for `$1`, `$2` and so on, `data` NULL for SQL
/// NULL; may be NULL when there are none. The result belongs to the caller, until `pgque_result_free`. Any thread;
/// blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_execute(
    client: Option<&pgque_client>,
    sql: *const c_char,
    params: *const pgque_bytes,
    params_count: usize,
    result: *mut *mut pgque_result,
) -> Option<Box<pgque_error>> {
    door("execute", |door| {
        let out = door.out(result, "result")?;
        let params = door.bodies(params, params_count, "params")?;
        out.put(pgque_result::from(door.client(client)?.execute(door.text(sql, "sql")?, &params)?));
        Ok(())
    })
}

/// Subscribes to a channel, from the commit on. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_listen(
    client: Option<&pgque_client>,
    channel: *const c_char,
) -> Option<Box<pgque_error>> {
    door("listen", |door| wait(door.connection(client)?.listen(door.text(channel, "channel")?)))
}

/// Ends the subscription to a channel. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_unlisten(
    client: Option<&pgque_client>,
    channel: *const c_char,
) -> Option<Box<pgque_error>> {
    door("unlisten", |door| wait(door.connection(client)?.unlisten(door.text(channel, "channel")?)))
}

/// Waits for a notification, up to so many seconds; INFINITY waits without limit. Writes NULL when the time is over,
/// else a notification that belongs to the caller, until `pgque_notification_free`. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_notification(
    client: Option<&pgque_client>,
    timeout_seconds: f64,
    notification: *mut *mut pgque_notification,
) -> Option<Box<pgque_error>> {
    door("notification", |door| {
        let out = door.out(notification, "notification")?;
        let limit = pgque::runtime::time_limit(door.0, "timeout_seconds", timeout_seconds)?;
        let arrived = wait(door.connection(client)?.notification(limit.unwrap_or(std::time::Duration::MAX)))?;
        out.put_maybe(arrived.map(pgque_notification));
        Ok(())
    })
}

/// Sends one event of JSON text and gives its id; it is seen by nobody before the commit. `event_type` NULL means
/// `default`. `invalid_input` before anything is sent if the payload is not JSON. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_send(
    client: Option<&pgque_client>,
    queue: *const c_char,
    event_type: *const c_char,
    payload: *const c_char,
    payload_len: usize,
    msg_id: *mut i64,
) -> Option<Box<pgque_error>> {
    counted("send", msg_id, |door| {
        let event = door.json_event(event_type, payload, payload_len)?;
        door.client(client)?.send(door.text(queue, "queue")?, &event)
    })
}

/// As `pgque_client_send` for any text, stored byte for byte; `payload` NULL is SQL NULL. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_send_text(
    client: Option<&pgque_client>,
    queue: *const c_char,
    event_type: *const c_char,
    payload: *const c_char,
    payload_len: usize,
    msg_id: *mut i64,
) -> Option<Box<pgque_error>> {
    counted("send", msg_id, |door| {
        let event = door.text_event(event_type, payload, payload_len)?;
        door.client(client)?.send(door.text(queue, "queue")?, &event)
    })
}

/// As `pgque_client_send` for an event with everything it can have. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_send_event(
    client: Option<&pgque_client>,
    queue: *const c_char,
    event: Option<&pgque_event>,
    msg_id: *mut i64,
) -> Option<Box<pgque_error>> {
    counted("send", msg_id, |door| {
        let event = door.required(event, "event")?;
        door.client(client)?.send(door.text(queue, "queue")?, event.inner())
    })
}

/// Sends many events of JSON text in one statement: all or none. `event_type` is stored as given, NULL as SQL NULL.
/// `msg_ids` has room for `payloads_count` ids, which come in the order of the payloads; it may be NULL. Any thread;
/// blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_send_batch(
    client: Option<&pgque_client>,
    queue: *const c_char,
    event_type: *const c_char,
    payloads: *const pgque_bytes,
    payloads_count: usize,
    msg_ids: *mut i64,
) -> Option<Box<pgque_error>> {
    door("send_batch", |door| {
        let texts = door.bodies(payloads, payloads_count, "payloads")?;
        let required = |(i, text): (usize, Option<String>)| text.ok_or_else(|| door.null(&format!("payloads[{i}]")));
        let texts = texts.into_iter().enumerate().map(required).collect::<Result<_>>()?;
        send_batch(door, client, queue, event_type, Payloads::Json(texts), msg_ids)
    })
}

/// As `pgque_client_send_batch` for any texts, stored byte for byte; `data` NULL is SQL NULL. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_send_batch_text(
    client: Option<&pgque_client>,
    queue: *const c_char,
    event_type: *const c_char,
    payloads: *const pgque_bytes,
    payloads_count: usize,
    msg_ids: *mut i64,
) -> Option<Box<pgque_error>> {
    door("send_batch", |door| {
        let texts = door.bodies(payloads, payloads_count, "payloads")?;
        send_batch(door, client, queue, event_type, Payloads::Text(texts), msg_ids)
    })
}

fn send_batch(
    door: Door,
    client: Option<&pgque_client>,
    queue: *const c_char,
    event_type: *const c_char,
    payloads: Payloads,
    msg_ids: *mut i64,
) -> Result<()> {
    let event_type = door.maybe_text(event_type, "event_type")?;
    let count = match &payloads {
        Payloads::Json(texts) => texts.len(),
        Payloads::Text(texts) => texts.len(),
    };
    let ids = door.client(client)?.send_batch(door.text(queue, "queue")?, event_type, payloads)?;
    door.put_all(msg_ids, &ids, count)
}

/// Registers a consumer at the newest tick. 1 if it is new, 0 if it existed. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_subscribe(
    client: Option<&pgque_client>,
    queue: *const c_char,
    consumer: *const c_char,
    count: *mut i64,
) -> Option<Box<pgque_error>> {
    counted("subscribe", count, |door| {
        door.client(client)?.subscribe(door.text(queue, "queue")?, door.text(consumer, "consumer")?)
    })
}

/// Removes a consumer with its retries. 1, or 0 if there was none. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_unsubscribe(
    client: Option<&pgque_client>,
    queue: *const c_char,
    consumer: *const c_char,
    count: *mut i64,
) -> Option<Box<pgque_error>> {
    counted("unsubscribe", count, |door| {
        door.client(client)?.unsubscribe(door.text(queue, "queue")?, door.text(consumer, "consumer")?)
    })
}

/// Registers a cooperative worker. 1 if it is new, 0 if it existed. `convert_normal` turns an ordinary consumer of
/// that name into a cooperative one; without it such a consumer is a `conflict`. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_subscribe_subconsumer(
    client: Option<&pgque_client>,
    queue: *const c_char,
    consumer: *const c_char,
    subconsumer: *const c_char,
    convert_normal: bool,
    count: *mut i64,
) -> Option<Box<pgque_error>> {
    counted("subscribe_subconsumer", count, |door| {
        let (queue, consumer, subconsumer) = door.member(queue, consumer, subconsumer)?;
        door.client(client)?.subscribe_subconsumer(queue, consumer, subconsumer, convert_normal)
    })
}

/// Removes a cooperative worker. 1, or 0 if there was none. `batch_handling` says what becomes of an open batch:
/// 0 refuses with `conflict`, 1 sends its messages to the retry queue. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_unsubscribe_subconsumer(
    client: Option<&pgque_client>,
    queue: *const c_char,
    consumer: *const c_char,
    subconsumer: *const c_char,
    batch_handling: i64,
    count: *mut i64,
) -> Option<Box<pgque_error>> {
    counted("unsubscribe_subconsumer", count, |door| {
        let (queue, consumer, subconsumer) = door.member(queue, consumer, subconsumer)?;
        door.client(client)?.unsubscribe_subconsumer(queue, consumer, subconsumer, batch_handling)
    })
}

/// Says that a cooperative worker is alive. 1, or 0 if there is none. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_touch_subconsumer(
    client: Option<&pgque_client>,
    queue: *const c_char,
    consumer: *const c_char,
    subconsumer: *const c_char,
    count: *mut i64,
) -> Option<Box<pgque_error>> {
    counted("touch_subconsumer", count, |door| {
        let (queue, consumer, subconsumer) = door.member(queue, consumer, subconsumer)?;
        door.client(client)?.touch_subconsumer(queue, consumer, subconsumer)
    })
}

impl Door {
    fn member<'a>(
        self,
        queue: *const c_char,
        consumer: *const c_char,
        subconsumer: *const c_char,
    ) -> Result<(&'a str, &'a str, &'a str)> {
        Ok((self.text(queue, "queue")?, self.text(consumer, "consumer")?, self.text(subconsumer, "subconsumer")?))
    }
}

/// Gives the open batch of the consumer, or opens the next one; no messages when there is none. With more than
/// `max_messages` in the batch it fails with `overflow` and nothing is advanced. The messages belong to the caller,
/// until `pgque_messages_free`. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_receive(
    client: Option<&pgque_client>,
    queue: *const c_char,
    consumer: *const c_char,
    max_messages: i64,
    messages: *mut *mut pgque_messages,
) -> Option<Box<pgque_error>> {
    door("receive", |door| {
        let out = door.out(messages, "messages")?;
        let (queue, consumer) = (door.text(queue, "queue")?, door.text(consumer, "consumer")?);
        out.put(pgque_messages::new(door.client(client)?.receive(queue, consumer, max_messages)?));
        Ok(())
    })
}

/// As `pgque_client_receive` for one cooperative worker, which is registered on the fly. With a `dead_interval`
/// (else `pgque_interval_none()`) the batch of a worker that was silent for so long is taken over. Any thread;
/// blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_receive_coop(
    client: Option<&pgque_client>,
    queue: *const c_char,
    consumer: *const c_char,
    subconsumer: *const c_char,
    max_messages: i64,
    dead_interval: pgque_interval,
    messages: *mut *mut pgque_messages,
) -> Option<Box<pgque_error>> {
    door("receive_coop", |door| {
        let out = door.out(messages, "messages")?;
        let (queue, consumer, subconsumer) = door.member(queue, consumer, subconsumer)?;
        let dead = door.interval(dead_interval, "dead_interval")?;
        let received = door.client(client)?.receive_coop(queue, consumer, subconsumer, max_messages, dead.as_ref())?;
        out.put(pgque_messages::new(received));
        Ok(())
    })
}

/// Finishes a batch. 1, or 0 if it is unknown, already finished or taken over. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_ack(
    client: Option<&pgque_client>,
    batch_id: i64,
    count: *mut i64,
) -> Option<Box<pgque_error>> {
    counted("ack", count, |door| door.client(client)?.ack(batch_id))
}

/// Has one message of an open batch delivered again after a delay; the batch must still be acknowledged. `reason`
/// may be NULL. `batch_not_found` once the batch is finished. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_nack(
    client: Option<&pgque_client>,
    batch_id: i64,
    msg_id: i64,
    retry_after: pgque_interval,
    reason: *const c_char,
) -> Option<Box<pgque_error>> {
    door("nack", |door| {
        let after = door.required_interval(retry_after, "retry_after")?;
        door.client(client)?.nack(batch_id, msg_id, &after, door.maybe_text(reason, "reason")?)
    })
}

/// Settles a batch: what is not named is done, the rest is retried or dead-lettered, all or nothing. 1, or 0 without
/// any effect if the batch is unknown, already finished or taken over. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_finish(
    client: Option<&pgque_client>,
    batch_id: i64,
    verdicts: Option<&pgque_verdicts>,
    count: *mut i64,
) -> Option<Box<pgque_error>> {
    counted("finish", count, |door| {
        let verdicts = door.required(verdicts, "verdicts")?;
        door.client(client)?.finish(batch_id, verdicts.inner())
    })
}
