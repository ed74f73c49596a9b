//! Many messages in little memory, for languages that make objects of them one by one.

use crate::message::{Message, Timestamp};

/// NULL, where a length stands: no text of PostgreSQL's is as long.
const NULL: u32 = u32::MAX;
/// No extra fields.
const NONE: u32 = u32::MAX;

/// The messages of one answer: their texts one after the other, and beside them what is no text. A tenth of the
/// allocations of as many [`Message`]s, and half of their memory.
#[derive(Debug, Default)]
pub struct Messages {
    text: String,
    slots: Vec<Slot>,
    /// Seldom used.
    extras: Vec<[Option<String>; 4]>,
}

#[derive(Debug)]
struct Slot {
    msg_id: i64,
    batch_id: i64,
    created_at: Timestamp,
    event_type: Place,
    payload: Place,
    retry_count: Option<i32>,
    extra: u32,
}

/// Where a text stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: usize,
    length: u32,
}

/// One of [`Messages`]; the fields are those of [`Message`].
#[derive(Clone, Copy, Debug)]
pub struct MessageRef<'a> {
    pub msg_id: i64,
    pub batch_id: i64,
    pub event_type: Option<&'a str>,
    pub payload: Option<&'a str>,
    pub retry_count: Option<i32>,
    pub created_at: Timestamp,
    pub extra: [Option<&'a str>; 4],
}

impl Messages {
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Panics beyond the last, as a slice does.
    pub fn get(&self, index: usize) -> MessageRef<'_> {
        let slot = &self.slots[index];
        let extra = self.extras.get(slot.extra as usize);
        MessageRef {
            msg_id: slot.msg_id,
            batch_id: slot.batch_id,
            event_type: self.text(slot.event_type),
            payload: self.text(slot.payload),
            retry_count: slot.retry_count,
            created_at: slot.created_at,
            extra: extra.map_or([None; 4], |extra| extra.each_ref().map(Option::as_deref)),
        }
    }

    pub(crate) fn push(&mut self, message: MessageRef<'_>) {
        // Most batches have few types, and the same one often follows itself.
        let same = self.slots.last().map(|slot| slot.event_type).filter(|at| self.text(*at) == message.event_type);
        let event_type = same.unwrap_or_else(|| self.add(message.event_type));
        let payload = self.add(message.payload);
        let extra = match message.extra.iter().any(Option::is_some) {
            false => NONE,
            true => {
                self.extras.push(message.extra.map(|text| text.map(str::to_owned)));
                u32::try_from(self.extras.len() - 1).unwrap_or(NONE)
            }
        };
        let MessageRef { msg_id, batch_id, created_at, retry_count, .. } = message;
        self.slots.push(Slot { msg_id, batch_id, created_at, event_type, payload, retry_count, extra });
    }

    /// Gives back what was taken for more.
    pub(crate) fn close(mut self) -> Messages {
        self.text.shrink_to_fit();
        self.slots.shrink_to_fit();
        self
    }

    fn add(&mut self, text: Option<&str>) -> Place {
        let start = self.text.len();
        let Some(text) = text else { return Place { start, length: NULL } };
        self.text.push_str(text);
        Place { start, length: u32::try_from(text.len()).unwrap_or(NULL) }
    }

    fn text(&self, place: Place) -> Option<&str> {
        match place.length {
            NULL => None,
            length => self.text.get(place.start..place.start + length as usize),
        }
    }
}

impl<'a> From<&'a Message> for MessageRef<'a> {
    fn from(message: &'a Message) -> MessageRef<'a> {
        MessageRef {
            msg_id: message.msg_id,
            batch_id: message.batch_id,
            event_type: message.event_type.as_deref(),
            payload: message.payload.as_deref(),
            retry_count: message.retry_count,
            created_at: message.created_at,
            extra: message.extra.each_ref().map(Option::as_deref),
        }
    }
}

impl From<MessageRef<'_>> for Message {
    fn from(message: MessageRef<'_>) -> Message {
        Message {
            msg_id: message.msg_id,
            batch_id: message.batch_id,
            event_type: message.event_type.map(str::to_owned),
            payload: message.payload.map(str::to_owned),
            retry_count: message.retry_count,
            created_at: message.created_at,
            extra: message.extra.map(|text| text.map(str::to_owned)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(msg_id: i64, event_type: Option<&str>, payload: Option<&str>) -> Message {
        Message {
            msg_id,
            batch_id: 7,
            event_type: event_type.map(str::to_owned),
            payload: payload.map(str::to_owned),
            retry_count: (msg_id % 2 == 0).then_some(3),
            created_at: Timestamp::from_unix_micros(msg_id),
            extra: [None, (msg_id == 2).then(|| "second".to_owned()), None, None],
        }
    }

    #[test]
    fn what_goes_in_comes_out() {
        let messages = [
            message(1, Some("a"), Some("{}")),
            message(2, Some("a"), None),
            message(3, None, Some("")),
            message(4, None, Some("é\u{1f600}")),
            message(5, Some(""), Some("x")),
            message(6, Some("a"), Some("y")),
        ];
        let mut packed = Messages::default();
        messages.iter().for_each(|message| packed.push(message.into()));
        let packed = packed.close();
        assert_eq!(packed.len(), messages.len());
        for (index, message) in messages.iter().enumerate() {
            assert_eq!(&Message::from(packed.get(index)), message);
        }
    }
}
