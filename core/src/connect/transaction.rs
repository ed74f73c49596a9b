//! Where transactions begin and end, and the points within them. Every call may be given up wherever it waits.

use std::pin::pin;

use super::connection::Connection;
use super::state::TransactionStatus;
use super::statement::Abandoned;
use super::to_the_end::to_the_end;
use crate::call::Call;
use crate::error::{Error, Kind, Result};

impl Connection {
    /// Opens a transaction, also when autocommit is on. Fails with `conflict` inside one. If nobody waits to hear that
    /// it is open, it is rolled back: nobody would end it.
    pub async fn begin(&self) -> Result<()> {
        self.scope().await.map(Scope::leave)
    }

    /// As [`Connection::begin`], for a transaction that is rolled back unless it is left.
    pub async fn scope(&self) -> Result<Scope> {
        let begun = {
            let mut slot = self.slot("begin").await?;
            self.check_hold("begin")?;
            if !self.own_state(|s| s.is_idle()) {
                return Err(Error::new(Kind::Conflict, "begin", "a transaction is already open"));
            }
            let session = self.live(&mut slot, "begin").await?;
            self.send_begin(&session).await
        };
        let scope = Scope(Some(self.clone()));
        match self.begun("begin", Some(begun), Ok(())).await {
            Ok(()) => Ok(scope),
            Err(error) => {
                scope.leave();
                Err(error)
            }
        }
    }

    /// Commits; without an open transaction nothing happens. Goes on if nobody waits for it any more.
    ///
    /// A transaction in which a statement failed cannot be committed: it is rolled back and the call fails,
    /// where PostgreSQL's own COMMIT would roll back and report success.
    pub async fn commit(&self) -> Result<()> {
        let connection = self.clone();
        to_the_end(async move { connection.end("commit").await }).await
    }

    /// Rolls back; without an open transaction nothing happens. Goes on if nobody waits for it any more.
    pub async fn rollback(&self) -> Result<()> {
        let connection = self.clone();
        to_the_end(async move { connection.end("rollback").await }).await
    }

    /// Ends the open transaction. The slot keeps other callers' statements out until it has ended.
    async fn end(&self, op: &'static str) -> Result<()> {
        let mut slot = self.slot(op).await?;
        self.check_hold(op)?;
        if self.own_state(|s| s.is_idle()) {
            return self.live(&mut slot, op).await.map(drop);
        }
        let session = match self.live(&mut slot, op).await {
            Ok(session) => session,
            Err(error) => {
                // The server rolls back.
                self.set(TransactionStatus::Idle);
                return if op == "rollback" && error.kind() == Kind::Connection { Ok(()) } else { Err(error) };
            }
        };
        let running = self.running(&session, Abandoned::Await).await;
        let sql = match op {
            // Nothing is under way whose answer could say otherwise.
            "commit" if running.is_alone() && self.transaction_status() == TransactionStatus::Active => "commit",
            // The bare SELECT fails in an aborted transaction, so that COMMIT is never reached there.
            "commit" => "select; commit",
            _ => "rollback",
        };
        // Whatever comes of it now, the transaction is over.
        self.set(TransactionStatus::Idle);
        let result = running.answer((), pin!(session.client.batch_execute(sql))).await;
        running.done();
        if result.is_err() {
            // After a failed COMMIT (deferred constraint, serialisation) this is a harmless warning. A ROLLBACK may have
            // been hit by a request to cancel what came before it.
            let _ = session.client.batch_execute("rollback").await;
        }
        result.map_err(|e| Error::from_driver(op, e))
    }

    /// Marks a point in the open transaction; an inner one hides the outer one until it is released.
    pub async fn savepoint(&self) -> Result<()> {
        self.check_process("savepoint")?;
        let depth = self.own_state(|s| s.savepoints) + 1;
        self.mark(&savepoint_at(depth)).await?;
        // Not before: one that was given up may be there, and must not be taken for the one around it.
        self.own_state(|s| s.savepoints = depth);
        Ok(())
    }

    /// Forgets the innermost savepoint and keeps what was done since.
    pub async fn release_savepoint(&self) -> Result<()> {
        let depth = self.leave_innermost("release_savepoint")?;
        let left = self.keep(&savepoint_at(depth)).await;
        self.left(depth, left)
    }

    /// Undoes what was done since the innermost savepoint and forgets it; also mends a failed transaction.
    pub async fn rollback_to_savepoint(&self) -> Result<()> {
        let depth = self.leave_innermost("rollback_to_savepoint")?;
        let left = self.undo(&savepoint_at(depth)).await;
        self.left(depth, left)
    }

    /// Whoever leaves a savepoint has nothing more to do with it, also if he does not wait for that.
    fn leave_innermost(&self, op: &'static str) -> Result<usize> {
        self.check_process(op)?;
        Ok(self.own_state(|s| {
            let depth = s.savepoints.max(1);
            s.savepoints = depth - 1;
            depth
        }))
    }

    fn left(&self, depth: usize, result: Result<()>) -> Result<()> {
        if result.is_err() && !self.own_state(|s| s.is_idle()) {
            self.own_state(|s| s.savepoints = depth);
        }
        result
    }

    /// As [`Connection::savepoint`], under a name that others do not hide.
    pub(crate) async fn mark(&self, name: &str) -> Result<()> {
        self.script("savepoint", "", &format!("savepoint {name}")).await
    }

    /// Forgets that savepoint and those within it.
    pub(crate) async fn keep(&self, name: &str) -> Result<()> {
        self.script("release_savepoint", "", &format!("release savepoint {name}")).await
    }

    /// Undoes what was done since that savepoint, and forgets it and those within it.
    pub(crate) async fn undo(&self, name: &str) -> Result<()> {
        let undo = format!("rollback to savepoint {name}; release savepoint {name}");
        let failures = self.own_state(|s| s.failures);
        self.script("rollback_to_savepoint", "", &undo).await?;
        self.own_state(|s| {
            // What was sent behind it may have failed, or ended the transaction, before anybody looked at this answer.
            if s.failures == failures && !s.is_idle() {
                s.transaction = TransactionStatus::Active;
            }
        });
        Ok(())
    }
}

fn savepoint_at(depth: usize) -> String {
    format!("pgque_{depth}")
}

/// A transaction that nobody else would end. Dropped, it is rolled back, before whatever is sent next.
pub struct Scope(Option<Connection>);

impl Scope {
    /// Somebody else knows of it and ends it.
    pub fn leave(mut self) {
        self.0 = None;
    }

    /// As [`Connection::commit`].
    pub async fn commit(mut self) -> Result<()> {
        match self.0.take() {
            Some(connection) => connection.commit().await,
            None => Ok(()),
        }
    }

    /// As [`Connection::rollback`].
    pub async fn rollback(mut self) -> Result<()> {
        match self.0.take() {
            Some(connection) => connection.rollback().await,
            None => Ok(()),
        }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let Some(connection) = self.0.take().filter(|own| own.check_process("rollback").is_ok()) else { return };
        let _ = Call::begin(async move { connection.rollback().await }, |ended| {
            if let Err(error) = ended {
                log::debug!(target: "pgque", "a transaction that was given up: {error}");
            }
        });
    }
}
