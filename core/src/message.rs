//! What is received and what is sent, and the decoding of result rows.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_postgres::types::{FromSql, Type};

use crate::error::{Error, Kind, Result};
use crate::executor::{Rows, check_nul};
use crate::packed::MessageRef;
use crate::payload::check_json;

/// A point in time with the microsecond precision of PostgreSQL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// By this machine's clock.
    pub fn now() -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    pub fn from_unix_micros(micros: i64) -> Timestamp {
        Timestamp(micros)
    }

    /// Microseconds since 1970-01-01T00:00:00Z; negative before.
    pub fn as_unix_micros(self) -> i64 {
        self.0
    }
}

impl From<Timestamp> for SystemTime {
    fn from(t: Timestamp) -> SystemTime {
        let distance = Duration::from_micros(t.0.unsigned_abs());
        match t.0 >= 0 {
            true => UNIX_EPOCH + distance,
            false => UNIX_EPOCH - distance,
        }
    }
}

/// One event as a consumer receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Unique within the queue; kept when the message is retried.
    pub msg_id: i64,
    /// The batch to acknowledge.
    pub batch_id: i64,
    /// `None` when the producer stored NULL, which is not the empty string.
    pub event_type: Option<String>,
    /// The stored text, usually JSON; `None` for SQL NULL.
    pub payload: Option<String>,
    /// How often the message was retried; `None` on first delivery.
    pub retry_count: Option<i32>,
    /// When the producing transaction began.
    pub created_at: Timestamp,
    /// `extra1` to `extra4`.
    pub extra: [Option<String>; 4],
}

impl Message {
    /// Which delivery this is, from 1, as far as retries count.
    pub fn attempt(&self) -> i64 {
        i64::from(self.retry_count.unwrap_or(0)) + 1
    }

    /// The payload parsed as JSON. NULL parses as JSON `null`.
    pub fn json(&self) -> Result<serde_json::Value> {
        let text = self.payload.as_deref().unwrap_or("null");
        serde_json::from_str(text).map_err(|e| {
            let message = format!("payload of message {} is not JSON: {e}", self.msg_id);
            Error::invalid("json", message)
        })
    }
}

/// The type of an event that is sent without one.
pub(crate) const DEFAULT_TYPE: &str = "default";

/// An event to send.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// `None` and the empty string mean `default`.
    pub event_type: Option<String>,
    pub payload: Payload,
    /// `extra1` to `extra4`.
    pub extra: [Option<String>; 4],
}

impl Event {
    /// What can be known to be wrong before the server sees it.
    pub(crate) fn check(&self, op: &'static str, queue: &str) -> Result<()> {
        check_nul(op, "queue", queue)?;
        check_nul(op, "type", self.event_type.as_deref().unwrap_or_default())?;
        let extras = ["extra1", "extra2", "extra3", "extra4"].into_iter().zip(&self.extra);
        for (name, extra) in extras {
            check_nul(op, name, extra.as_deref().unwrap_or_default())?;
        }
        match &self.payload {
            Payload::Json(text) => check_json(op, || "payload".into(), text),
            Payload::Text(text) => check_nul(op, "payload", text.as_deref().unwrap_or_default()),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let texts = self.extra.iter().chain([&self.event_type]);
        self.payload.text().map_or(0, str::len) + texts.flatten().map(String::len).sum::<usize>()
    }

    pub(crate) fn stored_type(&self) -> &str {
        stored_type(self.event_type.as_deref())
    }

    /// Whether it has no extra fields.
    pub(crate) fn is_plain(&self) -> bool {
        self.extra.iter().all(Option::is_none)
    }

    /// Whether one batch can have both, if they are for the same queue.
    pub(crate) fn is_like(&self, other: &Event) -> bool {
        let same = self.event_type == other.event_type && self.payload.is_json() == other.payload.is_json();
        same && self.is_plain() && other.is_plain()
    }
}

/// The type that an event sent with this one is stored with.
pub(crate) fn stored_type(event_type: Option<&str>) -> &str {
    event_type.filter(|t| !t.is_empty()).unwrap_or(DEFAULT_TYPE)
}

/// The body of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// JSON text; stored as PostgreSQL's `jsonb` prints it.
    Json(String),
    /// Any text, stored byte for byte; `None` is SQL NULL.
    Text(Option<String>),
}

impl Payload {
    pub(crate) fn is_json(&self) -> bool {
        matches!(self, Payload::Json(_))
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Payload::Json(text) => Some(text),
            Payload::Text(text) => text.as_deref(),
        }
    }
}

