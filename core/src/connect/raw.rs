//! Raw statements: what is refused of them, and the columns of a result without a row.

use tokio_postgres::types::Type;

use super::session::Session;
use crate::error::{Error, Result};
use crate::value::{self, ResultSet, TextParam};

/// What a statement begins with that may give rows, or none.
const QUERIES: [&str; 6] = ["select", "with", "values", "table", "fetch", "execute"];

/// Runs any one statement. `is_alone`: no transaction is open.
pub(super) async fn run(
    session: &Session,
    sql: &str,
    bound: &[(TextParam<'_>, Type)],
    is_alone: bool,
) -> Result<ResultSet> {
    let mut result = value::run(&session.client, sql, bound).await?;
    if result.rows.is_empty() && has_columns(sql) {
        result.columns = columns(session, sql, bound, is_alone).await?;
    }
    Ok(result)
}

/// Asks for the columns of a statement that has succeeded and given no row: the driver tells them with a row, and else
/// only of what it prepares.
async fn columns(session: &Session, sql: &str, bound: &[(TextParam<'_>, Type)], is_alone: bool) -> Result<Vec<String>> {
    // Else a pooler may have one server prepare the statement and another one forget it.
    if is_alone && !session.plans.is_kept(&session.client, session.backend).await {
        return Ok(Vec::new());
    }
    let types: Vec<Type> = bound.iter().map(|(_, kind)| kind.clone()).collect();
    match session.client.prepare_typed(sql, &types).await {
        Ok(statement) => Ok(statement.columns().iter().map(|column| column.name().to_owned()).collect()),
        // What the statement did is committed.
        Err(_) if is_alone => Ok(Vec::new()),
        Err(error) => Err(Error::from_driver("execute", error)),
    }
}

/// Whether the statement is one that gives rows, as far as its text tells; if in doubt, it is.
fn has_columns(sql: &str) -> bool {
    let text = without_comments(sql).trim_start_matches(|c: char| c == '(' || c.is_whitespace());
    let begins = |word: &&str| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    QUERIES.iter().any(begins) || sql.to_ascii_lowercase().contains("returning")
}

/// COPY from or to the client is a conversation of its own, in the midst of which the session would be stuck.
pub(super) fn check_copy(op: &'static str, sql: &str) -> Result<()> {
    let is_copy = |statement: &str| {
        let mut words = statement.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
        words.next().is_some_and(|word| word.eq_ignore_ascii_case("copy"))
            && words.any(|word| word.eq_ignore_ascii_case("stdin") || word.eq_ignore_ascii_case("stdout"))
    };
    match sql.split(';').map(without_comments).any(is_copy) {
        true => {
            let message = "COPY from stdin or to stdout is not possible here; use psql's \\copy, or insert and select";
            Err(Error::invalid(op, message))
        }
        false => Ok(()),
    }
}

/// The statement without the comments before it.
fn without_comments(statement: &str) -> &str {
    let mut rest = statement.trim_start();
    loop {
        let end = match rest.get(..2) {
            Some("--") => rest.split_once('\n'),
            Some("/*") => rest.split_once("*/"),
            _ => return rest,
        };
        rest = end.map_or("", |(_, rest)| rest.trim_start());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_through_the_client_is_known() {
        for sql in ["copy t from stdin", "-- a\n /* b */ COPY t TO STDOUT", "select 1; copy (select 1) to stdout"] {
            check_copy("execute", sql).unwrap_err();
        }
        for sql in ["copy t from '/tmp/file'", "select 'copy t from stdin'", "insert into copy values (1)", "--", ""] {
            check_copy("execute", sql).unwrap();
        }
    }

    #[test]
    fn what_gives_rows_is_known_by_its_text() {
        for sql in ["select 1", "-- a\n (SELECT 1)", "with a as (select 1) table a", "delete from t RETURNING id"] {
            assert!(has_columns(sql), "{sql}");
        }
        for sql in ["", "create table t ()", "update t set n = 1", "insert into t select 1", "é"] {
            assert!(!has_columns(sql), "{sql}");
        }
    }
}
