//! Statements that a session has had often enough for the server to keep their plans.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Statement};

/// Before so many uses it would cost more than it spares.
const USES_MIN: u32 = 5;

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
    Ready(Statement),
}

impl Prepared {
    /// The statement, if it is to be had; made now if it is time for that. `backend` is what the login said.
    pub async fn get(
        &self,
        client: &Client,
        backend: i32,
        sql: &'static str,
        types: impl FnOnce() -> Vec<Type>,
    ) -> Option<Statement> {
        match self.look(sql)? {
            Some(ready) => return Some(ready),
            None if !self.is_kept(client, backend).await => return None,
            None => {}
        }
        // Whatever is wrong with it, the statement itself will tell.
        let statement = client.prepare_typed(sql, &types()).await.ok()?;
        self.state().statements.insert(key(sql), Entry::Ready(statement.clone()));
        Some(statement)
    }

    /// After the server has said that it does not know one: somebody has had it forget them all.
    pub fn forget(&self) {
        self.state().statements.clear();
    }

    /// `None` if it is not time yet, `Some(None)` if it is to be made.
    fn look(&self, sql: &'static str) -> Option<Option<Statement>> {
        let mut state = self.state();
        if state.is_kept == Some(false) {
            return None;
        }
        match state.statements.entry(key(sql)).or_insert(Entry::Used(0)) {
            Entry::Ready(statement) => Some(Some(statement.clone())),
            Entry::Used(times) if *times < USES_MIN => {
                *times += 1;
                None
            }
            Entry::Used(_) => Some(None),
        }
    }

    /// Whether the session is the server's own. A pooler gives a process id of its own making.
    async fn is_kept(&self, client: &Client, backend: i32) -> bool {
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

fn key(sql: &'static str) -> usize {
    sql.as_ptr().addr()
}

/// Whether the server had no such plan, or none that still holds, and so did nothing.
pub(super) fn is_forgotten(error: &tokio_postgres::Error) -> bool {
    let changed = || error.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED);
    error.code() == Some(&SqlState::INVALID_SQL_STATEMENT_NAME) || changed()
}
