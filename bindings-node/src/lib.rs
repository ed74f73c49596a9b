//! The binding for Node.js: convert, call, convert. The classes that users see stand on top of it, in `lib/`.

mod client;
mod consumer;
mod error;
mod foreign;
mod interrupt;
mod logging;
mod message;
mod producer;
mod promise;
mod stats;
mod ticker;
mod value;

use napi_derive::napi;
use pgque::Kind;

/// The version of this library.
#[napi(catch_unwind)]
pub fn library_version() -> &'static str {
    pgque::VERSION
}

/// A kind of error: its stable name and number.
#[napi(object, object_from_js = false)]
pub struct ErrorKind {
    pub name: &'static str,
    pub number: i32,
}

/// All kinds of error.
#[napi(catch_unwind)]
pub fn error_kinds() -> Vec<ErrorKind> {
    Kind::ALL.iter().map(|kind| ErrorKind { name: kind.name(), number: kind.number() }).collect()
}

/// Runs the command `pgque` on this thread and gives its exit code. The program's name comes first.
#[napi(catch_unwind)]
pub fn run_command(args: Vec<String>) -> i32 {
    pgque::cli::main(args.into_iter().map(Into::into))
}
