//! Which message of a batch comes next, for several handlers at once.

use std::collections::{HashMap, VecDeque};

use super::options::OrderedBy;
use crate::message::Message;

/// The messages that nobody has taken yet. Those of one key are given out one after the other.
///
/// A lane that finds nothing may end for good: what becomes free later, it becomes by another lane's settling, which
/// takes it itself.
#[derive(Debug)]
pub(super) enum Lanes {
    /// In order, from here on.
    Free {
        next: usize,
        count: usize,
    },
    Keyed(Keyed),
}

#[derive(Debug)]
pub(super) struct Keyed {
    /// Of each key, what is left.
    queues: Vec<VecDeque<usize>>,
    /// The keys of which no message is being handled.
    ready: VecDeque<usize>,
    /// The key of each message.
    key: Vec<usize>,
}

impl Lanes {
    pub(super) fn new(messages: &[Message], ordered_by: Option<OrderedBy>) -> Lanes {
        match ordered_by {
            None => Lanes::Free { next: 0, count: messages.len() },
            Some(by) => Lanes::Keyed(Keyed::new(messages, by)),
        }
    }

    /// The next message that may be handled now.
    pub(super) fn take(&mut self) -> Option<usize> {
        match self {
            Lanes::Free { next, count } => (*next < *count).then(|| {
                *next += 1;
                *next - 1
            }),
            Lanes::Keyed(keyed) => {
                let key = keyed.ready.pop_front()?;
                keyed.queues[key].pop_front()
            }
        }
    }

    /// The message is done with: the next of its key is free.
    pub(super) fn settle(&mut self, index: usize) {
        if let Lanes::Keyed(keyed) = self {
            let key = keyed.key[index];
            if !keyed.queues[key].is_empty() {
                // First, for it has waited the longest, and so that this lane goes on with it.
                keyed.ready.push_front(key);
            }
        }
    }
}

impl Keyed {
    fn new(messages: &[Message], by: OrderedBy) -> Keyed {
        let mut known: HashMap<&str, usize> = HashMap::new();
        let mut keyed = Keyed { queues: vec![], ready: VecDeque::new(), key: Vec::with_capacity(messages.len()) };
        for (index, message) in messages.iter().enumerate() {
            let value = match by {
                OrderedBy::Type => message.event_type.as_deref(),
                OrderedBy::Extra(number) => message.extra[number].as_deref(),
            };
            let fresh = keyed.queues.len();
            // NULL is nobody's key: such messages have no order among each other.
            let key = value.map_or(fresh, |value| *known.entry(value).or_insert(fresh));
            if key == fresh {
                keyed.queues.push(VecDeque::new());
                keyed.ready.push_back(key);
            }
            keyed.queues[key].push_back(index);
            keyed.key.push(key);
        }
        keyed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Timestamp;

    fn messages(keys: &[Option<&str>]) -> Vec<Message> {
        let message = |(id, key): (i64, &Option<&str>)| Message {
            msg_id: id,
            batch_id: 1,
            event_type: key.map(str::to_owned),
            payload: None,
            retry_count: None,
            created_at: Timestamp::from_unix_micros(0),
            extra: Default::default(),
        };
        (0..).zip(keys).map(message).collect()
    }

    #[test]
    fn without_a_key_they_come_in_order() {
        let mut lanes = Lanes::new(&messages(&[None, Some("a"), Some("a")]), None);
        assert_eq!([lanes.take(), lanes.take(), lanes.take(), lanes.take()], [Some(0), Some(1), Some(2), None]);
    }

    #[test]
    fn one_key_is_handled_by_one_lane_at_a_time() {
        let batch = messages(&[Some("a"), Some("a"), Some("b"), None, None, Some("b")]);
        let mut lanes = Lanes::new(&batch, Some(OrderedBy::Type));
        let first: Vec<_> = std::iter::from_fn(|| lanes.take()).collect();
        assert_eq!(first, [0, 2, 3, 4], "the first of each key, and those without one");
        lanes.settle(2);
        assert_eq!(lanes.take(), Some(5));
        assert_eq!(lanes.take(), None);
        lanes.settle(0);
        assert_eq!(lanes.take(), Some(1));
        [1, 3, 4, 5].into_iter().for_each(|i| lanes.settle(i));
        assert_eq!(lanes.take(), None);
    }
}
