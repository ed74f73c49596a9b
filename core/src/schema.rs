//! Installing, upgrading and removing the engine.

use crate::client::{
    Client, Existing, drop_changed, lock_and_inspect, pgque_version, signatures, step_aside, step_back, version_is,
};
use crate::connect::{Connection, TransactionStatus};
use crate::error::{Error, Kind, Result};

/// The version of the schema in `sql/`, which the database keeps as `pgque.config.schema_version`.
///
/// Version 0 is a schema of PgQue 0.1 or 0.2.
pub const SCHEMA_VERSION: i64 = 1;

// `ENGINE`: the files of `sql/` in the order of their names, each with its text.
// `MIGRATIONS`: those of `sql/migrations/`, each with the version that it leads to.
include!(concat!(env!("OUT_DIR"), "/engine.rs"));

/// What an installation may do beyond the ordinary.
#[derive(Clone, Copy, Debug, Default)]
pub struct InstallOptions {
    /// Take over a schema of PgQue 0.1 or 0.2 in place, with everything in it.
    pub adopt: bool,
}

/// What an installation found, and made into the engine of this library.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Installed {
    New,
    /// The engine was there already; its functions and grants have been written again.
    Again,
    /// From this version.
    Upgraded(i64),
    /// From this version of PgQue.
    Adopted(String),
}

/// A part of an installation: SQL and where it comes from.
#[derive(Clone, Debug)]
pub struct InstallStep {
    pub name: String,
    pub sql: String,
}

/// Installs the engine, or brings an existing one of ours up to date. One transaction; repeating it is harmless.
///
/// Needs a role that may create a schema and roles. Fails with `conflict` and leaves the database as it is if its
/// `pgque` schema is not ours, or newer than this library.
pub async fn install(client: &Client) -> Result<()> {
    install_with(client, InstallOptions::default()).await.map(drop)
}

/// As [`install`], with options.
pub async fn install_with(client: &Client, options: InstallOptions) -> Result<Installed> {
    let connection = own_idle_connection(client)?;
    let scope = connection.scope().await?;
    let installed = async {
        let (installed, steps) = plan(connection, options).await?;
        run(connection, &steps).await?;
        Ok(installed)
    };
    match installed.await {
        Ok(installed) => scope.commit().await.map(|()| installed),
        Err(error) => {
            scope.rollback().await?;
            Err(error)
        }
    }
}

/// What [`install_with`] would run, as one transaction. Leaves the database as it is: whatever has to be tried to
/// find out is rolled back.
pub async fn install_plan(client: &Client, options: InstallOptions) -> Result<Vec<InstallStep>> {
    let connection = own_idle_connection(client)?;
    let scope = connection.scope().await?;
    let result = plan(connection, options).await.map(|(_, steps)| steps);
    scope.rollback().await?;
    result
}

fn own_idle_connection(client: &Client) -> Result<&Connection> {
    let connection = client.own_connection("install")?;
    match connection.transaction_status() {
        TransactionStatus::Idle => Ok(connection),
        _ => Err(conflict("a transaction is open; commit or roll back first")),
    }
}

async fn plan(connection: &Connection, options: InstallOptions) -> Result<(Installed, Vec<InstallStep>)> {
    let (installed, version) = match lock_and_inspect(connection).await? {
        Existing::Nothing => (Installed::New, SCHEMA_VERSION),
        Existing::PgQue if options.adopt => (Installed::Adopted(adoptable(connection).await?), 0),
        Existing::PgQue => {
            return Err(conflict(
                "the database has a pgque schema of PgQue itself; it is unchanged; have it taken over as it is with \
                 `pgque install --adopt`",
            ));
        }
        Existing::Foreign => {
            return Err(conflict("the database has a pgque schema that this library did not install; it is unchanged"));
        }
        Existing::Ours(version) if version > SCHEMA_VERSION => {
            return Err(conflict(format!(
                "the installed schema has version {version}, newer than {SCHEMA_VERSION} which this library knows; \
                 upgrade the library"
            )));
        }
        Existing::Ours(SCHEMA_VERSION) => (Installed::Again, SCHEMA_VERSION),
        Existing::Ours(version) => (Installed::Upgraded(version), version),
    };
    let mut steps = Vec::new();
    if version < SCHEMA_VERSION {
        steps.extend(make_way(connection).await?);
        steps.extend(migrations(MIGRATIONS, version));
    }
    steps.extend(engine());
    steps.push(record_version());
    Ok((installed, steps))
}

