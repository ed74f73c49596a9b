//! The statements by which the installer looks at a database. What it makes of the answers is in `crate::schema`.

use super::Client;
use crate::connect::Connection;
use crate::error::Result;
use crate::value::Value;

// Two installers at once would both find nothing and collide; the second waits for the first to commit.
const LOCK: &str = "select pg_advisory_xact_lock(hashtext('pgque install'))::text";
const INSPECT: &str = "select to_regnamespace('pgque') is not null as schema, \
     to_regprocedure('pgque.schema_version()') is not null as ours";
const SCHEMA_VERSION: &str = "select pgque.schema_version()::bigint as version";
const UNINSTALL: &str = "select pgque.uninstall()::text";

/// What stands in the place of our schema.
pub(crate) enum Existing {
    Nothing,
    /// A schema `pgque` that is not ours.
    Foreign,
    /// Ours, with its version.
    Ours(i64),
}

pub(crate) async fn lock_and_inspect(connection: &Connection) -> Result<Existing> {
    connection.execute(LOCK, &[]).await?;
    let found = connection.execute(INSPECT, &[]).await?;
    let yes = |column| found.get(0, column) == Some(&Value::Bool(true));
    if !yes("schema") {
        return Ok(Existing::Nothing);
    }
    if !yes("ours") {
        return Ok(Existing::Foreign);
    }
    match connection.execute(SCHEMA_VERSION, &[]).await?.get(0, "version") {
        Some(Value::Int(version)) => Ok(Existing::Ours(*version)),
        _ => Ok(Existing::Foreign),
    }
}

impl Client {
    pub(crate) async fn drop_schema(&self) -> Result<()> {
        self.run("uninstall", UNINSTALL, vec![]).await.map(drop)
    }
}
