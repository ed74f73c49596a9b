//! Who runs a statement: our own connection, or the caller's.

use std::pin::Pin;
use std::sync::Arc;

use crate::connect::Connection;
use crate::error::{Error, Kind, Result, ServerError};
use crate::message::binary_message;
use crate::packed::MessageRef;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One argument, with the name by which an error speaks of it.
#[derive(Clone, Debug)]
pub struct Param {
    pub name: &'static str,
    pub value: ParamValue,
}

/// Everything travels as text, so that every driver sends the same thing; the SQL casts.
#[derive(Clone, Debug)]
pub enum ParamValue {
    Text(Option<String>),
    Array(Vec<Option<String>>),
}

impl Param {
    pub fn text(name: &'static str, value: impl Into<String>) -> Param {
        Param::maybe(name, Some(value.into()))
    }

    pub fn maybe(name: &'static str, value: Option<String>) -> Param {
        let value = ParamValue::Text(value);
        Param { name, value }
    }

    pub fn int(name: &'static str, value: i64) -> Param {
        Param::text(name, value.to_string())
    }

    pub fn array(name: &'static str, value: Vec<Option<String>>) -> Param {
        let value = ParamValue::Array(value);
        Param { name, value }
    }

    pub(crate) fn check(&self, op: &'static str) -> Result<()> {
        let mut texts = match &self.value {
            ParamValue::Text(value) => std::slice::from_ref(value),
            ParamValue::Array(values) => values,
        }
        .iter()
        .flatten();
        texts.try_for_each(|text| check_nul(op, self.name, text))
    }

    /// The form for drivers that know only text: arrays become PostgreSQL array literals.
    fn into_text(self) -> Option<String> {
        match self.value {
            ParamValue::Text(value) => value,
            ParamValue::Array(values) => Some(array_literal(&values)),
        }
    }
}

/// PostgreSQL text cannot hold a NUL; said here, the caller's transaction survives it.
pub fn check_nul(op: &'static str, name: &str, text: &str) -> Result<()> {
    match text.contains('\0') {
        true => Err(Error::invalid(op, format!("{name} must not contain NUL (0x00) bytes"))),
        false => Ok(()),
    }
}

fn array_literal(values: &[Option<String>]) -> String {
    let quoted = |value: &Option<String>| match value {
        None => "NULL".to_owned(),
        Some(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    };
    format!("{{{}}}", values.iter().map(quoted).collect::<Vec<_>>().join(","))
}

/// A typed call before it runs.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The operation, as errors name it.
    pub op: &'static str,
    /// The text with `$1` placeholders, each used once and in order, and text result columns.
    pub sql: &'static str,
    /// The same for our own connection, where binary columns are cheaper to decode than text.
    pub sql_binary: Option<&'static str>,
    pub params: Vec<Param>,
}

/// The rows of an answer, read column by column.
pub(crate) enum Rows {
    Own(Vec<tokio_postgres::Row>),
    Text(Vec<Vec<Option<String>>>),
}

/// How a driver writes a placeholder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// `$1`, as PostgreSQL itself and node-postgres.
    Dollar,
    /// `%s`, as psycopg.
    Percent,
    /// `$1::text`, as asyncpg, which asks the server for a parameter's type and takes text for no other.
    DollarText,
}

/// What a caller's connection answers when a statement fails.
#[derive(Clone, Debug)]
pub enum ForeignError {
    /// The server reported an error.
    Server(ServerError),
    /// The connection is lost, closed or unusable.
    Connection(String),
}

/// A connection that belongs to the caller: it runs a statement inside whatever transaction is open.
///
/// All parameters are text or NULL; all columns must come back as text or NULL.
pub trait ForeignConnection: Send + Sync {
    fn placeholder(&self) -> Placeholder;

    fn query<'a>(
        &'a self,
        sql: &'a str,
        params: Vec<Option<String>>,
    ) -> BoxFuture<'a, Result<Vec<Vec<Option<String>>>, ForeignError>>;
}

#[derive(Clone)]
pub(crate) enum Executor {
    Own(Connection),
    Foreign(Arc<dyn ForeignConnection>),
}

impl Executor {
    pub(crate) async fn run(&self, statement: Statement) -> Result<Rows> {
        for param in &statement.params {
            param.check(statement.op)?;
        }
        match self {
            Executor::Own(connection) => {
                let sql = statement.sql_binary.unwrap_or(statement.sql);
                let rows = connection.run(statement.op, sql, &statement.params).await?;
                Ok(Rows::Own(rows))
            }
            Executor::Foreign(foreign) => run_foreign(foreign.as_ref(), statement).await,
        }
    }
}

impl Executor {
    /// As `run`, for messages, which are handed on one by one.
    pub(crate) async fn run_messages(&self, statement: Statement, mut each: impl FnMut(MessageRef<'_>)) -> Result<()> {
        for param in &statement.params {
            param.check(statement.op)?;
        }
        match self {
            Executor::Own(connection) => {
                let sql = statement.sql_binary.unwrap_or(statement.sql);
                let each = |row| binary_message(&row).map(&mut each);
                connection.run_each(statement.op, sql, &statement.params, each).await
            }
            Executor::Foreign(foreign) => {
                let rows = run_foreign(foreign.as_ref(), statement).await?;
                (0..rows.len()).try_for_each(|row| rows.text_message(row).map(&mut each))
            }
        }
    }
}

async fn run_foreign(foreign: &dyn ForeignConnection, statement: Statement) -> Result<Rows> {
    let op = statement.op;
    let sql = match foreign.placeholder() {
        Placeholder::Dollar => statement.sql.to_owned(),
        Placeholder::Percent => each_placeholder(statement.sql, |_| "%s".to_owned()),
        Placeholder::DollarText => each_placeholder(statement.sql, |number| format!("${number}::text")),
    };
    let params = statement.params.into_iter().map(Param::into_text).collect();
    let rows = foreign.query(&sql, params).await.map_err(|e| match e {
        ForeignError::Server(server) => Error::from_server(op, server),
        ForeignError::Connection(message) => Error::new(Kind::Connection, op, message),
    })?;
    Ok(Rows::Text(rows))
}

/// Writes each placeholder anew, by its number; our own statements hold no literal `%` or `$`.
fn each_placeholder(sql: &str, write: impl Fn(&str) -> String) -> String {
    let mut pieces = sql.split('$');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let rest = piece.trim_start_matches(|c: char| c.is_ascii_digit());
        out.push_str(&write(&piece[..piece.len() - rest.len()]));
        out.push_str(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_rewritten_in_order() {
        let sql = "select pgque.send($1, $2, $13::jsonb)";
        assert_eq!(each_placeholder(sql, |_| "%s".into()), "select pgque.send(%s, %s, %s::jsonb)");
        let numbered = each_placeholder(sql, |number| format!("<{number}>"));
        assert_eq!(numbered, "select pgque.send(<1>, <2>, <13>::jsonb)");
    }

    #[test]
    fn array_literals_quote_what_postgres_would_read() {
        let values = [Some("a\"b\\c".into()), None, Some("NULL".into()), Some("{,}".into())];
        assert_eq!(array_literal(&values), r#"{"a\"b\\c",NULL,"NULL","{,}"}"#);
    }
}
