//! `pgque_result`: columns and rows, for raw statements and for what the engine tells about itself.

use std::ffi::c_char;
use std::ptr;

use pgque::{ResultSet, Value};

use crate::error::pgque_error;
use crate::ffi::{self, door, put};
use crate::message::pgque_bytes;

pub const PGQUE_VALUE_NULL: i32 = 0;
pub const PGQUE_VALUE_BOOL: i32 = 1;
pub const PGQUE_VALUE_INT: i32 = 2;
pub const PGQUE_VALUE_FLOAT: i32 = 3;
pub const PGQUE_VALUE_TEXT: i32 = 4;
/// `json` and `jsonb`, as text.
pub const PGQUE_VALUE_JSON: i32 = 5;
/// `numeric`, as decimal text.
pub const PGQUE_VALUE_NUMERIC: i32 = 6;
pub const PGQUE_VALUE_BYTES: i32 = 7;
/// `timestamptz`, in microseconds since 1970.
pub const PGQUE_VALUE_TIMESTAMP: i32 = 8;
pub const PGQUE_VALUE_ARRAY: i32 = 9;
/// A kind that this version of the header does not know.
pub const PGQUE_VALUE_UNKNOWN: i32 = -1;

/// Columns and rows. Any thread may read them.
pub struct pgque_result(ResultSet);

impl From<ResultSet> for pgque_result {
    fn from(result: ResultSet) -> pgque_result {
        pgque_result(result)
    }
}

/// One cell. Belongs to the result that it came from.
pub struct pgque_value {
    /// Never made: a pointer to it is one to core's value, without a copy.
    _opaque: (),
}

impl pgque_value {
    fn of(value: Option<&Value>) -> *const pgque_value {
        value.map_or(ptr::null(), |value| ptr::from_ref(value).cast())
    }
}

/// How many columns; 0 for NULL, and for a statement without a result. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_result_column_count(result: Option<&pgque_result>) -> usize {
    result.map_or(0, |r| r.0.columns.len())
}

/// The name of a column; NULL beyond the last. A view into the result. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_result_column_name(result: Option<&pgque_result>, column: usize) -> pgque_bytes {
    pgque_bytes::text(result.and_then(|r| r.0.columns.get(column)).map(String::as_str))
}

/// How many rows; 0 for NULL. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_result_row_count(result: Option<&pgque_result>) -> usize {
    result.map_or(0, |r| r.0.rows.len())
}

/// How many rows were returned or changed; false, and nothing written, where the statement counts none. Never
/// blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_result_rows_affected(result: Option<&pgque_result>, rows_affected: *mut u64) -> bool {
    let rows = result.and_then(|r| r.0.rows_affected);
    rows.inspect(|n| put(rows_affected, *n)).is_some()
}

/// One cell; NULL beyond the last row or column. SQL NULL is a value of the kind `PGQUE_VALUE_NULL`. Lives as long
/// as the result. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_result_value(result: Option<&pgque_result>, row: usize, column: usize) -> *const pgque_value {
    pgque_value::of(result.and_then(|r| r.0.rows.get(row)?.get(column)))
}

/// One cell by the name of its column; writes NULL if there is no such row or column. Lives as long as the result.
/// Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_result_get(
    result: Option<&pgque_result>,
    row: usize,
    column: *const c_char,
    value: *mut *const pgque_value,
) -> Option<Box<pgque_error>> {
    door("result_get", |door| {
        let result = door.required(result, "result")?;
        put(value, pgque_value::of(result.0.get(row, door.text(column, "column")?)));
        Ok(())
    })
}

/// Frees a result and with it every view into it. NULL is fine. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_result_free(result: Option<Box<pgque_result>>) {
    drop(result);
}

/// One of `PGQUE_VALUE_*`; `PGQUE_VALUE_NULL` for NULL. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_value_kind(value: *const pgque_value) -> i32 {
    match ffi::value(value) {
        None | Some(Value::Null) => PGQUE_VALUE_NULL,
        Some(Value::Bool(_)) => PGQUE_VALUE_BOOL,
        Some(Value::Int(_)) => PGQUE_VALUE_INT,
        Some(Value::Float(_)) => PGQUE_VALUE_FLOAT,
        // C has no classes for dates and their like.
        Some(Value::Text(_) | Value::Special(..)) => PGQUE_VALUE_TEXT,
        Some(Value::Json(_)) => PGQUE_VALUE_JSON,
        Some(Value::Numeric(_)) => PGQUE_VALUE_NUMERIC,
        Some(Value::Bytes(_)) => PGQUE_VALUE_BYTES,
        Some(Value::Timestamp(_)) => PGQUE_VALUE_TIMESTAMP,
        Some(Value::Array(_)) => PGQUE_VALUE_ARRAY,
        Some(_) => PGQUE_VALUE_UNKNOWN,
    }
}

/// A value of the kind bool; false, and nothing written, for others. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_value_bool(value: *const pgque_value, out: *mut bool) -> bool {
    match ffi::value(value) {
        Some(Value::Bool(b)) => put(out, *b),
        _ => return false,
    }
    true
}

/// A value of the kind int, or the microseconds of a timestamp; false, and nothing written, for others. Never
/// blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_value_int64(value: *const pgque_value, out: *mut i64) -> bool {
    match ffi::value(value) {
        Some(Value::Int(n)) => put(out, *n),
        Some(Value::Timestamp(t)) => put(out, t.as_unix_micros()),
        _ => return false,
    }
    true
}

/// A value of the kind float; false, and nothing written, for others. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_value_double(value: *const pgque_value, out: *mut f64) -> bool {
    match ffi::value(value) {
        Some(Value::Float(n)) => put(out, *n),
        _ => return false,
    }
    true
}

/// A value of the kinds text, json, numeric or bytes; NULL for others. A view into the result. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_value_bytes(value: *const pgque_value) -> pgque_bytes {
    match ffi::value(value) {
        Some(Value::Text(t) | Value::Json(t) | Value::Numeric(t) | Value::Special(_, t)) => pgque_bytes::text(Some(t)),
        Some(Value::Bytes(bytes)) => pgque_bytes::new(bytes),
        _ => pgque_bytes::NULL,
    }
}

/// How many items a value of the kind array has; 0 for others. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_value_item_count(value: *const pgque_value) -> usize {
    match ffi::value(value) {
        Some(Value::Array(items)) => items.len(),
        _ => 0,
    }
}

/// One item of an array; NULL beyond the last. Lives as long as the result. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_value_item(value: *const pgque_value, index: usize) -> *const pgque_value {
    pgque_value::of(match ffi::value(value) {
        Some(Value::Array(items)) => items.get(index),
        _ => None,
    })
}
