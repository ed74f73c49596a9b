//! Many messages in little memory, for languages that make objects of them one by one.

use crate::message::{Message, Timestamp};

/// NULL, where a length stands: no text of PostgreSQL's is as long.
const NULL: u32 = u32::MAX;
/// Nothing rare about it.
const NONE: u32 = u32::MAX;
/// So many of the latest types are looked through before one is written down again.
const TYPES_LOOKED_AT: usize = 8;

/// The messages of one answer: their texts one after the other, and beside them what is no text. A tenth of the
/// allocations of as many [`Message`]s, and a fraction of their memory.
#[derive(Debug, Default)]
pub struct Messages {
    text: String,
    slots: Vec<Slot>,
    types: Vec<Place>,
    rare: Vec<Rare>,
    /// From which message on a batch goes, for one answer has hardly more than one.
    batches: Vec<(usize, i64)>,
}

/// Of each message; every byte counts.
#[derive(Debug)]
struct Slot {
    msg_id: i64,
    created_at: Timestamp,
    payload_start: usize,
    payload_length: u32,
    event_type: u32,
    rare: u32,
}

/// Where a text stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: usize,
    length: u32,
}

/// What few messages have.
#[derive(Debug)]
struct Rare {
    retry_count: Option<i32>,
    extra: [Option<String>; 4],
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
        let rare = self.rare.get(slot.rare as usize);
        let batch = self.batches.partition_point(|(first, _)| *first <= index).saturating_sub(1);
        MessageRef {
            msg_id: slot.msg_id,
            batch_id: self.batches.get(batch).map_or(0, |(_, id)| *id),
            event_type: self.types.get(slot.event_type as usize).and_then(|place| self.text(*place)),
            payload: self.text(Place { start: slot.payload_start, length: slot.payload_length }),
            retry_count: rare.and_then(|rare| rare.retry_count),
            created_at: slot.created_at,
            extra: rare.map_or([None; 4], |rare| rare.extra.each_ref().map(Option::as_deref)),
        }
    }

    pub(crate) fn push(&mut self, message: MessageRef<'_>) {
        if self.batches.last().is_none_or(|(_, id)| *id != message.batch_id) {
            self.batches.push((self.slots.len(), message.batch_id));
        }
        let event_type = self.event_type(message.event_type);
        let payload = self.add(message.payload);
        let rare = self.rare(&message);
        self.slots.push(Slot {
            msg_id: message.msg_id,
            created_at: message.created_at,
            payload_start: payload.start,
            payload_length: payload.length,
            event_type,
            rare,
        });
    }

    /// Gives back what was taken for more.
    pub(crate) fn close(mut self) -> Messages {
        self.text.shrink_to_fit();
        self.slots.shrink_to_fit();
        self
    }

    /// Most batches have few types.
    fn event_type(&mut self, event_type: Option<&str>) -> u32 {
        let known = self.types.iter().rev().take(TYPES_LOOKED_AT).position(|place| self.text(*place) == event_type);
        let index = match known {
            Some(from_behind) => self.types.len() - 1 - from_behind,
            None => {
                let place = self.add(event_type);
                self.types.push(place);
                self.types.len() - 1
            }
        };
        number(index)
    }

    fn rare(&mut self, message: &MessageRef<'_>) -> u32 {
        if message.retry_count.is_none() && message.extra.iter().all(Option::is_none) {
            return NONE;
        }
        let extra = message.extra.map(|text| text.map(str::to_owned));
        self.rare.push(Rare { retry_count: message.retry_count, extra });
        number(self.rare.len() - 1)
    }

    fn add(&mut self, text: Option<&str>) -> Place {
        let start = self.text.len();
        let Some(text) = text else { return Place { start, length: NULL } };
        self.text.push_str(text);
        Place { start, length: number(text.len()) }
    }

    fn text(&self, place: Place) -> Option<&str> {
        match place.length {
            NULL => None,
            length => self.text.get(place.start..place.start + length as usize),
        }
    }
}

/// A server sends no answer of four thousand million messages, and no text of as many bytes.
fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
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
            batch_id: if msg_id < 5 { 7 } else { 8 },
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
