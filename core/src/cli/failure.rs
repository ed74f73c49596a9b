//! How a command fails: one line that names the next step.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};

use crate::error::{Error, Kind};

pub(super) type Outcome<T = ()> = Result<T, Failure>;

/// What stands in the place of what is not to be shown.
const HIDDEN: &str = "…";

#[derive(Debug)]
pub(super) enum Failure {
    /// An error of the library, with a next step that fits the command line.
    Library(Error),
    /// A failure of the command itself; the text names the next step.
    Other(String),
    /// The arguments do not suffice.
    Usage(String),
    /// Nobody reads our output any more, which is how `pgque tail q | head` is meant to end.
    BrokenPipe,
}

impl Failure {
    pub fn exit_code(&self) -> i32 {
        match self {
            Failure::Library(_) | Failure::Other(_) => 1,
            Failure::Usage(_) => 2,
            Failure::BrokenPipe => 0,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Library(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::BrokenPipe,
            _ => Failure::Other(error.to_string()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Failure::Library(error) => match next_step(error) {
                Some(step) => format!("{error}; {step}"),
                None => error.to_string(),
            },
            Failure::Other(text) | Failure::Usage(text) => text.clone(),
            Failure::BrokenPipe => "broken pipe".to_owned(),
        };
        // One line, whatever the server wrote.
        f.write_str(&text.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

/// What to do about it on the command line, where the error itself does not say it.
fn next_step(error: &Error) -> Option<&'static str> {
    match error.kind() {
        Kind::Connection => Some(match error.sqlstate() {
            Some("28P01") => "check user and password in --dsn or PGQUE_DSN",
            Some("3D000") => "create the database first, or name another with --dsn or PGQUE_DSN",
            Some(state) if state.starts_with("28") => {
                "check the user in --dsn or PGQUE_DSN, and the server's pg_hba.conf"
            }
            _ => "name a running server with --dsn or PGQUE_DSN, or start a throw-away one with `pgque dev`",
        }),
        Kind::Configuration if error.op() == "connect" => {
            Some("a connection string looks like postgresql://user@host:5432/database")
        }
        Kind::QueueNotFound => Some("see `pgque queue list`, or create it with `pgque queue create`"),
        Kind::ConsumerNotFound => Some("see `pgque status`, or register it with `pgque subscribe`"),
        Kind::PermissionDenied => Some("have the role pgque_reader, pgque_writer or pgque_admin granted to this user"),
        Kind::Conflict if error.op() == "drop_queue" => Some("unsubscribe its consumers, or repeat with --force"),
        Kind::InvalidInput if error.message().contains("is not valid JSON") => {
            Some("write JSON, or send text as it is with --text")
        }
        _ => None,
    }
}

/// Prints what is wrong with the arguments, but not a connection string in the wrong place: it may hold a password.
pub(super) fn print_usage(error: &clap::Error, args: &[OsString]) {
    match without_connection_strings(&error.to_string(), args) {
        Some(text) => drop(write!(io::stderr(), "{text}")),
        None => drop(error.print()),
    }
}

/// `None` if the text quotes none.
fn without_connection_strings(text: &str, args: &[OsString]) -> Option<String> {
    let is_one = |text: &str| text.contains("://") || text.contains("password");
    let mut clean = text.to_owned();
    for arg in args.iter().skip(1).map(|arg| arg.to_string_lossy()) {
        let value = arg.split_once('=').filter(|(name, _)| name.starts_with('-')).map_or(&*arg, |(_, value)| value);
        if is_one(value) {
            clean = clean.replace(value, HIDDEN);
        }
    }
    (clean != text).then(|| format!("{clean}\na connection string goes behind --dsn, or into PGQUE_DSN\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ServerError;

    #[test]
    fn a_connection_string_in_the_wrong_place_is_not_repeated() {
        let quoted = |args: &[&str]| {
            let args: Vec<OsString> = args.iter().map(OsString::from).collect();
            let error = clap::Parser::try_parse_from(&args).map(|_: super::super::Cli| ()).unwrap_err();
            without_connection_strings(&error.to_string(), &args)
        };
        let uri = "postgresql://u:s3cret@h/d";
        for args in [
            &["pgque", uri] as &[_],
            &["pgque", "status", uri],
            &["pgque", "status", "host=h password=s3cret"],
            &["pgque", "tail", "q", "--count=postgresql://u:s3cret@h/d"],
            &["pgque", "tail", "q", "--count", uri],
        ] {
            let text = quoted(args).unwrap();
            assert!(!text.contains("s3cret") && text.contains("--dsn"), "{text}");
        }
        assert_eq!(quoted(&["pgque", "nonsense"]), None);
    }

    #[test]
    fn an_error_is_one_line_with_a_next_step() {
        let server = ServerError { sqlstate: "28P01".into(), message: "refused\n  twice".into(), ..Default::default() };
        let text = Failure::from(Error::from_server("connect", server)).to_string();
        assert_eq!(text, "connect: refused twice; check user and password in --dsn or PGQUE_DSN");
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure.exit_code(), 0);
    }
}
