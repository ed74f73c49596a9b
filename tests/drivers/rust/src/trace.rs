//! With PGQUE_DRIVER_TRACE set, every log line of every crate goes to standard error: a password must be in none.

use log::{LevelFilter, Log, Metadata, Record};

struct Trace;

pub fn install() {
    if std::env::var_os("PGQUE_DRIVER_TRACE").is_some() && log::set_logger(&Trace).is_ok() {
        log::set_max_level(LevelFilter::Trace);
    }
}

impl Log for Trace {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }

    fn log(&self, record: &Record) {
        eprintln!("{} {}: {}", record.level(), record.target(), record.args());
    }

    fn flush(&self) {}
}
