//! What is received and what is sent, and the decoding of result rows.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Error, Kind, Result};
use crate::executor::Rows;

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

/// An event to send.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// `None` and the empty string mean `default`.
    pub event_type: Option<String>,
    pub payload: Payload,
    /// `extra1` to `extra4`.
    pub extra: [Option<String>; 4],
}

/// The body of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// JSON text; stored as PostgreSQL's `jsonb` prints it.
    Json(String),
    /// Any text, stored byte for byte; `None` is SQL NULL.
    Text(Option<String>),
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

    pub(crate) fn messages(&self) -> Result<Vec<Message>> {
        match self {
            Rows::Own(rows) => rows.iter().map(binary_message).collect(),
            Rows::Text(rows) => (0..rows.len()).map(|row| self.text_message(row)).collect(),
        }
    }

    fn text_message(&self, row: usize) -> Result<Message> {
        let owned = |column| Ok::<_, Error>(self.text(row, column)?.map(str::to_owned));
        let required = |n: Option<i64>| n.ok_or_else(|| undecodable("a message without its ids"));
        Ok(Message {
            msg_id: required(self.number(row, 0)?)?,
            batch_id: required(self.number(row, 1)?)?,
            event_type: owned(2)?,
            payload: owned(3)?,
            retry_count: self.number(row, 4)?,
            created_at: Timestamp(required(self.number(row, 5)?)?),
            extra: [owned(6)?, owned(7)?, owned(8)?, owned(9)?],
        })
    }
}

/// Decodes a row of `receive` in the binary form.
fn binary_message(row: &tokio_postgres::Row) -> Result<Message> {
    let decode = || -> Result<Message, tokio_postgres::Error> {
        let created_at: MicrosFrom2000 = row.try_get(5)?;
        Ok(Message {
            msg_id: row.try_get(0)?,
            batch_id: row.try_get(1)?,
            event_type: row.try_get(2)?,
            payload: row.try_get(3)?,
            retry_count: row.try_get(4)?,
            created_at: Timestamp(created_at.0 + EPOCH_2000_MICROS),
            extra: [row.try_get(6)?, row.try_get(7)?, row.try_get(8)?, row.try_get(9)?],
        })
    };
    decode().map_err(undecodable)
}

/// PostgreSQL counts from 2000-01-01.
pub(crate) const EPOCH_2000_MICROS: i64 = 946_684_800_000_000;

pub(crate) struct MicrosFrom2000(pub(crate) i64);

impl<'a> tokio_postgres::types::FromSql<'a> for MicrosFrom2000 {
    fn from_sql(
        _: &tokio_postgres::types::Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        postgres_protocol::types::timestamp_from_sql(raw).map(MicrosFrom2000)
    }

    tokio_postgres::types::accepts!(TIMESTAMPTZ, TIMESTAMP);
}

fn undecodable(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Internal, "decode", format!("unexpected answer from the server: {why}"))
}
