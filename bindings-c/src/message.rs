//! What is received and what is sent: views, messages, events, notifications.

use std::ffi::c_char;
use std::ptr;

use pgque::{Client, Event, Message, Notification, Payload, Result};

use crate::client::pgque_client;
use crate::error::pgque_error;
use crate::ffi::{self, Door, Failure, door, put, put_sized};

/// Bytes that belong to something else and live as long as it does. `data` is NULL for SQL NULL, and not NULL for
/// the empty text. Not terminated by NUL.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pgque_bytes {
    pub data: *const c_char,
    pub len: usize,
}

impl pgque_bytes {
    pub const NULL: pgque_bytes = pgque_bytes { data: ptr::null(), len: 0 };

    pub fn new(bytes: &[u8]) -> pgque_bytes {
        // An empty vector points nowhere; give C a real address.
        let data = if bytes.is_empty() { c"".as_ptr() } else { bytes.as_ptr().cast() };
        pgque_bytes { data, len: bytes.len() }
    }

    pub fn text(text: Option<&str>) -> pgque_bytes {
        text.map_or(pgque_bytes::NULL, |text| pgque_bytes::new(text.as_bytes()))
    }
}

/// One event as a consumer receives it. Belongs to the messages or the batch that it came from.
pub struct pgque_message {
    /// Core's message, without a copy: whoever makes this keeps it alive for as long.
    pub content: *const Message,
    client: Option<pgque_client>,
}

impl pgque_message {
    /// `client` is that of the transaction, in transactional mode.
    pub fn new(content: &Message, client: Option<&Client>) -> pgque_message {
        pgque_message { content, client: client.cloned().map(pgque_client::lent) }
    }
}

/// The messages of one batch. Any thread may read them.
pub struct pgque_messages {
    views: Vec<pgque_message>,
    /// What the views point to.
    _contents: Vec<Message>,
}

impl pgque_messages {
    pub fn new(contents: Vec<Message>) -> pgque_messages {
        let views = contents.iter().map(|message| pgque_message::new(message, None)).collect();
        pgque_messages { views, _contents: contents }
    }
}

/// How many messages; 0 for NULL. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_messages_count(messages: Option<&pgque_messages>) -> usize {
    messages.map_or(0, |m| m.views.len())
}

/// One message, or NULL beyond the last. Lives as long as the messages. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_messages_get(messages: Option<&pgque_messages>, index: usize) -> *const pgque_message {
    messages.and_then(|m| m.views.get(index)).map_or(ptr::null(), ptr::from_ref)
}

/// Frees the messages and with them every view into them. NULL is fine. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_messages_free(messages: Option<Box<pgque_messages>>) {
    drop(messages);
}

/// Unique within the queue; kept when the message is retried. 0 for NULL. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_message_id(message: Option<&pgque_message>) -> i64 {
    ffi::message(message).map_or(0, |m| m.msg_id)
}

/// The batch to acknowledge. 0 for NULL. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_message_batch_id(message: Option<&pgque_message>) -> i64 {
    ffi::message(message).map_or(0, |m| m.batch_id)
}

/// The type; NULL when the producer stored NULL. A view into the message. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_message_type(message: Option<&pgque_message>) -> pgque_bytes {
    text(message, |m| m.event_type.as_deref())
}

/// The stored text, usually JSON; NULL for SQL NULL. A view into the message. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_message_payload(message: Option<&pgque_message>) -> pgque_bytes {
    text(message, |m| m.payload.as_deref())
}

/// `extra1` to `extra4` by its number from 1; NULL for SQL NULL or another number. A view into the message. Never
/// blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_message_extra(message: Option<&pgque_message>, number: usize) -> pgque_bytes {
    text(message, |m| m.extra.get(number.checked_sub(1)?)?.as_deref())
}

/// How often the message was retried; false, and nothing written, on its first delivery. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_message_retry_count(message: Option<&pgque_message>, retry_count: *mut i32) -> bool {
    let count = ffi::message(message).and_then(|m| m.retry_count);
    count.inspect(|n| put(retry_count, *n)).is_some()
}

/// The number of this delivery, from 1, as far as retries count. 0 for NULL. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_message_attempt(message: Option<&pgque_message>) -> i64 {
    ffi::message(message).map_or(0, Message::attempt)
}

/// When the producing transaction began, in microseconds since 1970. 0 for NULL. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_message_created_at_us(message: Option<&pgque_message>) -> i64 {
    ffi::message(message).map_or(0, |m| m.created_at.as_unix_micros())
}

/// In transactional mode, the client of the transaction that the effects of the message's handler belong to; NULL
/// otherwise, and in hooks. Begin, commit, rollback and close answer `conflict`. Belongs to the message, and is for
/// use until its handler returns, or the message is judged; never to be freed. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_message_client(message: Option<&pgque_message>) -> *const pgque_client {
    message.and_then(|m| m.client.as_ref()).map_or(ptr::null(), ptr::from_ref)
}

fn text(message: Option<&pgque_message>, field: impl FnOnce(&Message) -> Option<&str>) -> pgque_bytes {
    pgque_bytes::text(ffi::message(message).and_then(field))
}

/// All of a message at once, for languages in which a call costs more than a copy. Grows at its end only.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pgque_message_fields {
    pub msg_id: i64,
    pub batch_id: i64,
    pub created_at_us: i64,
    pub event_type: pgque_bytes,
    pub payload: pgque_bytes,
    /// `extra1` to `extra4`.
    pub extra: [pgque_bytes; 4],
    pub retry_count: i32,
    /// False on the first delivery, when there is no retry count.
    pub has_retry_count: bool,
}

