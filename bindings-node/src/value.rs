//! Arguments and result cells.

use napi::bindgen_prelude::{BigInt, Buffer, Either, Null, ToNapiValue};
use napi::{Result, sys};
use napi_derive::napi;
use pgque::{Event, Interval, Payload, ResultSet, Value, Verdict};

/// Seconds, or PostgreSQL interval text.
#[napi]
pub type Span = Either<f64, String>;

pub fn interval(span: Span) -> Interval {
    match span {
        Either::A(seconds) => Interval::Seconds(seconds),
        Either::B(text) => Interval::Text(text),
    }
}

/// What becomes of a message: `ack`, `retry` or `dead`.
pub fn verdict(op: &'static str, name: &str, after: Option<Span>, reason: Option<String>) -> pgque::Result<Verdict> {
    match name {
        "ack" => Ok(Verdict::Ack),
        "retry" => Ok(Verdict::Retry { after: after.map(interval), reason }),
        "dead" => Ok(Verdict::Dead { reason }),
        other => Err(pgque::Error::invalid(op, format!("a verdict is 'ack', 'retry' or 'dead', not '{other}'"))),
    }
}

/// What is sent. `text` says that the payload is stored as it is; else it is JSON text.
pub fn event(event_type: Option<String>, payload: Option<String>, text: bool, extra: Vec<Option<String>>) -> Event {
    let payload = match (text, payload) {
        (true, payload) => Payload::Text(payload),
        (false, Some(json)) => Payload::Json(json),
        (false, None) => Payload::default(),
    };
    let mut event = Event { event_type, payload, ..Event::default() };
    for (slot, value) in event.extra.iter_mut().zip(extra) {
        *slot = value;
    }
    event
}

/// An id; `lib/arguments.ts` has seen to it that it fits.
pub fn id(id: BigInt) -> i64 {
    id.get_i64().0
}

/// The answer to a statement.
#[napi(object, object_from_js = false)]
pub struct RawResultSet {
    pub columns: Vec<String>,
    #[napi(ts_type = "Array<Array<unknown>>")]
    pub rows: Vec<Vec<Cell>>,
    #[napi(ts_type = "number | null")]
    pub rows_affected: Either<i64, Null>,
}

impl From<ResultSet> for RawResultSet {
    fn from(set: ResultSet) -> RawResultSet {
        RawResultSet {
            columns: set.columns,
            rows: set.rows.into_iter().map(|row| row.into_iter().map(Cell).collect()).collect(),
            rows_affected: set.rows_affected.map_or(Either::B(Null), |n| Either::A(n as i64)),
        }
    }
}

/// A `timestamptz`, told apart from a number by being an object.
#[napi(object, object_from_js = false)]
pub struct Instant {
    pub micros: BigInt,
}

/// One cell: null, boolean, bigint, number, string, Buffer, Instant, or an array of cells.
pub struct Cell(Value);

impl ToNapiValue for Cell {
    unsafe fn to_napi_value(env: sys::napi_env, cell: Cell) -> Result<sys::napi_value> {
        // SAFETY: `env` is handed on as it was given to us, on the same thread.
        unsafe {
            match cell.0 {
                Value::Bool(b) => bool::to_napi_value(env, b),
                Value::Int(n) => BigInt::to_napi_value(env, BigInt::from(n)),
                Value::Float(n) => f64::to_napi_value(env, n),
                Value::Text(t) | Value::Json(t) | Value::Numeric(t) | Value::Special(_, t) => {
                    String::to_napi_value(env, t)
                }
                Value::Bytes(bytes) => Buffer::to_napi_value(env, bytes.into()),
                Value::Timestamp(t) => {
                    Instant::to_napi_value(env, Instant { micros: BigInt::from(t.as_unix_micros()) })
                }
                Value::Array(items) => {
                    let cells: Vec<Cell> = items.into_iter().map(Cell).collect();
                    Vec::to_napi_value(env, cells)
                }
                Value::Null => Null::to_napi_value(env, Null),
                // The enum may grow; an unknown value is told rather than guessed.
                other => Err(napi::Error::from_reason(format!("no conversion for {other:?}"))),
            }
        }
    }
}
