//! Log lines on their way to a JavaScript function.

use std::sync::{Mutex, PoisonError};

use log::{Level, LevelFilter};
use napi::bindgen_prelude::{FnArgs, Function};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Result, Status};
use napi_derive::napi;

/// Lines that the event loop has not taken yet; beyond this number they are dropped.
const LINES_MAX: usize = 10_000;

type Line = FnArgs<(String, String, String)>;
/// Weak: waiting for lines does not keep the process alive.
type Logger = ThreadsafeFunction<Line, (), Line, Status, false, true, LINES_MAX>;

/// The functions of all threads that asked for lines. The last one gets them; when its thread has ended, the one
/// before.
static LOGGERS: Mutex<Vec<Logger>> = Mutex::new(Vec::new());

/// Sends log lines to a function, and says whether. With `fallback` only if no other thread has a logger already.
#[napi(catch_unwind)]
pub fn log_to(
    logger: Function<'_, FnArgs<(String, String, String)>, ()>,
    level: String,
    fallback: bool,
) -> Result<bool> {
    let mut loggers = LOGGERS.lock().unwrap_or_else(PoisonError::into_inner);
    if fallback && !loggers.is_empty() {
        return Ok(false);
    }
    let logger = logger.build_threadsafe_function().weak::<true>().max_queue_size::<LINES_MAX>().build()?;
    loggers.push(logger);
    // Released first: setting the sink waits for lines under way, which take the same lock.
    drop(loggers);
    log_level(level);
    Ok(true)
}

/// From which level on lines are passed.
#[napi(catch_unwind)]
pub fn log_level(level: String) {
    pgque::logging::set_sink(Some(Box::new(forward)), level.parse().unwrap_or(LevelFilter::Warn));
}

fn forward(level: Level, logger: &str, line: &str) {
    let mut loggers = LOGGERS.lock().unwrap_or_else(PoisonError::into_inner);
    while let Some(last) = loggers.last() {
        let arguments = (level.as_str().to_lowercase(), logger.to_owned(), line.to_owned());
        match last.call(arguments.into(), ThreadsafeFunctionCallMode::NonBlocking) {
            Status::Closing => loggers.pop(),
            _ => return,
        };
    }
}
