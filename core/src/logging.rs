//! Log lines on the way to the host language's logger.
//!
//! The library logs through the `log` crate. A Rust program installs its own logger; a binding sets a sink.

use std::sync::{Once, PoisonError, RwLock};

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Takes a level, the logger's name (`pgque`, `pgque.consumer.<name>`, `pgque.ticker`) and the line.
/// May be called from any thread.
pub type Sink = Box<dyn Fn(Level, &str, &str) + Send + Sync>;

static SINK: RwLock<Option<Sink>> = RwLock::new(None);
static INSTALL: Once = Once::new();

/// Sends this library's lines to `sink`, or nowhere with `None`. Replaces an earlier sink.
pub fn set_sink(sink: Option<Sink>, level: LevelFilter) {
    INSTALL.call_once(|| {
        // Fails when the program has a logger already, which then goes on receiving the lines.
        let _ = log::set_logger(&Forward);
    });
    *SINK.write().unwrap_or_else(PoisonError::into_inner) = sink;
    log::set_max_level(level);
}

struct Forward;

impl Log for Forward {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.target().starts_with("pgque")
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if let Some(sink) = SINK.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            sink(record.level(), record.target(), &record.args().to_string());
        }
    }

    fn flush(&self) {}
}
