//! `pgque_consumer`: the whole run, or the loop by hand.

use std::ffi::{c_char, c_void};

use pgque::blocking::{self, wait};
use pgque::{Consumer, ConsumerOptions, Next, Outcome, Result, Settings};

use crate::batch::pgque_batch;
use crate::error::pgque_error;
use crate::ffi::{Door, UserData, call_batch_handler, call_handler, door, put};
use crate::message::pgque_message;
use crate::options::pgque_options;
use crate::verdict::pgque_verdict;

/// What `pgque_consumer_next` came back with: a batch to handle and to finish.
pub const PGQUE_NEXT_BATCH: i32 = 1;
/// Nothing within the time limit.
pub const PGQUE_NEXT_IDLE: i32 = 2;
/// `pgque_consumer_stop` was called. The consumer may be used again.
pub const PGQUE_NEXT_STOPPED: i32 = 3;

/// Handles one message: `handler` is the number that `pgque_consumer_on` gave. It tells its verdict by one of the
/// `pgque_verdict` functions; without one the message counts as failed. Called on the thread inside
/// `pgque_consumer_run`, or with `concurrency` beyond 1 on several threads of the library's at once. It may make any
/// call but those of this consumer other than stop, stats and health. Message and verdict die when it returns. It
/// must not throw nor jump out.
pub type pgque_handler = Option<
    unsafe extern "C" fn(
        handler: i64,
        message: *const pgque_message,
        verdict: *mut pgque_verdict,
        user_data: *mut c_void,
    ),
>;

/// As `pgque_handler`, but not NULL.
pub type Handler = unsafe extern "C" fn(i64, *const pgque_message, *mut pgque_verdict, *mut c_void);

/// Handles the messages of a batch, or of a page of a large one, and judges each by the `pgque_batch` functions; one
/// that it does not judge counts as failed. It must not free the batch. Called on the thread inside
/// `pgque_consumer_run_batches`; otherwise as `pgque_handler`.
pub type pgque_batch_callback = Option<unsafe extern "C" fn(batch: *const pgque_batch, user_data: *mut c_void)>;

/// As `pgque_batch_callback`, but not NULL.
pub type BatchHandler = unsafe extern "C" fn(*const pgque_batch, *mut c_void);

/// Receives batches and finishes them. One thread at a time, except where a function is for any thread.
pub struct pgque_consumer(Consumer);

impl Door {
    pub fn consumer(self, consumer: Option<&pgque_consumer>) -> Result<&Consumer> {
        self.required(consumer, "consumer").map(|c| &c.0)
    }
}

/// Makes a consumer, which connects only when it is run. `name` must be subscribed, unless the option `subconsumer`
/// is set. `options` may be NULL for the defaults, and are copied. `configuration` if an option is wrong. The
/// consumer belongs to the caller, until `pgque_consumer_free`. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_new(
    dsn: *const c_char,
    queue: *const c_char,
    name: *const c_char,
    options: Option<&pgque_options>,
    consumer: *mut *mut pgque_consumer,
) -> Option<Box<pgque_error>> {
    door("consumer", |door| {
        let out = door.out(consumer, "consumer")?;
        let mut chosen = ConsumerOptions::new(door.text(queue, "queue")?, door.text(name, "name")?);
        pgque_options::apply(options, |name, value| chosen.set(name, value))?;
        out.put(pgque_consumer(Consumer::new(Settings::parse(door.text(dsn, "dsn")?)?, chosen)?));
        Ok(())
    })
}

/// Names a type to handle, `*` for all that have no handler of their own, and gives the number of its handler: 0 for
/// the first, and so on; the same type gets the same number again. `conflict` after `pgque_consumer_on_batch`. Any
/// thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_on(
    consumer: Option<&pgque_consumer>,
    event_type: *const c_char,
    handler: *mut i64,
) -> Option<Box<pgque_error>> {
    door("on", |door| {
        let number = door.consumer(consumer)?.on(door.text(event_type, "event_type")?)?;
        put(handler, number as i64);
        Ok(())
    })
}

/// All messages are for one handler of whole batches, of the number 0. `conflict` after `pgque_consumer_on`. Not
/// needed before `pgque_consumer_run_batches`. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_on_batch(consumer: Option<&pgque_consumer>) -> Option<Box<pgque_error>> {
    door("on_batch", |door| door.consumer(consumer)?.on_batch())
}

/// Waits for the next batch, up to so many seconds while there is none; INFINITY waits without limit. Writes one of
/// `PGQUE_NEXT_*`, and the batch, or NULL when there is none. The batch belongs to the caller, until
/// `pgque_batch_free`. Reconnects for as long as it takes; errors that time cannot mend are returned. One thread at
/// a time; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_next(
    consumer: Option<&pgque_consumer>,
    timeout_seconds: f64,
    next: *mut i32,
    batch: *mut *mut pgque_batch,
) -> Option<Box<pgque_error>> {
    door("next", |door| {
        let out = door.out(batch, "batch")?;
        let limit = pgque::runtime::time_limit(door.0, "timeout_seconds", timeout_seconds)?;
        let (number, handed_out) = match wait(door.consumer(consumer)?.next(limit))? {
            Next::Batch(batch) => (PGQUE_NEXT_BATCH, Some(pgque_batch::new(batch))),
            Next::Idle => (PGQUE_NEXT_IDLE, None),
            Next::Stopped => (PGQUE_NEXT_STOPPED, None),
        };
        put(next, number);
        out.put_maybe(handed_out);
        Ok(())
    })
}

