//! Typed calls. The only place with query text, one module for each group of operations.

mod admin;
mod consume;
mod dead_letter;
mod doctor;
mod pages;
mod produce;
mod produce_many;
mod schema;
mod subscribe;
mod tick;
mod turn;

use std::sync::Arc;

use tokio::sync::OnceCell;

pub use admin::Capabilities;
pub(crate) use consume::Routing;
pub use consume::{Interval, MAX_MESSAGES_DEFAULT, RETRY_AFTER_DEFAULT, Verdict};
pub use dead_letter::{DLQ_LIMIT_DEFAULT, DLQ_OLDER_THAN_DEFAULT, Replayed};
pub(crate) use doctor::{catalogue, checks};
pub(crate) use pages::{Ahead, PageAnswer, PageRequest, Place, RawAhead};
pub use produce::Payloads;
pub(crate) use produce_many::{Attempt, Fate, Parcel, Said, Stored, Turn};
pub(crate) use schema::{
    Existing, drop_changed, lock_and_inspect, pgque_version, signatures, step_aside, step_back, version_is,
};
pub use subscribe::BATCH_HANDLING_DEFAULT;

use crate::connect::{Connection, Settings};
use crate::error::{Error, Kind, Result};
use crate::executor::{Executor, ForeignConnection, Param, Rows, Statement};

/// A client of one database. Clones share the connection; all methods may be called from any task.
#[derive(Clone)]
pub struct Client {
    executor: Executor,
    capabilities: Arc<OnceCell<Capabilities>>,
}

impl Client {
    /// Connects with a connection string of libpq, as URI or keywords, in autocommit.
    pub async fn connect(dsn: &str) -> Result<Client> {
        Ok(Client::over(Connection::open(Settings::parse(dsn)?).await?))
    }

    /// A client on a connection of ours.
    pub fn over(connection: Connection) -> Client {
        Client::new(Executor::Own(connection))
    }

    /// A client on the caller's own connection: every call is part of whatever transaction is open there.
    pub fn over_foreign(connection: Arc<dyn ForeignConnection>) -> Client {
        Client::new(Executor::Foreign(connection))
    }

    fn new(executor: Executor) -> Client {
        let capabilities = Arc::default();
        Client { executor, capabilities }
    }

    /// Our own connection, for transactions and raw statements; `None` on a caller's connection.
    pub fn connection(&self) -> Option<&Connection> {
        match &self.executor {
            Executor::Own(connection) => Some(connection),
            Executor::Foreign(_) => None,
        }
    }

    /// As [`Client::connection`], but an error that says what to do on a caller's connection.
    pub fn own_connection(&self, op: &'static str) -> Result<&Connection> {
        self.connection().ok_or_else(|| {
            let message = "this client runs on a connection of the caller's; use that connection itself";
            Error::new(Kind::Conflict, op, message)
        })
    }

    /// Closes our own connection. A caller's connection stays open. Twice is fine.
    pub async fn close(&self) {
        if let Some(connection) = self.connection() {
            connection.close().await;
        }
    }

    async fn run(&self, op: &'static str, sql: &'static str, params: Vec<Param>) -> Result<Rows> {
        let statement = Statement { op, sql, sql_binary: None, params };
        self.executor.run(statement).await
    }

    /// A call that answers one number, or NULL.
    async fn maybe_number(&self, op: &'static str, sql: &'static str, params: Vec<Param>) -> Result<Option<i64>> {
        let rows = self.run(op, sql, params).await?;
        match rows.len() {
            0 => Ok(None),
            _ => rows.number(0, 0),
        }
    }

    async fn number(&self, op: &'static str, sql: &'static str, params: Vec<Param>) -> Result<i64> {
        let number = self.maybe_number(op, sql, params).await?;
        number.ok_or_else(|| Error::new(Kind::Internal, op, "the server answered NULL"))
    }
}

/// `queue` and `consumer`, which nearly every call names first.
fn queue_and_consumer(queue: &str, consumer: &str) -> Vec<Param> {
    vec![Param::text("queue", queue), Param::text("consumer", consumer)]
}
