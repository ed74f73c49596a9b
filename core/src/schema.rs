//! Installing and removing the engine.

use crate::client::Client;
use crate::connect::{Connection, TransactionStatus};
use crate::error::{Error, Kind, Result};

/// The version of the schema in `sql/`, which the database keeps as `pgque.schema_version()`.
pub const SCHEMA_VERSION: i64 = 1;

include!(concat!(env!("OUT_DIR"), "/engine.rs"));

const INSPECT: &str = "select to_regnamespace('pgque') is not null as schema, \
     to_regprocedure('pgque.schema_version()') is not null as ours";

/// Installs the engine, or brings an existing one of ours up to date. One transaction; repeating it is harmless.
///
/// Needs a role that may create a schema and roles. Fails with `conflict` and leaves the database as it is if its
/// `pgque` schema is not ours, or newer than this library.
pub async fn install(client: &Client) -> Result<()> {
    let connection = client.own_connection("install")?;
    if connection.transaction_status() != TransactionStatus::Idle {
        return Err(Error::new(Kind::Conflict, "install", "a transaction is open; commit or roll back first"));
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
    // Two installers at once would both find nothing and collide; the second waits here.
    connection.execute("select pg_advisory_xact_lock(hashtext('pgque install'))", &[]).await?;
    check_existing(connection).await?;
    for (name, sql) in ENGINE {
        log::debug!(target: "pgque", "install {name}");
        connection.execute_script(sql).await.map_err(|e| in_file(name, e))?;
    }
    Ok(())
}

async fn check_existing(connection: &Connection) -> Result<()> {
    let found = connection.execute(INSPECT, &[]).await?;
    let yes = |column| found.get(0, column) == Some(&crate::Value::Bool(true));
    if !yes("schema") {
        return Ok(());
    }
    if !yes("ours") {
        let message = "the database has a pgque schema that this library did not install; it is left unchanged";
        return Err(Error::new(Kind::Conflict, "install", message));
    }
    let version = connection.execute("select pgque.schema_version()::bigint as version", &[]).await?;
    match version.get(0, "version") {
        Some(crate::Value::Int(version)) if *version > SCHEMA_VERSION => {
            let message = format!(
                "the installed schema has version {version}, newer than {SCHEMA_VERSION} which this library knows; \
                 upgrade the library"
            );
            Err(Error::new(Kind::Conflict, "install", message))
        }
        _ => Ok(()),
    }
}

/// Removes the engine with all queues and events. The roles stay, for other databases may use them.
pub async fn uninstall(client: &Client) -> Result<()> {
    client.own_connection("uninstall")?.execute_script("select pgque.uninstall()").await
}

fn in_file(name: &str, error: Error) -> Error {
    let message = format!("{name}: {}", error.message());
    Error::new(error.kind(), "install", message).with_source(error)
}
