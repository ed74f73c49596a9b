//! Statements that a session has had often enough for the server to keep their plans.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::TryStreamExt;
use futures_util::future::join;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Row, RowStream, Statement};

use super::session::Session;
use super::statement::once_sent;
use crate::value::TextParam;

/// Before so many uses it would cost more than it spares.
const USES_MIN: u32 = 5;

/// From which use on a statement is worth a plan.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Worth {
    Later,
    /// Of what is certain to be run over and over.
    AtOnce,
}

/// What a session has of each text. Of our own texts alone, which are few: they are told apart by where they stand.
#[derive(Default)]
pub(super) struct Prepared(Mutex<State>);

#[derive(Default)]
struct State {
    statements: HashMap<usize, Entry>,
    /// Behind a pooler the next transaction may meet another session, which knows nothing of them.
    is_kept: Option<bool>,
}

enum Entry {
    Used(u32),
    /// One call has it made. The others go on without, or all that are under way at once would have one made each.
    Making,
    Ready(Statement),
}

/// How a statement is to be run.
enum Plan {
    Plain,
    /// Plainly, and its plan is to be made beside it for those that come after.
    Make,
    Ready(Statement),
}

/// Runs a statement with the plan that the server has kept, if it has. `again` gives the right to run it once more
/// without, if it has forgotten the plan. The rows that came before an error are in `rows` as well.
pub(super) async fn query<T>(
    session: &Session,
    sql: &'static str,
    bound: &[(TextParam<'_>, Type)],
    worth: Worth,
    again: impl Future<Output = Option<T>>,
    rows: &mut Vec<Row>,
) -> Result<(), Error> {
    match session.plans.look(sql, worth) {
        Plan::Plain => plain(session, sql, bound, rows).await,
        Plan::Make => {
            let types = bound.iter().map(|(_, kind)| kind.clone()).collect();
            let make = session.plans.make(&session.client, session.backend, sql, types);
            // The statement first: who has the plan made must not be overtaken by those that come after.
            join(plain(session, sql, bound, rows), make).await.0
        }
        Plan::Ready(statement) => {
            let params = bound.iter().map(|(param, _)| param);
            match gather(session.client.query_raw(&statement, params).await, rows).await {
                Err(error) if is_forgotten(&error) => {
                    session.plans.forget();
                    rows.clear();
                    match again.await {
                        Some(right) => once_sent(right, pin!(plain(session, sql, bound, rows))).await,
                        None => Err(error),
                    }
                }
                result => result,
            }
        }
    }
}

async fn plain(
    session: &Session,
    sql: &'static str,
    bound: &[(TextParam<'_>, Type)],
    rows: &mut Vec<Row>,
) -> Result<(), Error> {
    let params = bound.iter().map(|(param, kind)| (param, kind.clone()));
    gather(session.client.query_typed_raw(sql, params).await, rows).await
}

async fn gather(stream: Result<RowStream, Error>, rows: &mut Vec<Row>) -> Result<(), Error> {
    let mut stream = pin!(stream?);
    while let Some(row) = stream.as_mut().try_next().await? {
        rows.push(row);
    }
    Ok(())
}

impl Prepared {
    /// Makes the plan, after `look` has said so. `backend` is what the login said.
    async fn make(&self, client: &Client, backend: i32, sql: &'static str, types: Vec<Type>) {
        let making = Making(self, sql);
        if self.is_kept(client, backend).await
            // Whatever is wrong with it, the statement itself will tell.
            && let Ok(statement) = client.prepare_typed(sql, &types).await
        {
            self.state().statements.insert(key(sql), Entry::Ready(statement));
        }
        drop(making);
    }

    /// After the server has said that it does not know one: somebody has had it forget them all.
    fn forget(&self) {
        self.state().statements.clear();
    }

    fn look(&self, sql: &'static str, worth: Worth) -> Plan {
        let mut state = self.state();
        if state.is_kept == Some(false) {
            return Plan::Plain;
        }
        let entry = state.statements.entry(key(sql)).or_insert(Entry::Used(0));
        match entry {
            Entry::Ready(statement) => Plan::Ready(statement.clone()),
            Entry::Making => Plan::Plain,
            Entry::Used(times) if worth == Worth::Later && *times < USES_MIN => {
                *times += 1;
                Plan::Plain
            }
            Entry::Used(_) => {
                *entry = Entry::Making;
                Plan::Make
            }
        }
    }

    /// Whether the session is the server's own. A pooler gives a process id of its own making.
    pub(super) async fn is_kept(&self, client: &Client, backend: i32) -> bool {
        if let Some(known) = self.state().is_kept {
            return known;
        }
        let Ok(rows) = client.query_typed("select pg_catalog.pg_backend_pid()", &[]).await else { return false };
        let is_kept = rows.first().and_then(|row| row.try_get(0).ok()) == Some(backend);
        self.state().is_kept = Some(is_kept);
        is_kept
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// If the plan was not made, for whatever reason, another call may try.
struct Making<'a>(&'a Prepared, &'static str);

impl Drop for Making<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.0.state().statements.get_mut(&key(self.1))
            && matches!(entry, Entry::Making)
        {
            *entry = Entry::Used(0);
        }
    }
}

fn key(sql: &'static str) -> usize {
    sql.as_ptr().addr()
}

/// Whether the server had no such plan, or none that still holds, and so did nothing.
fn is_forgotten(error: &Error) -> bool {
    let changed = || error.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED);
    error.code() == Some(&SqlState::INVALID_SQL_STATEMENT_NAME) || changed()
}
