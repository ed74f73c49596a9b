//! `pgque install`: the engine, or the SQL that would install it.

use super::args::Installing;
use super::failure::Outcome;
use super::output;
use crate::client::Client;
use crate::runtime::wait;
use crate::schema::{InstallOptions, Installed, SCHEMA_VERSION, install_plan, install_with};

pub(super) fn run(client: &Client, installing: &Installing) -> Outcome {
    let options = InstallOptions { adopt: installing.adopt };
    if installing.dry_run {
        return print(client, options);
    }
    let from = match wait(install_with(client, options))? {
        Installed::Upgraded(version) => format!(", from version {version}"),
        Installed::Adopted(version) => format!(", taken over from PgQue {version}"),
        Installed::New | Installed::Again => String::new(),
    };
    output::line(&format!("installed: schema version {SCHEMA_VERSION}{from}"))
}

/// One script, to be run by psql as it is.
fn print(client: &Client, options: InstallOptions) -> Outcome {
    let steps = wait(install_plan(client, options))?;
    output::line("begin;")?;
    for step in steps {
        output::line(&format!("\n-- {}\n{}", step.name, step.sql.trim_end()))?;
    }
    output::line("\ncommit;")
}