/// The version of the PgQue that is to be adopted.
async fn adoptable(connection: &Connection) -> Result<String> {
    let version = pgque_version(connection).await?;
    if version.starts_with("0.1") || version.starts_with("0.2") {
        return Ok(version);
    }
    Err(conflict(format!("the pgque schema is of PgQue {version}; 0.1 and 0.2 can be adopted; it is unchanged")))
}

/// Functions that `create or replace` cannot change. Which these are, a trial tells: the engine is installed beside
/// the schema, which steps aside under another name, and everything is rolled back.
async fn make_way(connection: &Connection) -> Result<Option<InstallStep>> {
    let wanted = beside(connection, signatures).await?;
    let statement = drop_changed(connection, wanted).await?;
    Ok(statement
        .map(|sql| InstallStep { name: "functions whose signature changes".to_owned(), sql: format!("{sql};") }))
}

/// Looks at a new installation of the engine, of which nothing is left afterwards. Needs an open transaction.
pub(crate) async fn beside<T>(connection: &Connection, look: impl AsyncFnOnce(&Connection) -> Result<T>) -> Result<T> {
    step_aside(connection).await.map_err(|e| in_step("trial", e))?;
    run(connection, &engine()).await?;
    // Local settings of the engine's files stay in force until the rollback, as they do for everyone else.
    let seen = look(connection).await?;
    step_back(connection).await?;
    Ok(seen)
}

fn engine() -> Vec<InstallStep> {
    ENGINE.iter().map(|(name, sql)| InstallStep { name: (*name).to_owned(), sql: (*sql).to_owned() }).collect()
}

/// The steps from one version to the newest, in order.
fn migrations(all: &[(i64, &str, &str)], from: i64) -> Vec<InstallStep> {
    let step = |(_, name, sql): &(i64, &str, &str)| InstallStep { name: (*name).to_owned(), sql: (*sql).to_owned() };
    all.iter().filter(|(to, _, _)| *to > from).map(step).collect()
}

fn record_version() -> InstallStep {
    InstallStep { name: "version".to_owned(), sql: version_is(SCHEMA_VERSION) }
}

async fn run(connection: &Connection, steps: &[InstallStep]) -> Result<()> {
    for step in steps {
        log::debug!(target: "pgque", "install {}", step.name);
        connection.execute_script(&step.sql).await.map_err(|e| in_step(&step.name, e))?;
    }
    Ok(())
}

/// Removes the engine with all queues and events, and its schedules. The roles stay, for other databases may use them.
///
/// Fails with `not_installed` if there is none, and with `conflict` if the schema is not ours.
pub async fn uninstall(client: &Client) -> Result<()> {
    match client.schema_state("uninstall").await?.as_str() {
        "ours" => client.drop_schema().await,
        "nothing" => Err(Error::new(Kind::NotInstalled, "uninstall", "the database has no pgque schema")),
        _ => {
            let message = "the database has a pgque schema that this library did not install; it is unchanged";
            Err(Error::new(Kind::Conflict, "uninstall", message))
        }
    }
}

fn conflict(message: impl Into<String>) -> Error {
    Error::new(Kind::Conflict, "install", message)
}

/// Names the file, for a person who looks for the reason.
fn in_step(name: &str, error: Error) -> Error {
    let message = format!("{name}: {}", error.message());
    Error::new(error.kind(), "install", message).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_lead_to_the_version_of_the_schema_one_by_one() {
        let versions: Vec<i64> = MIGRATIONS.iter().map(|(version, _, _)| *version).collect();
        assert_eq!(versions, (1..=SCHEMA_VERSION).collect::<Vec<_>>());
    }

    #[test]
    fn only_later_migrations_run() {
        let all = [(1, "0001_a.sql", ""), (2, "0002_b.sql", ""), (3, "0003_c.sql", "")];
        let names = |from| migrations(&all, from).into_iter().map(|step| step.name).collect::<Vec<_>>();
        assert_eq!(names(0), ["0001_a.sql", "0002_b.sql", "0003_c.sql"]);
        assert_eq!(names(2), ["0003_c.sql"]);
        assert!(names(3).is_empty());
    }

    /// Whoever runs the files by hand gets the same version.
    #[test]
    fn the_tables_begin_with_the_version_of_the_schema() {
        let tables = ENGINE.iter().find(|(name, _)| *name == "10_tables.sql").map(|(_, sql)| *sql).unwrap();
        assert!(tables.contains(&format!("schema_version integer not null default {SCHEMA_VERSION}")));
    }
}
