//! Transactional mode: what a handler does counts exactly if its message is done.
//!
//! The transaction begins before the receive and is committed with the finish; each handler has a savepoint.

use super::Consumer;
use super::batch::{Batch, Outcome};
use super::fetch::Work;
use crate::client::Client;
use crate::connect::{Connection, TransactionStatus};
use crate::error::Result;
use crate::policy::ends_loop;

/// A handler's own savepoints, which it may leave behind, have another name.
const SAVEPOINT: &str = "pgque_handler";

impl Consumer {
    /// As [`Batch::take`], for any consumer: in transactional mode, what the handler before did is kept or undone,
    /// as its message was settled, and the next handler gets a savepoint of its own. One lane only.
    ///
    /// If the connection is lost the batch ends here; its messages come again.
    pub async fn take(&self, batch: &Batch) -> Result<Option<usize>> {
        if batch.client().is_none() {
            return Ok(batch.take());
        }
        let next = self.take_guarded(batch, || Vec::from_iter(batch.take())).await?;
        Ok(next.first().copied())
    }

    /// As [`Batch::take_all`], for any consumer.
    pub async fn take_all(&self, batch: &Batch) -> Result<Vec<usize>> {
        if batch.client().is_none() {
            return Ok(batch.take_all());
        }
        self.take_guarded(batch, || batch.take_all()).await
    }

    async fn take_guarded(&self, batch: &Batch, take: impl FnOnce() -> Vec<usize>) -> Result<Vec<usize>> {
        let mut work = self.0.work.lock().await;
        let taken = async {
            self.leave_savepoint(&mut work, batch).await?;
            let taken = take();
            if !taken.is_empty() {
                self.savepoint(batch).await?;
                work.savepoint = Some(taken.clone());
            }
            Ok(taken)
        };
        match taken.await {
            Err(error) if ends_loop(&error) => Err(error),
            Err(error) => {
                self.retreat(&mut work, &error).await;
                Ok(vec![])
            }
            taken => taken,
        }
    }

    /// Opens the transaction of a receive; the handlers may not end it.
    pub(super) async fn begin(&self, client: &Client) -> Result<()> {
        if self.0.options.transactional {
            let connection = client.own_connection("consumer")?;
            connection.begin().await?;
            connection.hold("the consumer commits when the batch is finished; return or throw a verdict instead");
        }
        Ok(())
    }

    /// Commits what was received, although there was nothing: empty windows have been passed.
    pub(super) async fn end_empty(&self, client: &Client) -> Result<()> {
        match self.0.options.transactional {
            true => release(client.own_connection("consumer")?).commit().await,
            false => Ok(()),
        }
    }

    pub(super) async fn commit(&self, client: &Client, batch: &Batch) -> Result<()> {
        match batch.client().is_some() {
            true => release(client.own_connection("finish")?).commit().await,
            false => Ok(()),
        }
    }

    pub(super) async fn savepoint(&self, batch: &Batch) -> Result<()> {
        match batch.client() {
            Some(client) => client.own_connection("finish")?.mark(SAVEPOINT).await,
            None => Ok(()),
        }
    }

    pub(super) async fn undo(&self, batch: &Batch) -> Result<()> {
        match batch.client() {
            Some(client) => client.own_connection("finish")?.undo(SAVEPOINT).await,
            None => Ok(()),
        }
    }

    /// Keeps or undoes what the handlers did since the savepoint, if there is one.
    pub(super) async fn leave_savepoint(&self, work: &mut Work, batch: &Batch) -> Result<()> {
        let (Some(taken), Some(client)) = (work.savepoint.clone(), batch.client()) else {
            return Ok(());
        };
        let connection = client.own_connection("finish")?;
        let mut undone = taken.iter().all(|index| batch.is_undone(*index));
        if !undone && connection.transaction_status() == TransactionStatus::Failed {
            for index in taken {
                let error = "a statement of the handler failed, and with it the transaction, but the handler did not";
                batch.settle(index, Outcome::Failed { error: error.to_owned() });
            }
            undone = true;
        }
        match undone {
            true => connection.undo(SAVEPOINT).await,
            false => connection.keep(SAVEPOINT).await,
        }?;
        // Not before: who gives this up leaves it to the finish.
        work.savepoint = None;
        Ok(())
    }
}

/// The handlers are done: the transaction may be ended.
fn release(connection: &Connection) -> &Connection {
    connection.release_hold();
    connection
}
