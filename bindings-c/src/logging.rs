//! The library's log lines on the way to the caller.

use std::ffi::{c_char, c_void};

use log::{Level, LevelFilter};
use pgque::{Error, Result, logging};

use crate::error::pgque_error;
use crate::ffi::{Door, UserData, call_log, door, pgque_free_callback};

pub const PGQUE_LOG_ERROR: i32 = 1;
pub const PGQUE_LOG_WARN: i32 = 2;
pub const PGQUE_LOG_INFO: i32 = 3;
pub const PGQUE_LOG_DEBUG: i32 = 4;
pub const PGQUE_LOG_TRACE: i32 = 5;

/// The generator of the header wants literals; this keeps them equal to those of the lines.
const _: () = {
    assert!(PGQUE_LOG_ERROR == Level::Error as i32 && PGQUE_LOG_WARN == Level::Warn as i32);
    assert!(PGQUE_LOG_INFO == Level::Info as i32 && PGQUE_LOG_DEBUG == Level::Debug as i32);
    assert!(PGQUE_LOG_TRACE == Level::Trace as i32);
};

/// Takes a line: its level, one of `PGQUE_LOG_*`, the logger's name (`pgque`, `pgque.consumer.<name>`,
/// `pgque.ticker`) and the text, both of which end with NUL and die when it returns. May be called from any thread,
/// several at once, the library's own among them; it must not call `pgque_set_log`, nor throw.
pub type pgque_log_callback =
    Option<unsafe extern "C" fn(level: i32, logger: *const c_char, line: *const c_char, user_data: *mut c_void)>;

/// As `pgque_log_callback`, but not NULL.
pub type LogCallback = unsafe extern "C" fn(i32, *const c_char, *const c_char, *mut c_void);

/// Sends log lines up to a level to `callback`, or to nobody with NULL, in place of an earlier one. `user_data` is
/// handed to it, and to `free_user_data`, which may be NULL, once it is replaced. Holds for the whole process. Any
/// thread; waits for lines that are being taken.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_set_log(
    level: i32,
    callback: pgque_log_callback,
    user_data: *mut c_void,
    free_user_data: pgque_free_callback,
) -> Option<Box<pgque_error>> {
    door("set_log", |door| {
        let user_data = UserData::new(user_data, free_user_data);
        let Some(callback) = callback else {
            logging::set_sink(None, LevelFilter::Off);
            return Ok(());
        };
        let filter = known_level(door, level)?.to_level_filter();
        let sink = move |level: Level, logger: &str, line: &str| {
            call_log(callback, level as i32, logger, line, &user_data);
        };
        logging::set_sink(Some(Box::new(sink)), filter);
        Ok(())
    })
}

/// Writes a line as the library writes its own, for wrappers that call handlers themselves. `level` is one of
/// `PGQUE_LOG_*`, `logger` for instance `pgque.consumer.<name>`. Any thread; may call the callback of `pgque_set_log`.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_log(level: i32, logger: *const c_char, line: *const c_char) -> Option<Box<pgque_error>> {
    door("log", |door| {
        let (logger, line) = (door.text(logger, "logger")?, door.text(line, "line")?);
        log::log!(target: logger, known_level(door, level)?, "{line}");
        Ok(())
    })
}

fn known_level(door: Door, level: i32) -> Result<Level> {
    let unknown = || Error::invalid(door.0, format!("level must be one of PGQUE_LOG_…, got {level}"));
    Level::iter().find(|known| *known as i32 == level).ok_or_else(unknown)
}
