//! Log lines on standard error.

use std::io::Write;

use log::LevelFilter;

use super::args::{Command, Global};
use crate::logging;

/// Sends the library's lines to standard error.
pub(super) fn install(global: &Global, command: &Command) {
    let sink = |level: log::Level, logger: &str, text: &str| {
        // Where nobody reads standard error there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "{level:<5} {logger}: {text}");
    };
    logging::set_sink(Some(Box::new(sink)), level(global, command));
}

/// The ticker is a service, whose log is all that is seen of it; elsewhere only trouble is worth a line.
fn level(global: &Global, command: &Command) -> LevelFilter {
    match (global.verbose, global.quiet, command) {
        (true, _, _) => LevelFilter::Debug,
        (_, true, _) => LevelFilter::Error,
        (_, _, Command::Ticker(_)) => LevelFilter::Info,
        _ => LevelFilter::Warn,
    }
}