/// Has the messages of a batch handled one after the other: gives the position of the next message to handle, or
/// false when there is none, or the consumer stops. So many threads as `pgque_batch_lanes` says may each take a
/// message, handle it, judge it by the `pgque_batch` functions, take the next. Messages without a handler are settled
/// on the way, by `unknown_handler_policy`. Never blocks, but for transactional mode, where what the handler before
/// did is kept or undone, as its message was judged.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_take(
    consumer: Option<&pgque_consumer>,
    batch: Option<&pgque_batch>,
    has_message: *mut bool,
    index: *mut usize,
) -> Option<Box<pgque_error>> {
    door("take", |door| {
        let (consumer, batch) = (door.consumer(consumer)?, door.batch(batch)?);
        let taken = match batch.client() {
            Some(_) => wait(consumer.take(batch))?,
            None => batch.take(),
        };
        put(has_message, taken.is_some());
        taken.inspect(|i| put(index, *i));
        Ok(())
    })
}

/// As `pgque_consumer_take`, for a handler of whole batches: gives how many messages there are to handle, which is
/// all of the batch, or 0 if the consumer stops.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_take_all(
    consumer: Option<&pgque_consumer>,
    batch: Option<&pgque_batch>,
    count: *mut usize,
) -> Option<Box<pgque_error>> {
    door("take_all", |door| {
        let taken = wait(door.consumer(consumer)?.take_all(door.batch(batch)?))?;
        put(count, taken.len());
        Ok(())
    })
}

/// Settles a batch as its messages were judged. What was taken and not judged counts as failed, or goes back if the
/// stop does not wait any more; what was not taken goes back if the consumer stops. All or nothing: if it cannot be
/// done now, this is logged and the batch is delivered again; only errors that time cannot mend are returned. The
/// batch must still be freed. One thread at a time; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_finish(
    consumer: Option<&pgque_consumer>,
    batch: Option<&pgque_batch>,
) -> Option<Box<pgque_error>> {
    door("finish", |door| wait(door.consumer(consumer)?.finish(door.batch(batch)?)))
}

/// Handles messages until `pgque_consumer_stop`, calling `handler` for each that has a handler, with the option
/// `concurrency` on so many threads at once. `user_data` is handed to it and may be NULL. When a stop is forced, or its
/// `stop_timeout` is over, handlers on threads of the library's are not waited for: they may still use `user_data` when
/// this returns. `conflict` while the consumer runs already. Blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_run(
    consumer: Option<&pgque_consumer>,
    handler: pgque_handler,
    user_data: *mut c_void,
) -> Option<Box<pgque_error>> {
    door("run", |door| {
        let handler = door.required(handler, "handler")?;
        let user_data = UserData::new(user_data, None);
        blocking::run(door.consumer(consumer)?, move |number, message, batch| {
            let message = pgque_message::new(message, batch.client());
            let outcome = call_handler(handler, number, &message, &user_data);
            outcome.unwrap_or_else(|| Outcome::Failed { error: "the handler gave no verdict".to_owned() })
        })
    })
}

/// Handles whole batches, or pages of large ones, until `pgque_consumer_stop`. `user_data` is handed to `handler` and
/// may be NULL. `conflict` while the consumer runs already, and after `pgque_consumer_on`. Blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_run_batches(
    consumer: Option<&pgque_consumer>,
    handler: pgque_batch_callback,
    user_data: *mut c_void,
) -> Option<Box<pgque_error>> {
    door("run_batches", |door| {
        let handler = door.required(handler, "handler")?;
        let user_data = UserData::new(user_data, None);
        blocking::run_batches(door.consumer(consumer)?, |_, batch| {
            call_batch_handler(handler, &pgque_batch::new(batch.clone()), &user_data);
            vec![] // each message is settled as it is judged
        })
    })
}

/// Marks the consumer as running, until `pgque_consumer_close`, for who makes a run of `pgque_consumer_next` and
/// `pgque_consumer_finish`. `conflict` while the consumer runs already. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_begin_run(consumer: Option<&pgque_consumer>) -> Option<Box<pgque_error>> {
    door("run", |door| door.consumer(consumer)?.begin_run())
}

/// Ends the current wait of the consumer at once, or else the next: also when called before it. What becomes of the
/// batch in hand is said by the options `stop_policy` and `stop_timeout`; by default it is handled first. A second
/// call forces: nothing more is handled, and no handler waited for but one that runs on the thread inside
/// `pgque_consumer_run`. Any thread, but not a signal handler; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_stop(consumer: Option<&pgque_consumer>) -> Option<Box<pgque_error>> {
    door("stop", |door| {
        door.consumer(consumer)?.stop();
        Ok(())
    })
}

/// Whether a stop was asked for and not yet answered; false for NULL. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_is_stopping(consumer: Option<&pgque_consumer>) -> bool {
    consumer.is_some_and(|consumer| consumer.0.is_stopping())
}

/// Waits until a stop is forced, or its `stop_timeout` is over. Who has handlers on threads of its own waits for them
/// no longer then, and calls `pgque_consumer_finish`. Any thread; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_overdue(consumer: Option<&pgque_consumer>) -> Option<Box<pgque_error>> {
    door("overdue", |door| {
        let consumer = door.consumer(consumer)?;
        wait(async {
            consumer.overdue().await;
            Ok(())
        })
    })
}

/// Ends the run and gives up the connection; an unfinished batch is delivered again. `pgque_consumer_run` does so
/// itself. The consumer may be used again and must still be freed. Twice is fine. One thread at a time; blocks for the
/// call that runs now.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_close(consumer: Option<&pgque_consumer>) -> Option<Box<pgque_error>> {
    door("close", |door| {
        let consumer = door.consumer(consumer)?;
        wait(async {
            consumer.close().await;
            Ok(())
        })
    })
}

/// Frees a consumer and gives up its connection. NULL is fine. Once, when no thread uses it any more; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_consumer_free(consumer: Option<Box<pgque_consumer>>) {
    drop(consumer);
}
