//! `pgque_error`: the facts of a failure.

use std::ffi::{CString, c_char};
use std::ptr;

use pgque::{Error, Kind};

use crate::ffi::{c_string, door, lossy, put};

/// The kinds. A kind that this header does not know yet keeps its number.
pub const PGQUE_ERROR_CONNECTION: i32 = 1;
pub const PGQUE_ERROR_CONFIGURATION: i32 = 2;
pub const PGQUE_ERROR_CLOSED: i32 = 3;
pub const PGQUE_ERROR_TIMEOUT: i32 = 4;
pub const PGQUE_ERROR_QUEUE_NOT_FOUND: i32 = 5;
pub const PGQUE_ERROR_CONSUMER_NOT_FOUND: i32 = 6;
pub const PGQUE_ERROR_BATCH_NOT_FOUND: i32 = 7;
pub const PGQUE_ERROR_OVERFLOW: i32 = 8;
pub const PGQUE_ERROR_PERMISSION_DENIED: i32 = 9;
pub const PGQUE_ERROR_INVALID_INPUT: i32 = 10;
pub const PGQUE_ERROR_CONFLICT: i32 = 11;
pub const PGQUE_ERROR_NOT_INSTALLED: i32 = 12;
pub const PGQUE_ERROR_SERVER: i32 = 13;
pub const PGQUE_ERROR_INTERNAL: i32 = 14;
pub const PGQUE_ERROR_INTERRUPTED: i32 = 15;

/// The generator of the header wants literals; this keeps them equal to core's.
const _: () = {
    let ours = [
        (PGQUE_ERROR_CONNECTION, Kind::Connection),
        (PGQUE_ERROR_CONFIGURATION, Kind::Configuration),
        (PGQUE_ERROR_CLOSED, Kind::Closed),
        (PGQUE_ERROR_TIMEOUT, Kind::Timeout),
        (PGQUE_ERROR_QUEUE_NOT_FOUND, Kind::QueueNotFound),
        (PGQUE_ERROR_CONSUMER_NOT_FOUND, Kind::ConsumerNotFound),
        (PGQUE_ERROR_BATCH_NOT_FOUND, Kind::BatchNotFound),
        (PGQUE_ERROR_OVERFLOW, Kind::Overflow),
        (PGQUE_ERROR_PERMISSION_DENIED, Kind::PermissionDenied),
        (PGQUE_ERROR_INVALID_INPUT, Kind::InvalidInput),
        (PGQUE_ERROR_CONFLICT, Kind::Conflict),
        (PGQUE_ERROR_NOT_INSTALLED, Kind::NotInstalled),
        (PGQUE_ERROR_SERVER, Kind::Server),
        (PGQUE_ERROR_INTERNAL, Kind::Internal),
        (PGQUE_ERROR_INTERRUPTED, Kind::Interrupted),
    ];
    assert!(ours.len() == Kind::ALL.len());
    let mut i = 0;
    while i < ours.len() {
        assert!(ours[i].0 == ours[i].1 as i32);
        i += 1;
    }
};

/// Why a call failed. Any thread may read it; its texts end with NUL and live until `pgque_error_free`.
pub struct pgque_error {
    number: i32,
    retriable: bool,
    uncertain: bool,
    configured_limit: Option<i64>,
    name: CString,
    op: CString,
    message: CString,
    text: CString,
    sqlstate: Option<CString>,
    detail: Option<CString>,
    hint: Option<CString>,
    constraint: Option<CString>,
}

impl From<Error> for pgque_error {
    fn from(error: Error) -> pgque_error {
        pgque_error {
            number: error.kind().number(),
            retriable: error.is_retriable(),
            uncertain: error.is_uncertain(),
            configured_limit: error.configured_limit(),
            name: c_string(error.kind().name()),
            op: c_string(error.op()),
            message: c_string(error.message()),
            text: c_string(&error.to_string()),
            sqlstate: error.sqlstate().map(c_string),
            detail: error.detail().map(c_string),
            hint: error.hint().map(c_string),
            constraint: error.constraint().map(c_string),
        }
    }
}

