//! The one error type: its kinds, their stable numbers, and how a server error is classified.

use std::error::Error as StdError;
use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as far as a caller would act on it differently.
///
/// Numbers and names are stable and never reused; zero means success in the C interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(i32)]
pub enum Kind {
    /// The server cannot be reached, refused the login, or the connection was lost.
    Connection = 1,
    /// A setting or option is wrong.
    Configuration = 2,
    /// The client, consumer or ticker is closed.
    Closed = 3,
    /// A time limit passed before the server answered.
    Timeout = 4,
    QueueNotFound = 5,
    ConsumerNotFound = 6,
    BatchNotFound = 7,
    /// The batch holds more messages than the caller's limit; nothing was advanced.
    Overflow = 8,
    PermissionDenied = 9,
    /// An argument is not acceptable.
    InvalidInput = 10,
    /// The call does not fit the present state of the object, or lost against a concurrent one.
    Conflict = 11,
    /// The database has no usable `pgque` schema.
    NotInstalled = 12,
    /// Any other error that the server reported.
    Server = 13,
    /// A defect in this library.
    Internal = 14,
    /// The caller's own interrupt (Ctrl-C, an abort signal) ended the wait.
    Interrupted = 15,
}

impl Kind {
    pub const ALL: [Kind; 15] = [
        Kind::Connection,
        Kind::Configuration,
        Kind::Closed,
        Kind::Timeout,
        Kind::QueueNotFound,
        Kind::ConsumerNotFound,
        Kind::BatchNotFound,
        Kind::Overflow,
        Kind::PermissionDenied,
        Kind::InvalidInput,
        Kind::Conflict,
        Kind::NotInstalled,
        Kind::Server,
        Kind::Internal,
        Kind::Interrupted,
    ];

    pub fn number(self) -> i32 {
        self as i32
    }

    /// The stable name, for instance `queue_not_found`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Connection => "connection",
            Kind::Configuration => "configuration",
            Kind::Closed => "closed",
            Kind::Timeout => "timeout",
            Kind::QueueNotFound => "queue_not_found",
            Kind::ConsumerNotFound => "consumer_not_found",
            Kind::BatchNotFound => "batch_not_found",
            Kind::Overflow => "overflow",
            Kind::PermissionDenied => "permission_denied",
            Kind::InvalidInput => "invalid_input",
            Kind::Conflict => "conflict",
            Kind::NotInstalled => "not_installed",
            Kind::Server => "server",
            Kind::Internal => "internal",
            Kind::Interrupted => "interrupted",
        }
    }
}

/// Every failure of this library.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    op: &'static str,
    message: String,
    server: Option<ServerError>,
    configured_limit: Option<i64>,
    uncertain: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What the server said, kept whole.
#[derive(Clone, Debug, Default)]
pub struct ServerError {
    pub sqlstate: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    pub constraint: Option<String>,
}

impl Error {
    pub fn new(kind: Kind, op: &'static str, message: impl Into<String>) -> Error {
        let (message, server, configured_limit, uncertain, source) = (message.into(), None, None, false, None);
        Error(Box::new(Inner { kind, op, message, server, configured_limit, uncertain, source }))
    }

    pub fn invalid(op: &'static str, message: impl Into<String>) -> Error {
        Error::new(Kind::InvalidInput, op, message)
    }

    /// Classifies an error that the server reported while `op` ran.
    pub fn from_server(op: &'static str, server: ServerError) -> Error {
        let kind = classify(op, &server.sqlstate, &server.message);
        let message = match kind {
            Kind::NotInstalled => {
                format!("{}; install or upgrade the schema with `pgque install --dsn …`", server.message)
            }
            _ => server.message.clone(),
        };
        let mut error = Error::new(kind, op, message);
        error.0.server = Some(server);
        error
    }

    /// Turns a driver error into ours; anything the server did not say is about the connection.
    pub(crate) fn from_driver(op: &'static str, error: tokio_postgres::Error) -> Error {
        if let Some(db) = error.as_db_error() {
            let server = ServerError {
                sqlstate: db.code().code().to_owned(),
                message: db.message().to_owned(),
                detail: db.detail().map(str::to_owned),
                hint: db.hint().map(str::to_owned),
                constraint: db.constraint().map(str::to_owned),
            };
            return Error::from_server(op, server).with_source(error);
        }
        let message = innermost(&error);
        Error::new(Kind::Connection, op, message).with_source(error)
    }

    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn with_configured_limit(mut self, limit: i64) -> Error {
        self.0.configured_limit = Some(limit);
        self
    }

