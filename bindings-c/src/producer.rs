//! `pgque_producer`: a sender that many threads share.

use std::ffi::{c_char, c_void};
use std::ptr;
use std::time::Duration;

use pgque::blocking::wait;
use pgque::{Error, Kind, Producer, ProducerOptions, ProducerStats, Result, Settings};

use crate::error::pgque_error;
use crate::ffi::{Door, UserData, call_sent, counted, door, put_sized};
use crate::message::pgque_event;
use crate::options::pgque_options;
use crate::pipeline::{begun, pgque_pending};

/// Sends events, many at once: what several threads send at the same time is gathered into few transactions, without
/// being held back for that, and each call is answered with its own id or error. A lost connection is replaced, and
/// nothing is sent twice because of it. Any thread.
pub struct pgque_producer(Producer);

impl Door {
    fn producer(self, producer: Option<&pgque_producer>) -> Result<&Producer> {
        self.required(producer, "producer").map(|p| &p.0)
    }
}

/// Makes a producer, which connects only for the first event. `options` may be NULL for the defaults, and are copied.
/// `configuration` if an option is wrong. The producer belongs to the caller, until `pgque_producer_free`. Any thread;
/// never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_producer_new(
    dsn: *const c_char,
    options: Option<&pgque_options>,
    producer: *mut *mut pgque_producer,
) -> Option<Box<pgque_error>> {
    door("producer", |door| {
        let out = door.out(producer, "producer")?;
        let mut chosen = ProducerOptions::default();
        pgque_options::apply(options, |name, value| chosen.set(name, value))?;
        out.put(pgque_producer(Producer::new(Settings::parse(door.text(dsn, "dsn")?)?, chosen)?));
        Ok(())
    })
}

/// Sends one event of JSON text, and gives its id once it is stored. `event_type` NULL means `default`. Fails as
/// `pgque_client_send`; with `timeout` if there was no room, or no server, for as long as `send_timeout`, and the event
/// is not stored; with `closed` after `pgque_producer_close`; and if the connection was lost at the wrong moment, with
/// an error for which `pgque_error_is_uncertain` holds. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_producer_send(
    producer: Option<&pgque_producer>,
    queue: *const c_char,
    event_type: *const c_char,
    payload: *const c_char,
    payload_len: usize,
    msg_id: *mut i64,
) -> Option<Box<pgque_error>> {
    counted("send", msg_id, |door| {
        let event = door.json_event(event_type, payload, payload_len)?;
        wait(door.producer(producer)?.send(door.text(queue, "queue")?, &event))
    })
}

/// As `pgque_producer_send` for any text, stored byte for byte; `payload` NULL is SQL NULL. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_producer_send_text(
    producer: Option<&pgque_producer>,
    queue: *const c_char,
    event_type: *const c_char,
    payload: *const c_char,
    payload_len: usize,
    msg_id: *mut i64,
) -> Option<Box<pgque_error>> {
    counted("send", msg_id, |door| {
        let event = door.text_event(event_type, payload, payload_len)?;
        wait(door.producer(producer)?.send(door.text(queue, "queue")?, &event))
    })
}

/// As `pgque_producer_send` for an event with everything it can have. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_producer_send_event(
    producer: Option<&pgque_producer>,
    queue: *const c_char,
    event: Option<&pgque_event>,
    msg_id: *mut i64,
) -> Option<Box<pgque_error>> {
    counted("send", msg_id, |door| {
        let event = door.required(event, "event")?;
        wait(door.producer(producer)?.send(door.text(queue, "queue")?, event.inner()))
    })
}

/// As `pgque_producer_send_event`, but returns once the event is accepted, in the order of these calls; the answer is
/// told by `pgque_pending_wait`. `pending` may be NULL, else it belongs to the caller, until `pgque_pending_free`. Fails
/// at once if an argument is wrong, the producer closed, or its queue full for as long as `send_timeout`. Any thread;
/// blocks only while the queue is full.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_producer_submit(
    producer: Option<&pgque_producer>,
    queue: *const c_char,
    event: Option<&pgque_event>,
    pending: *mut *mut pgque_pending,
) -> Option<Box<pgque_error>> {
    begun(pending, |door| {
        let event = door.required(event, "event")?.inner().clone();
        let producer = pgque::blocking::Producer::from(door.producer(producer)?.clone());
        producer.submit(door.text(queue, "queue")?, event)
    })
}

/// Is told what became of a posted event: its id, or an error that is not NULL and belongs to the callback, until
/// `pgque_error_free`. Called once for each, on a thread of the library's, perhaps before `pgque_producer_post_event`
/// has returned. It must be quick, make no call that blocks, not throw nor jump out.
pub type pgque_sent_callback =
    Option<unsafe extern "C" fn(msg_id: i64, error: Option<Box<pgque_error>>, user_data: *mut c_void)>;

/// As `pgque_sent_callback`, but not NULL.
pub type Sent = unsafe extern "C" fn(i64, Option<Box<pgque_error>>, *mut c_void);

/// A posted event on its way.
pub struct pgque_post(Box<dyn Fn() + Send + Sync>);

