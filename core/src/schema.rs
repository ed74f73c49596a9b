//! Installing and removing the engine.

use crate::client::{Client, Existing, lock_and_inspect};
use crate::connect::{Connection, TransactionStatus};
use crate::error::{Error, Kind, Result};

/// The version of the schema in `sql/`, which the database keeps as `pgque.schema_version()`.
pub const SCHEMA_VERSION: i64 = 1;

// `ENGINE`: the files of `sql/` in the order of their names, each with its text.
include!(concat!(env!("OUT_DIR"), "/engine.rs"));

/// Installs the engine, or brings an existing one of ours up to date. One transaction; repeating it is harmless.
///
/// Needs a role that may create a schema and roles. Fails with `conflict` and leaves the database as it is if its
/// `pgque` schema is not ours, or newer than this library.
pub async fn install(client: &Client) -> Result<()> {
    let connection = client.own_connection("install")?;
    if connection.transaction_status() != TransactionStatus::Idle {
        return Err(conflict("a transaction is open; commit or roll back first"));
    }
    connection.begin().await?;
    match install_in_transaction(connection).await {
        Ok(()) => connection.commit().await,
        Err(error) => {
            connection.rollback().await?;
            Err(error)
        }
    }
}

async fn install_in_transaction(connection: &Connection) -> Result<()> {
    match lock_and_inspect(connection).await? {
        Existing::Foreign => {
            return Err(conflict("the database has a pgque schema that this library did not install; it is unchanged"));
        }
        Existing::Ours(version) if version > SCHEMA_VERSION => {
            return Err(conflict(format!(
                "the installed schema has version {version}, newer than {SCHEMA_VERSION} which this library knows; \
                 upgrade the library"
            )));
        }
        Existing::Nothing | Existing::Ours(_) => {}
    }
    for (name, sql) in ENGINE {
        log::debug!(target: "pgque", "install {name}");
        connection.execute_script(sql).await.map_err(|e| in_file(name, e))?;
    }
    Ok(())
}

/// Removes the engine with all queues and events. The roles stay, for other databases may use them.
pub async fn uninstall(client: &Client) -> Result<()> {
    client.drop_schema().await
}

fn conflict(message: impl Into<String>) -> Error {
    Error::new(Kind::Conflict, "install", message)
}

/// Names the file, for a person who looks for the reason.
fn in_file(name: &str, error: Error) -> Error {
    let message = format!("{name}: {}", error.message());
    Error::new(error.kind(), "install", message).with_source(error)
}
