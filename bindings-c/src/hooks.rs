//! Callbacks of a consumer around its handlers.

use std::ffi::{CStr, c_char, c_void};

use pgque::{Outcome, Verdict};

use crate::consumer::pgque_consumer;
use crate::error::pgque_error;
use crate::ffi::{UserData, call_after, call_before, call_on_failure, door, pgque_free_callback};
use crate::message::pgque_message;
use crate::verdict::pgque_verdict;

/// Decides on a failed message: `attempt` is the number of this delivery, from 1, as far as retries count; `error`
/// ends with NUL. It tells its verdict by one of the `pgque_verdict` functions, or leaves it to the options; without a
/// reason the error is the reason. Called on the handler's thread, from several at once with `concurrency` beyond 1;
/// what it is given dies when it returns. It must not throw nor jump out.
pub type pgque_failure_callback = Option<
    unsafe extern "C" fn(attempt: i64, error: *const c_char, verdict: *mut pgque_verdict, user_data: *mut c_void),
>;

/// As `pgque_failure_callback`, but not NULL.
pub type OnFailure = unsafe extern "C" fn(i64, *const c_char, *mut pgque_verdict, *mut c_void);

/// Is told of a message that a handler is about to get. Threads and lifetimes as for `pgque_failure_callback`.
pub type pgque_before_callback = Option<unsafe extern "C" fn(message: *const pgque_message, user_data: *mut c_void)>;

/// As `pgque_before_callback`, but not NULL.
pub type Before = unsafe extern "C" fn(*const pgque_message, *mut c_void);

/// Is told of a message that a handler had: `outcome` is `ack`, `retry`, `dead` or `failed`, `seconds` the time that
/// the handler took. Threads and lifetimes as for `pgque_failure_callback`.
pub type pgque_after_callback = Option<
    unsafe extern "C" fn(message: *const pgque_message, outcome: *const c_char, seconds: f64, user_data: *mut c_void),
>;

/// As `pgque_after_callback`, but not NULL.
pub type After = unsafe extern "C" fn(*const pgque_message, *const c_char, f64, *mut c_void);

/// Has `callback` decide on failed messages, in place of `retry_after` and `retry_backoff`, and of an earlier callback.
/// `user_data` is handed to it, and to `free_user_data`, which may be NULL, once neither the consumer nor a batch
/// needs it. Holds for batches that are received from then on. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_on_failure(
    consumer: Option<&pgque_consumer>,
    callback: pgque_failure_callback,
    user_data: *mut c_void,
    free_user_data: pgque_free_callback,
) -> Option<Box<pgque_error>> {
    door("on_failure", |door| {
        let user_data = UserData::new(user_data, free_user_data);
        let (consumer, callback) = (door.consumer(consumer)?, door.required(callback, "callback")?);
        consumer.on_failure(move |attempt, error| match call_on_failure(callback, attempt, error, &user_data) {
            Some(Outcome::Verdict(verdict)) => Some(verdict),
            Some(Outcome::Failed { .. }) | None => None,
        });
        Ok(())
    })
}

/// Has `callback` told of each message before its handler; otherwise as `pgque_consumer_on_failure`.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_before_message(
    consumer: Option<&pgque_consumer>,
    callback: pgque_before_callback,
    user_data: *mut c_void,
    free_user_data: pgque_free_callback,
) -> Option<Box<pgque_error>> {
    door("before_message", |door| {
        let user_data = UserData::new(user_data, free_user_data);
        let (consumer, callback) = (door.consumer(consumer)?, door.required(callback, "callback")?);
        consumer.before_message(move |message| call_before(callback, message, &user_data));
        Ok(())
    })
}

/// Has `callback` told of each message after its handler; otherwise as `pgque_consumer_on_failure`.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_after_message(
    consumer: Option<&pgque_consumer>,
    callback: pgque_after_callback,
    user_data: *mut c_void,
    free_user_data: pgque_free_callback,
) -> Option<Box<pgque_error>> {
    door("after_message", |door| {
        let user_data = UserData::new(user_data, free_user_data);
        let (consumer, callback) = (door.consumer(consumer)?, door.required(callback, "callback")?);
        consumer.after_message(move |message, outcome, time| {
            call_after(callback, message, name(outcome), time.as_secs_f64(), &user_data);
        });
        Ok(())
    })
}

fn name(outcome: &Outcome) -> &'static CStr {
    match outcome {
        Outcome::Verdict(Verdict::Ack) => c"ack",
        Outcome::Verdict(Verdict::Retry { .. }) => c"retry",
        Outcome::Verdict(Verdict::Dead { .. }) => c"dead",
        Outcome::Failed { .. } => c"failed",
    }
}
