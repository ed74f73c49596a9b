//! The whole loop, for Rust and for C: fetch, hand out to as many handlers at once as are wanted, finish.

use std::sync::Arc;

use futures_util::future::{Either, join_all, select};
use tokio::sync::oneshot;

use super::batch::{Batch, Outcome};
use super::{Consumer, Next};
use crate::error::{Error, Result};
use crate::message::Message;
use crate::runtime::wait;

impl Consumer {
    /// Handles messages until `stop`: the handler gets its number, the message and the batch, and answers what it made
    /// of it. With `concurrency`, so many calls of it are under way at once, on the task that runs this.
    pub async fn run<O: Into<Outcome>>(&self, handler: impl AsyncFn(usize, &Message, &Batch) -> O) -> Result<()> {
        self.run_with(async |batch: &Arc<Batch>| {
            let lane = || async {
                while let Some(index) = self.take(batch).await? {
                    let number = batch.handler(index).unwrap_or_default();
                    batch.settle(index, handler(number, &batch.messages()[index], batch).await);
                }
                Ok::<_, Error>(())
            };
            let lanes = join_all((0..batch.lanes()).map(|_| lane()));
            // Handlers that outlive the stop's deadline are dropped where they wait.
            match select(std::pin::pin!(lanes), std::pin::pin!(self.overdue())).await {
                Either::Left((results, _)) => results.into_iter().collect(),
                Either::Right(_) => Ok(()),
            }
        })
        .await
    }

    /// Handles whole batches, or pages of large ones, until `stop`. A message that the answer leaves out has failed.
    pub async fn run_batches(&self, handler: impl AsyncFn(&[Message], &Batch) -> Vec<Option<Outcome>>) -> Result<()> {
        if !self.handles_batches() {
            self.on_batch()?;
        }
        self.run_with(async |batch: &Arc<Batch>| {
            let taken = self.take_all(batch).await?;
            if !taken.is_empty() {
                settle_all(batch, &taken, handler(batch.messages(), batch).await);
            }
            Ok(())
        })
        .await
    }

    async fn run_with(&self, handle: impl AsyncFn(&Arc<Batch>) -> Result<()>) -> Result<()> {
        self.begin_run()?;
        let run = async {
            while let Some(batch) = self.next_batch().await? {
                handle(&batch).await?;
                self.finish(&batch).await?;
            }
            Ok(())
        };
        let result = run.await;
        self.close().await;
        result
    }

    /// The next batch; `None` once stopped.
    pub async fn next_batch(&self) -> Result<Option<Arc<Batch>>> {
        loop {
            match self.next(None).await? {
                Next::Batch(batch) => return Ok(Some(batch)),
                Next::Stopped => return Ok(None),
                Next::Idle => {}
            }
        }
    }
}

/// As [`Consumer::run`], for handlers that block. One handler at a time runs on the calling thread; with
/// `concurrency`, so many run on threads of their own.
///
/// When a stop is forced or its deadline is over, handlers on threads of their own are not waited for: they may still
/// run when this returns, and their messages come again. One on the calling thread ends with its message.
pub fn run_blocking<O: Into<Outcome>>(
    consumer: &Consumer,
    handler: impl Fn(usize, &Message, &Batch) -> O + Send + Sync + 'static,
) -> Result<()> {
    let handler = Arc::new(handler);
    run_blocking_with(consumer, |batch| match consumer.options().concurrency {
        1 => lane(consumer, batch, handler.as_ref()),
        _ => wait(async {
            let lanes: Vec<_> = (0..batch.lanes()).map(|_| spawn_lane(consumer, batch, &handler)).collect();
            match select(std::pin::pin!(join_all(lanes)), std::pin::pin!(consumer.overdue())).await {
                // A lane that is gone without an answer has panicked; its message was not settled.
                Either::Left((results, _)) => results.into_iter().try_for_each(|result| result.unwrap_or(Ok(()))),
                Either::Right(_) => Ok(()),
            }
        }),
    })
}

/// Handles messages of the batch until there are no more for this lane.
fn lane<O: Into<Outcome>>(
    consumer: &Consumer,
    batch: &Batch,
    handler: &impl Fn(usize, &Message, &Batch) -> O,
) -> Result<()> {
    let take = || match batch.client() {
        None => Ok(batch.take()),
        Some(_) => wait(consumer.take(batch)),
    };
    while let Some(index) = take()? {
        let number = batch.handler(index).unwrap_or_default();
        batch.settle(index, handler(number, &batch.messages()[index], batch));
    }
    Ok(())
}

fn spawn_lane<O: Into<Outcome>>(
    consumer: &Consumer,
    batch: &Arc<Batch>,
    handler: &Arc<impl Fn(usize, &Message, &Batch) -> O + Send + Sync + 'static>,
) -> oneshot::Receiver<Result<()>> {
    let (consumer, batch, handler) = (consumer.clone(), batch.clone(), handler.clone());
    let (done, ended) = oneshot::channel();
    let run = move || {
        // Nobody listens any more after a forced stop.
        let _ = done.send(lane(&consumer, &batch, handler.as_ref()));
    };
    if let Err(error) = std::thread::Builder::new().name("pgque handler".into()).spawn(run) {
        // The lanes that there are do its work; without any, the messages count as failed.
        log::warn!(target: "pgque", "no thread for a handler: {error}");
    }
    ended
}

/// As [`Consumer::run_batches`], for a handler that blocks.
pub fn run_batches_blocking(
    consumer: &Consumer,
    handler: impl Fn(&[Message], &Arc<Batch>) -> Vec<Option<Outcome>>,
) -> Result<()> {
    if !consumer.handles_batches() {
        consumer.on_batch()?;
    }
    run_blocking_with(consumer, |batch| {
        let taken = wait(consumer.take_all(batch))?;
        if !taken.is_empty() {
            settle_all(batch, &taken, handler(batch.messages(), batch));
        }
        Ok(())
    })
}

fn run_blocking_with(consumer: &Consumer, handle: impl Fn(&Arc<Batch>) -> Result<()>) -> Result<()> {
    consumer.begin_run()?;
    let run = || {
        while let Some(batch) = wait(consumer.next_batch())? {
            handle(&batch)?;
            wait(consumer.finish(&batch))?;
        }
        Ok(())
    };
    let result = run();
    let closed = wait(async {
        consumer.close().await;
        Ok(())
    });
    result.and(closed)
}

/// What the answer leaves out stays unsettled, which counts as failed.
fn settle_all(batch: &Batch, taken: &[usize], outcomes: Vec<Option<Outcome>>) {
    for (index, outcome) in taken.iter().zip(outcomes) {
        if let Some(outcome) = outcome {
            batch.settle(*index, outcome);
        }
    }
}
