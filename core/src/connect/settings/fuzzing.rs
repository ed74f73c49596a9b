//! Service files and password files from a text, for `core/fuzz`.

use std::path::Path;
use std::sync::Arc;

use super::environment::Environment;
use super::parameters::Values;
use super::pgpass::Login;
use super::session::Server;
use super::{Settings, pgpass, service};
use crate::error::Result;

/// What a service of the file says, if the connection string names nothing but the service.
pub fn service_file(text: &str, service: &str) -> Result<Settings> {
    let mut values = Values::default();
    service::add_group(&mut values, text, service, Path::new("pg_service.conf"))?;
    values.check()?;
    let server = Arc::new(Server::new(&values, &Environment::empty())?);
    Ok(Settings { server, autocommit: true, reconnect: true })
}

/// Whether the file has a password for this login.
pub fn password_file(text: &str, host: &str, port: u16, dbname: &str, user: &str) -> bool {
    pgpass::first(text, &Login { host, port, dbname, user }).is_some()
}
