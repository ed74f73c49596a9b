//! Connection settings from a libpq URI or keyword string.

use std::fmt;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::error::{Error, Kind, Result};
use crate::executor::check_nul;

/// A server that does not answer at all is given up after this time, unless `connect_timeout` says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// libpq leaves keepalives to the kernel's two hours; a queue client has to notice a dead peer sooner.
const KEEPALIVES_IDLE: Duration = Duration::from_secs(30);

/// Where and how to connect.
#[derive(Clone)]
pub struct Settings {
    pub(crate) config: Config,
    pub(crate) autocommit: bool,
    /// Whether a lost connection in autocommit is replaced at the next call.
    pub(crate) reconnect: bool,
}

impl Settings {
    /// Parses `postgresql://user:password@host:port/dbname?option=value` or `host=… dbname=…`.
    ///
    /// Fails with `configuration` and names the parameter that is not understood.
    pub fn parse(dsn: &str) -> Result<Settings> {
        check_nul("connect", "dsn", dsn).map_err(|e| Error::new(Kind::Configuration, e.op(), e.message()))?;
        let mut config: Config = dsn.parse().map_err(bad_settings)?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            use_default_host(&mut config);
        }
        if config.get_application_name().is_none() {
            config.application_name("pgque");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if !dsn.contains("keepalives_idle") {
            config.keepalives_idle(KEEPALIVES_IDLE);
        }
        if config.get_ssl_mode() == SslMode::Require {
            let message = "sslmode=require is not supported yet; use sslmode=prefer or a local connection";
            return Err(Error::new(Kind::Configuration, "connect", message));
        }
        Ok(Settings { config, autocommit: true, reconnect: true })
    }

    /// With autocommit off, the first statement opens a transaction that `commit` or `rollback` ends.
    pub fn autocommit(mut self, on: bool) -> Settings {
        self.autocommit = on;
        self
    }

    /// Off for a connection that carries session state, such as LISTEN or an advisory lock.
    pub(crate) fn reconnect(mut self, on: bool) -> Settings {
        self.reconnect = on;
        self
    }

    /// Hosts and ports, for people: `db1:5432, db2:5433`.
    pub(crate) fn server(&self) -> String {
        let ports = self.config.get_ports();
        let port = |i: usize| ports.get(i).or(ports.first()).copied().unwrap_or(5432);
        let host = |(i, host): (usize, &Host)| match host {
            Host::Tcp(name) => format!("{name}:{}", port(i)),
            Host::Unix(folder) => format!("{}/.s.PGSQL.{}", folder.display(), port(i)),
        };
        let hosts: Vec<String> = self.config.get_hosts().iter().enumerate().map(host).collect();
        let address = |(i, address): (usize, &std::net::IpAddr)| format!("{address}:{}", port(i));
        match hosts.is_empty() {
            false => hosts.join(", "),
            true => self.config.get_hostaddrs().iter().enumerate().map(address).collect::<Vec<_>>().join(", "),
        }
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        self.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT)
    }
}

/// Shows no secret: the password is left out.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("hosts", &self.config.get_hosts())
            .field("ports", &self.config.get_ports())
            .field("dbname", &self.config.get_dbname())
            .field("user", &self.config.get_user())
            .field("autocommit", &self.autocommit)
            .finish_non_exhaustive()
    }
}

/// As libpq: the socket directory if it is there, else localhost.
fn use_default_host(config: &mut Config) {
    let directory = std::path::Path::new("/var/run/postgresql");
    match directory.is_dir() {
        true => config.host_path(directory),
        false => config.host("localhost"),
    };
}

fn bad_settings(error: tokio_postgres::Error) -> Error {
    use std::error::Error as _;
    let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    Error::new(Kind::Configuration, "connect", format!("bad connection string: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let settings = Settings::parse("postgresql://u:s3cret@h/d").unwrap();
        assert!(!format!("{settings:?}").contains("s3cret"));
    }

    #[test]
    fn servers_are_named_with_their_ports() {
        let server = |dsn| Settings::parse(dsn).unwrap().server();
        assert_eq!(server("postgresql://a:1,b:2/d"), "a:1, b:2");
        assert_eq!(server("host=a,b port=7"), "a:7, b:7");
        assert_eq!(server("host=/tmp"), "/tmp/.s.PGSQL.5432");
        assert_eq!(server("hostaddr=127.0.0.1"), "127.0.0.1:5432");
    }

    #[test]
    fn nul_is_a_wrong_setting_not_a_server_out_of_reach() {
        for dsn in ["host=a\0", "postgresql://h/a\0b"] {
            assert_eq!(Settings::parse(dsn).unwrap_err().kind(), Kind::Configuration);
        }
    }

    #[test]
    fn an_unknown_parameter_is_named() {
        let error = Settings::parse("host=h nonsense=1").unwrap_err();
        assert_eq!(error.kind(), Kind::Configuration);
        assert!(error.message().contains("nonsense"), "{error}");
    }
}