impl Default for Payload {
    fn default() -> Payload {
        Payload::Json("null".into())
    }
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        match self {
            Rows::Own(rows) => rows.len(),
            Rows::Text(rows) => rows.len(),
        }
    }

    /// A text column.
    pub(crate) fn text(&self, row: usize, column: usize) -> Result<Option<&str>> {
        match self {
            Rows::Own(rows) => rows[row].try_get(column).map_err(undecodable),
            Rows::Text(rows) => {
                let row = rows.get(row).and_then(|r| r.get(column));
                let cell = row.ok_or_else(|| undecodable(format!("column {column} is missing")))?;
                Ok(cell.as_deref())
            }
        }
    }

    /// A text column that holds a number, or NULL.
    pub(crate) fn number<T: std::str::FromStr>(&self, row: usize, column: usize) -> Result<Option<T>> {
        let text = self.text(row, column)?;
        text.map(|t| t.parse().map_err(|_| undecodable(format!("{t:?} is not a number")))).transpose()
    }

    /// A transaction's id, in the binary form.
    pub(crate) fn transaction(&self, row: usize, column: usize) -> Result<u64> {
        match self {
            Rows::Own(rows) => rows[row].try_get(column).map(|Transaction(id)| id).map_err(undecodable),
            Rows::Text(_) => Err(undecodable("a transaction's id as text")),
        }
    }

    /// What the rows take, roughly.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Rows::Own(rows) => rows.iter().map(tokio_postgres::Row::raw_size_bytes).sum(),
            Rows::Text(rows) => rows.iter().flatten().flatten().map(String::len).sum(),
        }
    }

    /// A message's id, in the binary form.
    pub(crate) fn id(&self, row: usize) -> Result<i64> {
        match self {
            Rows::Own(rows) => rows[row].try_get(0).map_err(undecodable),
            Rows::Text(_) => Err(undecodable("an id as text")),
        }
    }

    pub(crate) fn messages(&self) -> Result<Vec<Message>> {
        match self {
            Rows::Own(rows) => rows.iter().map(|row| binary_message(row).map(Message::from)).collect(),
            Rows::Text(rows) => (0..rows.len()).map(|row| self.text_message(row).map(Message::from)).collect(),
        }
    }

    pub(crate) fn text_message(&self, row: usize) -> Result<MessageRef<'_>> {
        let text = |column| self.text(row, column);
        let required = |n: Option<i64>| n.ok_or_else(|| undecodable("a message without its ids"));
        Ok(MessageRef {
            msg_id: required(self.number(row, 0)?)?,
            batch_id: required(self.number(row, 1)?)?,
            event_type: text(2)?,
            payload: text(3)?,
            retry_count: self.number(row, 4)?,
            created_at: Timestamp(required(self.number(row, 5)?)?),
            extra: [text(6)?, text(7)?, text(8)?, text(9)?],
        })
    }
}

/// A row in the binary form. A trait, for nobody but the driver can make one of its rows.
pub(crate) trait Cells {
    fn cell<'a, T: FromSql<'a>>(&'a self, column: usize) -> Result<T>;
}

impl Cells for tokio_postgres::Row {
    fn cell<'a, T: FromSql<'a>>(&'a self, column: usize) -> Result<T> {
        self.try_get(column).map_err(undecodable)
    }
}

/// Decodes a row of `receive` in the binary form.
pub(crate) fn binary_message(row: &impl Cells) -> Result<MessageRef<'_>> {
    let created_at: MicrosFrom2000 = row.cell(5)?;
    Ok(MessageRef {
        msg_id: row.cell(0)?,
        batch_id: row.cell(1)?,
        event_type: row.cell(2)?,
        payload: row.cell(3)?,
        retry_count: row.cell(4)?,
        created_at: Timestamp(created_at.0.saturating_add(EPOCH_2000_MICROS)),
        extra: [row.cell(6)?, row.cell(7)?, row.cell(8)?, row.cell(9)?],
    })
}

/// PostgreSQL counts from 2000-01-01.
pub(crate) const EPOCH_2000_MICROS: i64 = 946_684_800_000_000;

pub(crate) struct MicrosFrom2000(pub(crate) i64);

impl<'a> FromSql<'a> for MicrosFrom2000 {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        postgres_protocol::types::timestamp_from_sql(raw).map(MicrosFrom2000)
    }

    tokio_postgres::types::accepts!(TIMESTAMPTZ, TIMESTAMP);
}

struct Transaction(u64);

impl<'a> FromSql<'a> for Transaction {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Transaction(u64::from_be_bytes(raw.try_into()?)))
    }

    tokio_postgres::types::accepts!(XID8);
}

fn undecodable(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Internal, "decode", format!("unexpected answer from the server: {why}"))
}

/// A row of `receive` as it came, by the columns' own types.
#[cfg(any(test, feature = "fuzzing"))]
struct Raw<'a>(&'a [Option<&'a [u8]>]);

#[cfg(any(test, feature = "fuzzing"))]
impl Cells for Raw<'_> {
    fn cell<'a, T: FromSql<'a>>(&'a self, column: usize) -> Result<T> {
        const NUMBERS: [(usize, Type); 4] = [(0, Type::INT8), (1, Type::INT8), (4, Type::INT4), (5, Type::TIMESTAMPTZ)];
        let found = NUMBERS.into_iter().find(|(at, _)| *at == column);
        let raw = *self.0.get(column).ok_or_else(|| undecodable("a column is missing"))?;
        T::from_sql_nullable(&found.map_or(Type::TEXT, |(_, t)| t), raw).map_err(undecodable)
    }
}

/// For `core/fuzz`.
#[cfg(feature = "fuzzing")]
pub fn binary_message_of(cells: &[Option<&[u8]>]) -> Result<Message> {
    binary_message(&Raw(cells)).map(Message::from)
}

/// For `core/fuzz`: a row in the text form.
#[cfg(feature = "fuzzing")]
pub fn text_message_of(cells: Vec<Option<String>>) -> Result<Message> {
    Rows::Text(vec![cells]).text_message(0).map(Message::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(created_at: i64) -> Result<Message> {
        let (one, created_at) = (1i64.to_be_bytes(), created_at.to_be_bytes());
        let text = Some(&b"x"[..]);
        let cells = [Some(&one[..]), Some(&one[..]), text, None, None, Some(&created_at[..]), text, None, None, None];
        binary_message(&Raw(&cells)).map(Message::from)
    }

    #[test]
    fn a_time_that_is_infinite_is_the_last_there_is() {
        assert_eq!(row(i64::MAX).unwrap().created_at, Timestamp(i64::MAX));
        assert_eq!(row(0).unwrap().created_at, Timestamp(EPOCH_2000_MICROS));
    }
}
