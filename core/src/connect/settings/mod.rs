//! Connection settings, as libpq reads them: connection string, service file, environment, defaults, in this order.

mod environment;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;
mod hosts;
mod parameters;
mod pgpass;
mod require_auth;
mod secret;
mod service;
mod session;
mod text;
mod timing;
mod tls;

use std::fmt;
use std::sync::Arc;

pub(crate) use hosts::{Host, Place};
pub(crate) use require_auth::{Method, RequireAuth, name as method_name};
pub(crate) use session::{ChannelBinding, Server, TargetSession};
pub(crate) use timing::Timing;
pub(crate) use tls::{Mode, Roots, TlsSettings, Version};

use crate::error::{Error, Kind, Result};
use crate::executor::check_nul;
use environment::Environment;

/// Where and how to connect.
#[derive(Clone)]
pub struct Settings {
    pub(crate) server: Arc<Server>,
    pub(crate) autocommit: bool,
    /// Whether a lost connection in autocommit is replaced at the next call.
    pub(crate) reconnect: bool,
}

impl Settings {
    /// Parses `postgresql://user:password@host:port/dbname?parameter=value` or `host=… dbname=…`.
    ///
    /// What the string leaves out comes from a service file, from the `PG…` variables of this moment, and from
    /// libpq's defaults. Fails with `configuration` and names the parameter that is not understood or that
    /// cannot be honoured. Files of certificates and passwords are read when a connection is made.
    pub fn parse(dsn: &str) -> Result<Settings> {
        Settings::parse_in(dsn, &Environment::of_process())
    }

    /// As [`Settings::parse`], from the text alone. For tests that must not depend on who runs them.
    #[doc(hidden)]
    pub fn parse_alone(dsn: &str) -> Result<Settings> {
        Settings::parse_in(dsn, &Environment::empty())
    }

    fn parse_in(dsn: &str, environment: &Environment) -> Result<Settings> {
        check_nul("connect", "dsn", dsn).map_err(|e| wrong(e.message().to_owned()))?;
        let is_dubious = text::is_dubious(dsn);
        let mut server = Settings::read(dsn, environment).map_err(|error| match is_dubious {
            true => wrong(DUBIOUS.into()),
            false => error,
        })?;
        server.is_dubious = is_dubious;
        Ok(Settings { server: Arc::new(server), autocommit: true, reconnect: true })
    }

    fn read(dsn: &str, environment: &Environment) -> Result<Server> {
        let mut values = text::parse(dsn)?;
        service::add(&mut values, environment)?;
        values.add_environment(environment);
        values.check()?;
        Server::new(&values, environment)
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
}

/// Shows no secret: passwords and key material are left out.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("server", &self.server)
            .field("autocommit", &self.autocommit)
            .finish_non_exhaustive()
    }
}

/// All that is said of a URI that may show its password in the wrong place.
const DUBIOUS: &str = "the URI has an \"@\" behind a \"/\", and nothing of it is shown: write %2F for a \"/\" in the \
     password, %40 for an \"@\" in the name of the database";

/// A setting that cannot be used.
pub(crate) fn wrong(message: String) -> Error {
    Error::new(Kind::Configuration, "connect", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let encoded = ["postgresql://u:s3cret@h/d", "host=h password=s3cret", "postgresql://h/d?password=s3cret"];
        let not_encoded = [
            "postgresql://u:1/s3cret@h/d",
            "postgresql://s3cret:1/x@h/d",
            "postgresql://u:p@s3cret/x@h",
            "postgresql://u:p/s3cret@h",
        ];
        for dsn in encoded.into_iter().chain(not_encoded) {
            match Settings::parse_alone(dsn) {
                Ok(settings) => assert!(!format!("{settings:?}").contains("s3cret"), "{settings:?}"),
                Err(error) => assert!(!format!("{error:?}").contains("s3cret"), "{error:?}"),
            }
        }
        let unreadable = ["postgresql://u:s3cret%@h/d", "s3cret", "host=h password='s3cret", "scram_client_key=s3cret"];
        let not_encoded =
            ["postgresql://u:s3cret/@h/d", "postgresql://u:p@s3cret@h/d", "postgresql://h/d?password=p&s3cret"];
        let parameters =
            ["postgresql://h/d?password=p&s3cret=x", "postgresql://u:1/a?s3cret=x@h", "host=h password=my s3cret=x"];
        for dsn in unreadable.into_iter().chain(not_encoded).chain(parameters) {
            let error = Settings::parse_alone(dsn).unwrap_err();
            assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        }
    }

    #[test]
    fn servers_are_named_with_their_ports() {
        let server = |dsn| Settings::parse_alone(dsn).unwrap().server.names();
        assert_eq!(server("postgresql://a:1,b:2/d"), "a:1, b:2");
        assert_eq!(server("host=a,b port=7"), "a:7, b:7");
        assert_eq!(server("host=/tmp"), "/tmp/.s.PGSQL.5432");
        assert_eq!(server("hostaddr=127.0.0.1"), "127.0.0.1:5432");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(
            text in proptest::prelude::any::<String>(),
            form in "(postgresql://|host=h )[a-z0-9@:/?&=%,'\\\\ \\[\\]._-]{0,60}",
        ) {
            for dsn in [text.clone(), format!("postgresql://{text}"), format!("host=h password={text}"), form] {
                if let Err(error) = Settings::parse_alone(&dsn) {
                    proptest::prop_assert_eq!(error.kind(), Kind::Configuration);
                }
            }
        }
    }

    #[test]
    fn nul_is_a_wrong_setting_not_a_server_out_of_reach() {
        for dsn in ["host=a\0", "postgresql://h/a\0b", "postgresql://h/a%00b"] {
            assert_eq!(Settings::parse_alone(dsn).unwrap_err().kind(), Kind::Configuration);
        }
    }

    #[test]
    fn a_parameter_that_is_unknown_or_out_of_reach_is_named() {
        let cases = [
            ("host=h nonsense=1", "nonsense"),
            ("host=h gssencmode=require", "gssencmode"),
            ("host=h replication=database", "replication"),
            ("host=h client_encoding=LATIN1", "client_encoding"),
            ("host=h port=x", "port"),
            ("host=h connect_timeout=soon", "connect_timeout"),
            ("host=h sslmode=maybe", "sslmode"),
            ("host=h require_auth=trust", "require_auth"),
            ("host=a,b hostaddr=127.0.0.1", "hostaddr"),
        ];
        for (dsn, name) in cases {
            let error = Settings::parse_alone(dsn).unwrap_err();
            assert_eq!(error.kind(), Kind::Configuration, "{dsn}");
            assert!(error.message().contains(name), "{error}");
        }
    }
}
