//! Which session of which server is wanted: hosts, login, what the session is called, who may serve it.

use std::fmt;
use std::path::PathBuf;

use super::hosts::{self, Host};
use super::parameters::Values;
use super::pgpass::{self, Login};
use super::secret::Secret;
use super::{DUBIOUS, Environment, RequireAuth, Timing, TlsSettings, wrong};
use crate::error::{Error, Kind, Result, ServerError};

const APPLICATION_NAME: &str = "pgque";

/// Everything that a connection attempt needs to know.
#[derive(Clone)]
pub(crate) struct Server {
    pub hosts: Vec<Host>,
    /// Whether the order of hosts and addresses is left to chance.
    pub load_balance: bool,
    pub target_session: TargetSession,
    pub user: String,
    pub dbname: String,
    password: Option<Secret>,
    passfile: Option<PathBuf>,
    pub options: Option<String>,
    pub application_name: String,
    pub require_auth: RequireAuth,
    pub channel_binding: ChannelBinding,
    pub timing: Timing,
    pub tls: TlsSettings,
    /// Hosts, ports and the database may be parts of a password: they are not to be shown.
    pub is_dubious: bool,
}

/// What kind of session a server must offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetSession {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelBinding {
    Prefer,
    Disable,
    Require,
}

const TARGET_SESSION: &[(&str, TargetSession)] = &[
    ("any", TargetSession::Any),
    ("read-write", TargetSession::ReadWrite),
    ("read-only", TargetSession::ReadOnly),
    ("primary", TargetSession::Primary),
    ("standby", TargetSession::Standby),
    ("prefer-standby", TargetSession::PreferStandby),
];

const CHANNEL_BINDING: &[(&str, ChannelBinding)] =
    &[("prefer", ChannelBinding::Prefer), ("disable", ChannelBinding::Disable), ("require", ChannelBinding::Require)];

impl Server {
    pub(super) fn new(values: &Values, environment: &Environment) -> Result<Server> {
        check_encoding(values)?;
        let user = match values.text("user") {
            Some(user) => user.to_owned(),
            None => whoami::username().map_err(|e| wrong(format!("user: this account has no name ({e}); give one")))?,
        };
        let name = values.text("application_name").or(values.text("fallback_application_name"));
        Ok(Server {
            hosts: hosts::hosts(values)?,
            load_balance: values.choice("load_balance_hosts", &[("disable", false), ("random", true)])?,
            target_session: values.choice("target_session_attrs", TARGET_SESSION)?,
            dbname: values.text("dbname").unwrap_or(&user).to_owned(),
            user,
            password: values.text("password").map(Secret::new),
            passfile: values.text("passfile").map(PathBuf::from).or_else(|| environment.home(".pgpass")),
            options: options(values, environment),
            application_name: name.unwrap_or(APPLICATION_NAME).to_owned(),
            require_auth: RequireAuth::read(values)?,
            channel_binding: values.choice("channel_binding", CHANNEL_BINDING)?,
            timing: Timing::read(values)?,
            tls: TlsSettings::read(values, environment)?,
            is_dubious: false,
        })
    }

    /// The password for one of the hosts.
    pub(crate) fn password(&self, host: &Host) -> Option<Secret> {
        let from_file = || {
            let (name, dbname, user) = (host.in_password_file(), &self.dbname, &self.user);
            pgpass::find(self.passfile.as_deref()?, &Login { host: &name, port: host.port, dbname, user })
        };
        self.password.clone().or_else(from_file)
    }

    /// Whether a server that does not write is the wrong one.
    pub(crate) fn wants_to_write(&self) -> bool {
        matches!(self.target_session, TargetSession::ReadWrite | TargetSession::Primary)
    }

    /// Hosts and ports, for people.
    pub(crate) fn names(&self) -> String {
        self.hosts.iter().map(Host::to_string).collect::<Vec<_>>().join(", ")
    }

    /// The error without words that may be parts of a password.
    pub(crate) fn conceal(&self, error: Error) -> Error {
        match (self.is_dubious, error.server()) {
            (false, _) => error,
            (true, None) => Error::new(error.kind(), "connect", DUBIOUS),
            (true, Some(server)) => {
                let sqlstate = server.sqlstate.clone();
                Error::from_server("connect", ServerError { sqlstate, message: DUBIOUS.into(), ..Default::default() })
            }
        }
    }
}

/// Shows no secret: passwords and key material are left out.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Server");
        if !self.is_dubious {
            shown.field("hosts", &self.names()).field("dbname", &self.dbname).field("user", &self.user);
        }
        shown.finish_non_exhaustive()
    }
}

/// Texts travel as UTF-8, whatever the database itself is written in.
fn check_encoding(values: &Values) -> Result<()> {
    let Some(name) = values.text("client_encoding") else { return Ok(()) };
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    match plain.to_ascii_lowercase().as_str() {
        "utf8" | "unicode" | "auto" => Ok(()),
        _ => {
            let message = "the server converts for this client, which only speaks UTF8; leave it out";
            Err(Error::new(Kind::Configuration, "connect", format!("client_encoding \"{name}\": {message}")))
        }
    }
}

/// The session's start-up options; libpq's variables for single ones come after those of the user.
fn options(values: &Values, environment: &Environment) -> Option<String> {
    let mut options: Vec<String> = values.text("options").map(str::to_owned).into_iter().collect();
    for (variable, name) in [("PGDATESTYLE", "datestyle"), ("PGTZ", "timezone"), ("PGGEQO", "geqo")] {
        if let Some(value) = environment.variable(variable).filter(|v| !v.is_empty() && *v != "default") {
            let escaped = value.replace('\\', "\\\\").replace(' ', "\\ ");
            options.push(format!("-c {name}={escaped}"));
        }
    }
    (!options.is_empty()).then(|| options.join(" "))
}
