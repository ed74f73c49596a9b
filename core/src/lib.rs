//! PgQue is an event log and queue inside PostgreSQL; this is its client.
//!
//! [`Client`] makes single calls, [`Producer`] gathers many senders' events, [`Consumer`] runs handlers, [`Ticker`]
//! keeps the engine going. All of it is async; [`blocking`] is the same for threads. A binding for another language converts, calls, converts.

pub mod blocking;
mod call;
mod client;
mod connect;
mod consumer;
mod doctor;
mod error;
mod executor;
pub mod logging;
mod message;
mod packed;
mod park;
mod payload;
mod pending;
mod pipeline;
mod policy;
mod process;
mod producer;
pub mod runtime;
mod schema;
mod special;
mod ticker;
mod value;

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;

pub use call::Call;
pub use client::{
    BATCH_HANDLING_DEFAULT, Capabilities, Client, DLQ_LIMIT_DEFAULT, DLQ_OLDER_THAN_DEFAULT, Interval,
    MAX_MESSAGES_DEFAULT, Payloads, RETRY_AFTER_DEFAULT, Replayed, Verdict,
};
pub use connect::{Connection, Notification, Scope, Settings, TransactionStatus};
pub use consumer::{
    Batch, Consumer, ConsumerOptions, Health, Next, OrderedBy, Outcome, RetryBackoff, Stats, Status, StopPolicy,
    UnknownHandlerPolicy,
};
pub use doctor::{Finding, examine};
pub use error::{Error, Kind, Result, ServerError};
pub use executor::{BoxFuture, ForeignConnection, ForeignError, Placeholder, check_nul};
pub use message::{Event, Message, Payload, Timestamp};
pub use packed::{MessageRef, Messages};
pub use pending::Pending;
pub use producer::{Producer, ProducerOptions, ProducerStats};
pub use schema::{
    InstallOptions, InstallStep, Installed, SCHEMA_VERSION, install, install_plan, install_with, uninstall,
};
pub use special::Special;
pub use ticker::{Ticker, TickerOptions, TickerState, TickerStats};
pub use value::{ResultSet, Value};

/// The version of this library.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