#[cfg(test)]
impl pgque_error {
    pub fn number(&self) -> i32 {
        self.number
    }

    pub fn text(&self) -> &str {
        self.text.to_str().unwrap_or_default()
    }
}

/// The kind, one of `PGQUE_ERROR_*`; 0 for NULL. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_error_kind(error: Option<&pgque_error>) -> i32 {
    error.map_or(0, |e| e.number)
}

/// The kind's name, for instance `queue_not_found`; NULL for NULL. Lives as long as the error. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_error_kind_name(error: Option<&pgque_error>) -> *const c_char {
    view(error, |e| Some(&e.name))
}

/// The operation that failed, for instance `receive`; NULL for NULL. Lives as long as the error. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_error_op(error: Option<&pgque_error>) -> *const c_char {
    view(error, |e| Some(&e.op))
}

/// What went wrong, without the operation; NULL for NULL. Lives as long as the error. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_error_message(error: Option<&pgque_error>) -> *const c_char {
    view(error, |e| Some(&e.message))
}

/// Operation, message and hint in one line for people; NULL for NULL. Lives as long as the error. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_error_text(error: Option<&pgque_error>) -> *const c_char {
    view(error, |e| Some(&e.text))
}

/// The server's SQLSTATE, or NULL if the server said nothing. Lives as long as the error. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_error_sqlstate(error: Option<&pgque_error>) -> *const c_char {
    view(error, |e| e.sqlstate.as_ref())
}

/// The server's detail, or NULL. Lives as long as the error. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_error_detail(error: Option<&pgque_error>) -> *const c_char {
    view(error, |e| e.detail.as_ref())
}

/// The server's hint, or NULL. Lives as long as the error. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_error_hint(error: Option<&pgque_error>) -> *const c_char {
    view(error, |e| e.hint.as_ref())
}

/// The constraint that was violated, or NULL. Lives as long as the error. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_error_constraint(error: Option<&pgque_error>) -> *const c_char {
    view(error, |e| e.constraint.as_ref())
}

/// Whether the same call may succeed later without any change by the caller, or doing anything twice. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_error_retriable(error: Option<&pgque_error>) -> bool {
    error.is_some_and(|e| e.retriable)
}

/// Whether it is not known if the call took effect: to repeat it could do it twice. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_error_is_uncertain(error: Option<&pgque_error>) -> bool {
    error.is_some_and(|e| e.uncertain)
}

/// The caller's limit that an `overflow` exceeded; false, and nothing written, for other errors. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_error_configured_limit(error: Option<&pgque_error>, limit: *mut i64) -> bool {
    let configured = error.and_then(|e| e.configured_limit);
    configured.inspect(|n| put(limit, *n)).is_some()
}

/// For wrappers in languages whose texts know their length: `invalid_input`, as an error of the operation `op`, if
/// `text` holds a NUL and would be cut when passed as a text that ends with one, or if it is not UTF-8. Any thread;
/// never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_text_check(
    op: *const c_char,
    argument: *const c_char,
    text: *const c_char,
    text_len: usize,
) -> Option<Box<pgque_error>> {
    let failure = door("text_check", |door| {
        let argument = door.text(argument, "argument")?;
        pgque::check_nul(door.0, argument, door.maybe_body(text, text_len, argument)?.unwrap_or_default())
    });
    failure.map(|mut error| {
        error.op = lossy(op).map_or(error.op, |op| c_string(&op));
        error.text = c_string(&format!("{}: {}", error.op.to_string_lossy(), error.message.to_string_lossy()));
        error
    })
}

/// Frees an error. NULL is fine. Once for each error; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_error_free(error: Option<Box<pgque_error>>) {
    drop(error);
}

fn view(error: Option<&pgque_error>, text: impl FnOnce(&pgque_error) -> Option<&CString>) -> *const c_char {
    error.and_then(text).map_or(ptr::null(), |t| t.as_ptr())
}
