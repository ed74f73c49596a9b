//! The Rust driver of the conformance suite: JSON lines in, library calls, JSON lines out. No assertions.

mod args;
mod background;
mod caller;
mod calls;
mod consumer;
mod json;
mod pipeline;
mod producer;
mod trace;

use std::io::{BufRead, Write};

use serde_json::{Value, json};

use crate::args::Args;
use crate::calls::Driver;

/// What a request may fail with.
enum Fault {
    Library(pgque::Error),
    /// From the caller's own connection.
    Caller(tokio_postgres::Error),
    /// The request itself makes no sense.
    Driver(String),
    UnknownOp,
}

type Answer<T = Value> = Result<T, Fault>;

impl From<pgque::Error> for Fault {
    fn from(error: pgque::Error) -> Fault {
        Fault::Library(error)
    }
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Fault {
        Fault::Caller(error)
    }
}

fn main() -> std::io::Result<()> {
    trace::install();
    let mut driver = Driver::default();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = answer(&mut driver, &line?);
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    // A handler that still sleeps must not keep the process.
    std::process::exit(0);
}

fn answer(driver: &mut Driver, line: &str) -> Value {
    let args = match serde_json::from_str(line) {
        Ok(request) => Args(request),
        Err(e) => return json!({ "id": null, "error": json::driver_error(&e.to_string()) }),
    };
    let id = args.0.get("id").cloned().unwrap_or_default();
    match driver.call(&args) {
        Ok(result) => json!({ "id": id, "ok": result }),
        Err(Fault::UnknownOp) => json!({ "id": id, "unknown": true }),
        Err(Fault::Library(e)) => json!({ "id": id, "error": json::error(&e) }),
        Err(Fault::Caller(e)) => json!({ "id": id, "error": json::caller_error(&e) }),
        Err(Fault::Driver(message)) => json!({ "id": id, "error": json::driver_error(&message) }),
    }
}