/// As `pgque_producer_send_event`, but returns at once and has `callback` told. For wrappers in languages whose tasks
/// are no threads: nothing but the number of tasks, each of which waits for its answer, bounds how many events are on
/// their way. `user_data` is handed to `callback` and may be NULL. What is returned as an error is not posted. The post
/// belongs to the caller, until `pgque_post_free`. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_producer_post_event(
    producer: Option<&pgque_producer>,
    queue: *const c_char,
    event: Option<&pgque_event>,
    callback: pgque_sent_callback,
    user_data: *mut c_void,
    post: *mut *mut pgque_post,
) -> Option<Box<pgque_error>> {
    door("send", |door| {
        let out = door.out(post, "post")?;
        let producer = door.producer(producer)?.clone();
        let queue = door.text(queue, "queue")?.to_owned();
        let event = door.required(event, "event")?.inner().clone();
        let callback = door.required(callback, "callback")?;
        let runtime = pgque::runtime::handle()?;
        let mut reply = Reply(Some((callback, UserData::new(user_data, None))));
        let task = runtime.spawn(async move {
            let result = producer.send(&queue, &event).await;
            reply.give(result);
        });
        out.put(pgque_post(Box::new(move || task.abort())));
        Ok(())
    })
}

/// Frees a post, and gives up waiting for its answer if that has not come: the callback is then told `interrupted`, and
/// the event is stored all the same if the producer had accepted it. NULL is fine. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_post_free(post: Option<Box<pgque_post>>) {
    if let Some(post) = post {
        post.0();
    }
}

/// Answers once, whatever becomes of the call.
struct Reply(Option<(Sent, UserData)>);

impl Reply {
    fn give(&mut self, result: Result<i64>) {
        if let Some((callback, user_data)) = self.0.take() {
            call_sent(callback, result, &user_data);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.give(Err(Error::new(Kind::Interrupted, "send", "the call was given up before it was answered")));
    }
}

/// Waits until everything that was accepted before is answered, well or not. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_producer_flush(producer: Option<&pgque_producer>) -> Option<Box<pgque_error>> {
    door("flush", |door| wait(door.producer(producer)?.flush()))
}

/// Accepts nothing more, and waits until everything accepted is answered, up to so many seconds; INFINITY waits without
/// limit. When the time is over, senders whose events are not sent get a `closed` error, and this fails with `timeout`.
/// The producer must still be freed. Twice is fine. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_producer_close(
    producer: Option<&pgque_producer>,
    deadline_seconds: f64,
) -> Option<Box<pgque_error>> {
    door("close", |door| {
        let deadline = pgque::runtime::time_limit(door.0, "deadline_seconds", deadline_seconds)?;
        wait(door.producer(producer)?.close(deadline.unwrap_or(Duration::MAX)))
    })
}

/// Counts since the producer was made, and the newest readings of what goes up and down. Grows at its end only.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pgque_producer_counters {
    /// Events stored.
    pub sent: u64,
    /// Events whose sender got an error.
    pub failed: u64,
    /// Events of these of which it is not known whether they are stored.
    pub uncertain: u64,
    /// Transactions that stored events; `sent / batches` is the average size of a batch.
    pub batches: u64,
    /// Events in the newest of them.
    pub batch_size: u64,
    /// Events that were accepted and are not answered yet.
    pub queue_length: u64,
    /// Connections that were lost, or could not be made.
    pub reconnects: u64,
}

/// Fills in the counters, all of one moment; `counters_size` is `sizeof(pgque_producer_counters)`, by which the library
/// knows the header that the program was compiled with. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_producer_stats(
    producer: Option<&pgque_producer>,
    counters: *mut pgque_producer_counters,
    counters_size: usize,
) -> Option<Box<pgque_error>> {
    door("stats", |door| {
        let ProducerStats { sent, failed, uncertain, batches, batch_size, queue_length, reconnects, .. } =
            door.producer(producer)?.stats();
        door.required(ptr::NonNull::new(counters), "counters")?;
        let read = pgque_producer_counters { sent, failed, uncertain, batches, batch_size, queue_length, reconnects };
        put_sized(counters, counters_size, read);
        Ok(())
    })
}

/// The newest error, of the connection or of a sender, as a text that belongs to the caller, until `pgque_text_free`;
/// writes NULL if there was none. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_producer_last_error(
    producer: Option<&pgque_producer>,
    last_error: *mut *mut c_char,
) -> Option<Box<pgque_error>> {
    door("stats", |door| {
        let out = door.out(last_error, "last_error")?;
        out.put_maybe_text(door.producer(producer)?.stats().last_error.as_deref());
        Ok(())
    })
}

/// Frees a producer; what it has accepted is sent all the same, if the process lives long enough for it: close it first
/// to wait for that. NULL is fine. Once, when no thread uses it any more; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_producer_free(producer: Option<Box<pgque_producer>>) {
    drop(producer);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_of_the_core_is_there() {
        let counters = size_of::<pgque_producer_counters>() / size_of::<u64>();
        assert_eq!(counters, ProducerStats::default().entries().len());
    }
}
