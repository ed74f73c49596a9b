//! The boundary: pointers in, pointers out, panics held back. All `unsafe` of the crate is here.
//!
//! The contract that makes it sound is the header's: a pointer is NULL or points to what its type says, for as
//! long as the call lasts; a `*const c_char` ends with NUL; a length belongs to the pointer before it.

use std::any::Any;
use std::ffi::{CStr, CString, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::slice;

use pgque::{Error, Interval, Kind, Message, Outcome, Result, Value};

use crate::batch::pgque_batch;
use crate::connection::{Query, pgque_answer};
use crate::consumer::{BatchHandler, Handler};
use crate::error::pgque_error;
use crate::hooks::{After, Before, OnFailure};
use crate::interrupt::Interrupt;
use crate::logging::LogCallback;
use crate::message::{pgque_bytes, pgque_message};
use crate::options::{PGQUE_INTERVAL_NONE, PGQUE_INTERVAL_SECONDS, PGQUE_INTERVAL_TEXT, pgque_interval};
use crate::producer::Sent;
use crate::value::pgque_value;
use crate::verdict::pgque_verdict;

/// Frees the `user_data` of a callback once it is needed no more. May be NULL.
pub type pgque_free_callback = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// What a fallible function returns; NULL in C when there is no error. The header's generator wants it spelt out.
pub type Failure = Option<Box<pgque_error>>;

/// The body of a fallible function: an error or a panic becomes the returned object.
pub fn door(op: &'static str, body: impl FnOnce(Door) -> Result<()>) -> Failure {
    // After a panic nothing is used again but locks, which core takes over when they are poisoned.
    let result = catch_unwind(AssertUnwindSafe(|| body(Door(op))));
    let error = match result {
        Ok(Ok(())) => return None,
        Ok(Err(error)) => error,
        Err(panic) => Error::new(Kind::Internal, op, format!("panic: {}", panic_text(panic.as_ref()))),
    };
    Some(Box::new(pgque_error::from(error)))
}

/// A fallible function whose result is a number, which the caller may not want.
pub fn counted(op: &'static str, out: *mut i64, body: impl FnOnce(Door) -> Result<i64>) -> Failure {
    door(op, |door| {
        let number = body(door)?;
        put(out, number);
        Ok(())
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}

/// Converts the arguments of one call; its errors name the operation and the argument.
#[derive(Clone, Copy)]
pub struct Door(pub &'static str);

impl Door {
    fn invalid(self, name: &str, what: &str) -> Error {
        Error::invalid(self.0, format!("{name} must {what}"))
    }

    pub fn null(self, name: &str) -> Error {
        self.invalid(name, "not be NULL")
    }

    pub fn required<T>(self, value: Option<T>, name: &str) -> Result<T> {
        value.ok_or_else(|| self.null(name))
    }

    pub fn text<'a>(self, pointer: *const c_char, name: &str) -> Result<&'a str> {
        self.required(self.maybe_text(pointer, name)?, name)
    }

    /// NULL is `None`.
    pub fn maybe_text<'a>(self, pointer: *const c_char, name: &str) -> Result<Option<&'a str>> {
        if pointer.is_null() {
            return Ok(None);
        }
        // SAFETY: not NULL, so by the contract it ends with NUL and outlives the call, and with it `'a`.
        let text = unsafe { CStr::from_ptr(pointer) };
        text.to_str().map(Some).map_err(|_| self.invalid(name, "be valid UTF-8"))
    }

    pub fn body<'a>(self, pointer: *const c_char, len: usize, name: &str) -> Result<&'a str> {
        self.required(self.maybe_body(pointer, len, name)?, name)
    }

    /// NULL is `None`. A NUL inside is let through: core refuses it with an error that says where.
    pub fn maybe_body<'a>(self, pointer: *const c_char, len: usize, name: &str) -> Result<Option<&'a str>> {
        if pointer.is_null() && len == 0 {
            return Ok(None);
        }
        let bytes = self.slice(pointer.cast::<u8>(), len, name)?;
        std::str::from_utf8(bytes).map(Some).map_err(|_| self.invalid(name, "be valid UTF-8"))
    }

    /// An array of texts, NULL among them; the array itself may be NULL only when it is empty.
    pub fn bodies(self, pointer: *const pgque_bytes, count: usize, name: &str) -> Result<Vec<Option<String>>> {
        let convert = |(i, item): (usize, &pgque_bytes)| {
            let text = self.maybe_body(item.data, item.len, name);
            // Once more for the error's sake, so that the name is only made when it is needed.
            let text = text.or_else(|_| self.maybe_body(item.data, item.len, &format!("{name}[{i}]")));
            text.map(|text| text.map(str::to_owned))
        };
        self.slice(pointer, count, name)?.iter().enumerate().map(convert).collect()
    }

    fn slice<'a, T>(self, pointer: *const T, count: usize, name: &str) -> Result<&'a [T]> {
        // A negative length, which C turns into a huge one.
        if count > isize::MAX as usize / size_of::<T>() {
            return Err(self.invalid(name, "not be longer than memory is"));
        }
        match (pointer.is_null(), count) {
            (_, 0) => Ok(&[]),
            (true, _) => Err(self.invalid(name, "not be NULL with a length")),
            // SAFETY: not NULL, so by the contract `count` items are there for the length of the call.
            _ => Ok(unsafe { slice::from_raw_parts(pointer, count) }),
        }
    }

    /// Writes numbers where there is room for `count`, unless the caller does not want them.
    pub fn put_all(self, out: *mut i64, numbers: &[i64], count: usize) -> Result<()> {
        if numbers.len() != count {
            return Err(Error::new(Kind::Internal, self.0, format!("{} ids came for {count} payloads", numbers.len())));
        }
        if !out.is_null() {
            // SAFETY: not NULL, so by the contract there is room for `count` numbers.
            unsafe { out.copy_from_nonoverlapping(numbers.as_ptr(), count) }
        }
        Ok(())
    }

    pub fn interval(self, interval: pgque_interval, name: &str) -> Result<Option<Interval>> {
        match interval.kind {
            PGQUE_INTERVAL_NONE => Ok(None),
            PGQUE_INTERVAL_SECONDS => Ok(Some(Interval::Seconds(interval.seconds))),
            PGQUE_INTERVAL_TEXT => Ok(Some(Interval::Text(self.text(interval.text, name)?.to_owned()))),
            _ => Err(self.invalid(name, "come from one of the pgque_interval functions")),
        }
    }

    pub fn required_interval(self, interval: pgque_interval, name: &str) -> Result<Interval> {
        self.interval(interval, name)?.ok_or_else(|| self.invalid(name, "be given"))
    }

    /// Where to put an object. Looked at before the call, lest its result be lost.
    pub fn out<T>(self, out: *mut *mut T, name: &str) -> Result<Out<T>> {
        self.required(self.maybe_out(out), name)
    }

    /// For an object that the caller may not want.
    pub fn maybe_out<T>(self, out: *mut *mut T) -> Option<Out<T>> {
        NonNull::new(out).map(Out)
    }
}

/// A place for an object that will belong to the caller.
pub struct Out<T>(NonNull<*mut T>);

impl<T> Out<T> {
    pub fn put(self, object: T) {
        self.put_raw(Box::into_raw(Box::new(object)));
    }

    pub fn put_maybe(self, object: Option<T>) {
        self.put_raw(object.map_or(ptr::null_mut(), |object| Box::into_raw(Box::new(object))));
    }

    fn put_raw(self, object: *mut T) {
        // SAFETY: not NULL, so by the contract there is room for one pointer. What was there is not dropped.
        unsafe { self.0.write(object) }
    }
}

impl Out<c_char> {
    /// A NUL inside, which no server sends, would cut the text.
    pub fn put_text(self, text: &str) {
        self.put_maybe_text(Some(text));
    }

    pub fn put_maybe_text(self, text: Option<&str>) {
        self.put_raw(text.map_or(ptr::null_mut(), |text| c_string(text).into_raw()));
    }
}

/// Takes back what [`Out::put_text`] gave.
pub fn free_text(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: by the contract it came from `put_text` and is freed once.
        drop(unsafe { CString::from_raw(text) });
    }
}

/// Writes a number or a flag, unless the caller does not want it.
pub fn put<T: Copy>(out: *mut T, value: T) {
    if !out.is_null() {
        // SAFETY: not NULL, so by the contract there is room for one value.
        unsafe { out.write(value) }
    }
}

/// Writes as much of a structure as the caller knows of, and zeros to what only the caller knows of.
pub fn put_sized<T: Copy>(out: *mut T, out_size: usize, value: T) {
    if out.is_null() {
        return;
    }
    let known = out_size.min(size_of::<T>());
    // SAFETY: not NULL, so by the contract `out_size` bytes may be written, of which `known` is a part.
    unsafe {
        out.cast::<u8>().write_bytes(0, out_size);
        out.cast::<u8>().copy_from_nonoverlapping((&raw const value).cast::<u8>(), known);
    }
}

/// Text for C, up to the first NUL if it holds one.
pub fn c_string(text: &str) -> CString {
    let end = text.find('\0').unwrap_or(text.len());
    CString::new(&text[..end]).unwrap_or_default()
}

/// Text from C that must not be lost for a bad byte: the words of another driver's error.
pub fn lossy(pointer: *const c_char) -> Option<String> {
    // SAFETY: not NULL, so by the contract it ends with NUL.
    let text = (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) });
    text.map(|text| text.to_string_lossy().into_owned())
}

/// The message behind its name in C.
pub fn message(message: Option<&pgque_message>) -> Option<&Message> {
    // SAFETY: whoever made the `pgque_message` keeps its content alive for as long.
    message.and_then(|message| unsafe { message.content.as_ref() })
}

/// The value behind its name in C.
pub fn value<'a>(pointer: *const pgque_value) -> Option<&'a Value> {
    // SAFETY: by the contract NULL, or from `pgque_value::of` with its owner still alive.
    unsafe { pointer.cast::<Value>().as_ref() }
}

/// Calls a consumer's handler and takes its verdict.
pub fn call_handler(handler: Handler, number: usize, message: &pgque_message, user_data: &UserData) -> Option<Outcome> {
    let mut verdict = pgque_verdict::default();
    // SAFETY: by the contract a function of this type; what it is given lives until it returns.
    unsafe { handler(number as i64, message, &raw mut verdict, user_data.pointer) };
    verdict.0
}

/// Calls a handler of whole batches.
pub fn call_batch_handler(handler: BatchHandler, batch: &pgque_batch, user_data: &UserData) {
    // SAFETY: by the contract a function of this type; what it is given lives until it returns.
    unsafe { handler(batch, user_data.pointer) }
}

/// Asks the caller's function what becomes of a failed message.
pub fn call_on_failure(callback: OnFailure, attempt: i64, error: &str, user_data: &UserData) -> Option<Outcome> {
    let (error, mut verdict) = (c_string(error), pgque_verdict::default());
    // SAFETY: by the contract a function of this type; what it is given lives until it returns.
    unsafe { callback(attempt, error.as_ptr(), &raw mut verdict, user_data.pointer) };
    verdict.0
}

/// Tells the caller's function of a message that is about to be handled.
pub fn call_before(callback: Before, message: &Message, user_data: &UserData) {
    // SAFETY: by the contract a function of this type; what it is given lives until it returns.
    unsafe { callback(&pgque_message::new(message, None), user_data.pointer) }
}

/// Tells the caller's function of a message that was handled.
pub fn call_after(callback: After, message: &Message, outcome: &CStr, seconds: f64, user_data: &UserData) {
    let message = pgque_message::new(message, None);
    // SAFETY: by the contract a function of this type; what it is given lives until it returns.
    unsafe { callback(&message, outcome.as_ptr(), seconds, user_data.pointer) }
}

/// Tells the caller's function what became of an event.
pub fn call_sent(callback: Sent, result: Result<i64>, user_data: &UserData) {
    let (id, error) = match result {
        Ok(id) => (id, None),
        Err(error) => (0, Some(Box::new(pgque_error::from(error)))),
    };
    // SAFETY: by the contract a function of this type; the error is its own from here on.
    unsafe { callback(id, error, user_data.pointer) }
}

/// Runs a statement by the caller's function. All texts are without NUL, for core has refused those.
pub fn call_query(query: Query, sql: &str, params: &[Option<String>], user_data: &UserData) -> (bool, pgque_answer) {
    let sql = c_string(sql);
    let texts: Vec<Option<CString>> = params.iter().map(|p| p.as_deref().map(c_string)).collect();
    let pointers: Vec<_> = texts.iter().map(|t| t.as_ref().map_or(ptr::null(), |t| t.as_ptr())).collect();
    let mut answer = pgque_answer::default();
    // SAFETY: by the contract a function of this type; what it is given lives until it returns.
    let ok = unsafe { query(sql.as_ptr(), pointers.as_ptr(), pointers.len(), &raw mut answer, user_data.pointer) };
    (ok, answer)
}

/// Hands a log line to the caller's function.
pub fn call_log(callback: LogCallback, level: i32, logger: &str, line: &str, user_data: &UserData) {
    let (logger, line) = (c_string(logger), c_string(line));
    // SAFETY: by the contract a function of this type; what it is given lives until it returns.
    unsafe { callback(level, logger.as_ptr(), line.as_ptr(), user_data.pointer) }
}

/// Asks the caller's function whether to end a wait.
pub fn call_interrupt(callback: Interrupt) -> bool {
    // SAFETY: by the contract a function of this type.
    unsafe { callback() }
}

/// What a callback is given back, and how it is freed.
pub struct UserData {
    pub pointer: *mut c_void,
    free: pgque_free_callback,
}

// SAFETY: the pointer is only handed back to the caller's own callback; the header says on which threads that is.
unsafe impl Send for UserData {}
// SAFETY: as above.
unsafe impl Sync for UserData {}

impl UserData {
    pub fn new(pointer: *mut c_void, free: pgque_free_callback) -> UserData {
        UserData { pointer, free }
    }
}

impl Drop for UserData {
    fn drop(&mut self) {
        if let Some(free) = self.free {
            // SAFETY: by the contract `free` takes this pointer, once.
            unsafe { free(self.pointer) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_internal_error() {
        let error = door("send", |_| panic!("on purpose")).expect("an error");
        assert_eq!((error.number(), error.text()), (Kind::Internal.number(), "send: panic: on purpose"));
    }

    #[test]
    fn null_with_a_length_is_a_mistake_and_not_an_empty_text() {
        let door = Door("send");
        assert!(door.maybe_body(ptr::null(), 3, "payload").is_err());
        assert_eq!(door.maybe_body(ptr::null(), 0, "payload").unwrap(), None);
        assert_eq!(door.maybe_body(c"x".as_ptr(), 0, "payload").unwrap(), Some(""));
    }

    #[test]
    fn text_that_is_not_utf8_is_refused_by_name() {
        let error = Door("send").text(c"\xff".as_ptr(), "queue").unwrap_err();
        assert_eq!(error.message(), "queue must be valid UTF-8");
    }

    #[test]
    fn a_structure_is_written_up_to_the_size_that_the_caller_knows() {
        let mut room = [7u64; 3];
        put_sized(room.as_mut_ptr().cast::<[u64; 2]>(), 8, [1, 2]);
        assert_eq!(room, [1, 7, 7]);
        put_sized(room.as_mut_ptr().cast::<[u64; 2]>(), 24, [1, 2]);
        assert_eq!(room, [1, 2, 0]);
    }

    #[test]
    fn an_object_goes_out_and_comes_back() {
        let mut object = ptr::null_mut();
        let out = Door("version").out(&raw mut object, "version").unwrap();
        out.put_text("0.1\0hidden");
        free_text(object);
        free_text(ptr::null_mut());
    }
}
