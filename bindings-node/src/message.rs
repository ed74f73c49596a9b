//! Messages as columns: one object for each message would cost more than everything else together.

use napi::bindgen_prelude::BigInt64Array;
use napi_derive::napi;
use pgque::Message;

/// Some messages, column by column.
#[napi(object, object_from_js = false)]
pub struct Columns {
    pub msg_ids: BigInt64Array,
    pub batch_ids: BigInt64Array,
    /// Microseconds since 1970.
    pub created_at: BigInt64Array,
    #[napi(ts_type = "Array<string | null>")]
    pub types: Vec<Option<String>>,
    #[napi(ts_type = "Array<string | null>")]
    pub payloads: Vec<Option<String>>,
    #[napi(ts_type = "Array<number | null>")]
    pub retry_counts: Vec<Option<i32>>,
    /// `extra1` to `extra4`; a column that is null throughout is missing.
    #[napi(ts_type = "Array<Array<string | null> | null>")]
    pub extras: Vec<Option<Vec<Option<String>>>>,
}

impl Columns {
    pub fn new(messages: &[Message]) -> Columns {
        let ids = |of: fn(&Message) -> i64| BigInt64Array::new(messages.iter().map(of).collect());
        Columns {
            msg_ids: ids(|m| m.msg_id),
            batch_ids: ids(|m| m.batch_id),
            created_at: ids(|m| m.created_at.as_unix_micros()),
            types: messages.iter().map(|m| m.event_type.clone()).collect(),
            payloads: messages.iter().map(|m| m.payload.clone()).collect(),
            retry_counts: messages.iter().map(|m| m.retry_count).collect(),
            extras: (0..4).map(|i| extra(messages, i)).collect(),
        }
    }
}

fn extra(messages: &[Message], number: usize) -> Option<Vec<Option<String>>> {
    let used = messages.iter().any(|m| m.extra[number].is_some());
    used.then(|| messages.iter().map(|m| m.extra[number].clone()).collect())
}