    pub(crate) fn with_uncertainty(mut self) -> Error {
        self.0.uncertain = true;
        self
    }

    /// The same error for another caller. The source stays with the first.
    pub(crate) fn again(&self) -> Error {
        let Inner { kind, op, message, server, configured_limit, uncertain, .. } = &*self.0;
        let (kind, op, message, server) = (*kind, *op, message.clone(), server.clone());
        let (configured_limit, uncertain) = (*configured_limit, *uncertain);
        Error(Box::new(Inner { kind, op, message, server, configured_limit, uncertain, source: None }))
    }

    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The operation that failed, for instance `receive`.
    pub fn op(&self) -> &'static str {
        self.0.op
    }

    /// What went wrong, without the operation's name.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn sqlstate(&self) -> Option<&str> {
        self.server().map(|s| s.sqlstate.as_str())
    }

    pub fn detail(&self) -> Option<&str> {
        self.server().and_then(|s| s.detail.as_deref())
    }

    pub fn hint(&self) -> Option<&str> {
        self.server().and_then(|s| s.hint.as_deref())
    }

    pub fn constraint(&self) -> Option<&str> {
        self.server().and_then(|s| s.constraint.as_deref())
    }

    pub fn server(&self) -> Option<&ServerError> {
        self.0.server.as_ref()
    }

    /// The caller's limit that an [`Kind::Overflow`] exceeded.
    pub fn configured_limit(&self) -> Option<i64> {
        self.0.configured_limit
    }

    /// Whether it is not known if the call took effect. To repeat it could do it twice.
    pub fn is_uncertain(&self) -> bool {
        self.0.uncertain
    }

    /// Whether the same call may succeed later without any change by the caller, or doing anything twice.
    pub fn is_retriable(&self) -> bool {
        match self.0.kind {
            _ if self.0.uncertain => false,
            Kind::Connection => !self.sqlstate().is_some_and(is_refusal),
            Kind::Timeout => true,
            Kind::Conflict => matches!(self.sqlstate(), Some("40001" | "40P01" | "55P03")),
            Kind::Server => self.sqlstate().is_some_and(|s| s.starts_with("53") || s.starts_with("58") || s == "25006"),
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.op, self.0.message)?;
        match self.hint() {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|s| s as &(dyn StdError + 'static))
    }
}

/// Logins and databases that do not exist will not come into being by trying again.
fn is_refusal(sqlstate: &str) -> bool {
    sqlstate.starts_with("28") || sqlstate == "3D000"
}

/// SQLSTATE first; the texts of a foreign engine only where it raises without a state of its own.
fn classify(op: &str, sqlstate: &str, message: &str) -> Kind {
    match sqlstate {
        "PQ001" => Kind::QueueNotFound,
        "PQ002" => Kind::ConsumerNotFound,
        "PQ003" | "PQP01" => Kind::BatchNotFound,
        "PQ004" | "PQP02" => Kind::InvalidInput,
        "PQ005" => Kind::Conflict,
        "PQ009" => Kind::Server,
        "P0001" => by_text(message),
        "54000" if is_overflow(op, message) => Kind::Overflow,
        "42501" => Kind::PermissionDenied,
        // A raw statement may miss a schema or function of the caller's own.
        "3F000" | "42883" | "42P01" if op != "execute" => Kind::NotInstalled,
        // The parameters of a raw statement do not fit it; elsewhere this is a proxy's word for a lost server.
        "08P01" if op == "execute" => Kind::InvalidInput,
        "57014" | "55P03" => Kind::Timeout,
        "57P01" | "57P02" | "57P03" | "57P05" | "3D000" => Kind::Connection,
        // A database that takes no connections for now, or a server that has none left.
        s if op == "connect" && (s == "55000" || s.starts_with("53")) => Kind::Connection,
        "40001" | "40P01" | "55000" | "23505" => Kind::Conflict,
        "23502" | "22023" | "0A000" => Kind::InvalidInput,
        s if s.starts_with("08") || s.starts_with("28") => Kind::Connection,
        s if s.starts_with("22") => Kind::InvalidInput,
        _ => Kind::Server,
    }
}

fn is_overflow(op: &str, message: &str) -> bool {
    message.starts_with(&format!("pgque.{op}: batch exceeds max_return of "))
}

/// The sentences by which an engine without states of its own (PgQue 0.2.x) is understood.
const TEXTS: [(&str, Kind); 18] = [
    ("queue not found", Kind::QueueNotFound),
    ("no such queue", Kind::QueueNotFound),
    ("no such event queue", Kind::QueueNotFound),
    ("event queue not created", Kind::QueueNotFound),
    ("not subscriber to queue", Kind::ConsumerNotFound),
    ("consumer not registered", Kind::ConsumerNotFound),
    ("consumer not found", Kind::ConsumerNotFound),
    ("batch not found", Kind::BatchNotFound),
    ("cannot find data for batch", Kind::BatchNotFound),
    ("dead letter entry not found", Kind::InvalidInput),
    ("max_return must be", Kind::InvalidInput),
    ("must not", Kind::InvalidInput),
    ("not found in batch", Kind::InvalidInput),
    ("queue name too long", Kind::InvalidInput),
    ("unsupported batch_handling", Kind::InvalidInput),
    ("invalid null value", Kind::InvalidInput),
    ("set_queue_config:", Kind::InvalidInput),
    ("cannot change parameter", Kind::InvalidInput),
];

fn by_text(message: &str) -> Kind {
    let message = message.to_lowercase();
    let known = TEXTS.iter().find(|(text, _)| message.contains(text));
    known.map_or_else(|| conflict_or_server(&message), |(_, kind)| *kind)
}

/// Sentences about an object in the wrong state.
fn conflict_or_server(message: &str) -> Kind {
    const STATES: [&str; 8] = [
        "paused",
        "external tick",
        "already a normal consumer",
        "cooperative",
        "consumers still attached",
        "insert into queue disallowed",
        "cannot convert",
        "already registered",
    ];
    match STATES.iter().any(|text| message.contains(text)) {
        true => Kind::Conflict,
        false => Kind::Server,
    }
}

/// The driver's own text says little ("error connecting to server"); the reason lies at the bottom.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut parts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(source) = next {
        let text = source.to_string();
        if parts.last().is_none_or(|last| !last.contains(&text)) {
            parts.push(text);
        }
        next = source.source();
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_distinct() {
        for (i, kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(kind.number() as usize, i + 1);
            assert_eq!(Kind::ALL.iter().filter(|k| k.name() == kind.name()).count(), 1);
        }
    }

    #[test]
    fn overflow_needs_its_state_its_text_and_its_operation() {
        let text = "pgque.receive: batch exceeds max_return of 3";
        assert_eq!(classify("receive", "54000", text), Kind::Overflow);
        assert_eq!(classify("receive_coop", "54000", text), Kind::Server);
        assert_eq!(classify("receive", "54000", "stack depth limit exceeded"), Kind::Server);
    }

    #[test]
    fn wrong_parameters_of_a_raw_statement_are_not_a_lost_connection() {
        assert_eq!(classify("execute", "08P01", "bind message supplies 1 parameters"), Kind::InvalidInput);
        assert_eq!(classify("receive", "08P01", "server conn crashed?"), Kind::Connection);
    }

    #[test]
    fn a_server_that_takes_no_connections_for_now_may_be_tried_again() {
        for sqlstate in ["55000", "53300", "57P03"] {
            let server = ServerError { sqlstate: sqlstate.into(), ..ServerError::default() };
            let error = Error::from_server("connect", server);
            assert_eq!(error.kind(), Kind::Connection);
            assert!(error.is_retriable());
        }
        assert_eq!(classify("receive", "55000", ""), Kind::Conflict);
    }

    #[test]
    fn a_missing_schema_is_told_apart_from_the_callers_own_missing_table() {
        assert_eq!(classify("send", "3F000", "schema"), Kind::NotInstalled);
        assert_eq!(classify("execute", "42P01", "relation"), Kind::Server);
    }
}