/// Fills in the fields of a message; `fields_size` is `sizeof(pgque_message_fields)`, by which the library knows
/// the header that the program was compiled with. False, and nothing written, if a pointer is NULL. The views live
/// as long as the message. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_message_view(
    message: Option<&pgque_message>,
    fields: *mut pgque_message_fields,
    fields_size: usize,
) -> bool {
    let Some(message) = ffi::message(message).filter(|_| !fields.is_null()) else {
        return false;
    };
    let view = pgque_message_fields {
        msg_id: message.msg_id,
        batch_id: message.batch_id,
        created_at_us: message.created_at.as_unix_micros(),
        event_type: pgque_bytes::text(message.event_type.as_deref()),
        payload: pgque_bytes::text(message.payload.as_deref()),
        extra: message.extra.each_ref().map(|e| pgque_bytes::text(e.as_deref())),
        retry_count: message.retry_count.unwrap_or_default(),
        has_retry_count: message.retry_count.is_some(),
    };
    put_sized(fields, fields_size, view);
    true
}

/// An event to send with everything it can have. One thread at a time.
#[derive(Default)]
pub struct pgque_event(Event);

impl pgque_event {
    pub fn inner(&self) -> &Event {
        &self.0
    }
}

/// An event of type `default` with the JSON payload `null`, to be freed by `pgque_event_free`. Any thread; never
/// blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_event_new() -> Box<pgque_event> {
    Box::default()
}

/// Sets the type; NULL means `default`. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_event_set_type(
    event: Option<&mut pgque_event>,
    event_type: *const c_char,
) -> Option<Box<pgque_error>> {
    set("event_set_type", event, |door, event| {
        event.event_type = door.maybe_text(event_type, "event_type")?.map(str::to_owned);
        Ok(())
    })
}

/// Sets the payload to JSON text, which is checked when the event is sent. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_event_set_payload(
    event: Option<&mut pgque_event>,
    payload: *const c_char,
    payload_len: usize,
) -> Option<Box<pgque_error>> {
    set("event_set_payload", event, |door, event| {
        event.payload = Payload::Json(door.body(payload, payload_len, "payload")?.to_owned());
        Ok(())
    })
}

/// Sets the payload to any text, stored byte for byte; NULL is SQL NULL. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_event_set_text(
    event: Option<&mut pgque_event>,
    payload: *const c_char,
    payload_len: usize,
) -> Option<Box<pgque_error>> {
    set("event_set_text", event, |door, event| {
        event.payload = Payload::Text(door.maybe_body(payload, payload_len, "payload")?.map(str::to_owned));
        Ok(())
    })
}

/// Sets `extra1` to `extra4` by its number from 1; NULL is SQL NULL. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_event_set_extra(
    event: Option<&mut pgque_event>,
    number: usize,
    extra: *const c_char,
    extra_len: usize,
) -> Option<Box<pgque_error>> {
    set("event_set_extra", event, |door, event| {
        let field = number.checked_sub(1).and_then(|i| event.extra.get_mut(i));
        let field = field.ok_or_else(|| pgque::Error::invalid(door.0, "number must be from 1 to 4"))?;
        *field = door.maybe_body(extra, extra_len, "extra")?.map(str::to_owned);
        Ok(())
    })
}

impl Door {
    pub fn json_event(self, event_type: *const c_char, payload: *const c_char, payload_len: usize) -> Result<Event> {
        let payload = Payload::Json(self.body(payload, payload_len, "payload")?.to_owned());
        self.event(event_type, payload)
    }

    pub fn text_event(self, event_type: *const c_char, payload: *const c_char, payload_len: usize) -> Result<Event> {
        let payload = Payload::Text(self.maybe_body(payload, payload_len, "payload")?.map(str::to_owned));
        self.event(event_type, payload)
    }

    fn event(self, event_type: *const c_char, payload: Payload) -> Result<Event> {
        let event_type = self.maybe_text(event_type, "event_type")?.map(str::to_owned);
        Ok(Event { event_type, payload, ..Event::default() })
    }
}

fn set(op: &'static str, event: Option<&mut pgque_event>, set: impl FnOnce(Door, &mut Event) -> Result<()>) -> Failure {
    door(op, |door| set(door, &mut door.required(event, "event")?.0))
}

/// Frees an event; it may be sent any number of times before. NULL is fine. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_event_free(event: Option<Box<pgque_event>>) {
    drop(event);
}

/// A NOTIFY that arrived. Any thread may read it.
pub struct pgque_notification(pub Notification);

/// The channel; NULL for NULL. A view into the notification. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_notification_channel(notification: Option<&pgque_notification>) -> pgque_bytes {
    pgque_bytes::text(notification.map(|n| n.0.channel.as_str()))
}

/// The payload, which may be empty; NULL for NULL. A view into the notification. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_notification_payload(notification: Option<&pgque_notification>) -> pgque_bytes {
    pgque_bytes::text(notification.map(|n| n.0.payload.as_str()))
}

/// The server process that notified; 0 for NULL. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_notification_process_id(notification: Option<&pgque_notification>) -> i32 {
    notification.map_or(0, |n| n.0.process_id)
}

/// Frees a notification. NULL is fine. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_notification_free(notification: Option<Box<pgque_notification>>) {
    drop(notification);
}
