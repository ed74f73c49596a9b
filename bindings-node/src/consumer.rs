//! The consumer's loop by single steps; `lib/handling.ts` calls the handlers in between.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::select;
use napi::bindgen_prelude::{Int32Array, PromiseRaw};
use napi::{Env, Result};
use napi_derive::napi;
use pgque::{ConsumerOptions, Message, Settings, Verdict, runtime};
use tokio::sync::oneshot;

use crate::client::Client;
use crate::error::to_js;
use crate::message::Columns;
use crate::promise::promise;
use crate::stats::{Health, Stats};
use crate::value::{Span, verdict};

/// An option by its name.
#[napi(object)]
pub struct OptionPair {
    pub name: String,
    pub value: String,
}

#[napi(js_name = "NativeBatch")]
pub struct Batch(Arc<pgque::Batch>);

#[napi]
impl Batch {
    #[napi(getter, catch_unwind)]
    pub fn length(&self) -> u32 {
        self.0.messages().len() as u32
    }

    /// How many lanes of handlers may run at once.
    #[napi(getter, catch_unwind)]
    pub fn lanes(&self) -> u32 {
        self.0.lanes() as u32
    }

    /// In transactional mode, the client of the transaction.
    #[napi(catch_unwind)]
    pub fn client(&self) -> Option<Client> {
        self.0.client().cloned().map(Client)
    }

    /// Some of the messages: a large batch is not copied whole.
    #[napi(catch_unwind)]
    pub fn columns(&self, start: u32, end: u32) -> Columns {
        let messages = self.0.messages();
        let end = (end as usize).min(messages.len());
        Columns::new(&messages[(start as usize).min(end)..end])
    }

    /// The number of each message's handler, -1 where there is none.
    #[napi(catch_unwind)]
    pub fn handlers(&self) -> Int32Array {
        let number = |i| self.0.handler(i).and_then(|n| i32::try_from(n).ok()).unwrap_or(-1);
        Int32Array::new((0..self.0.messages().len()).map(number).collect())
    }

    /// The position of the next message, or null at the end of the lane. Before that, `done` is settled as handled:
    /// in one call, for it is made for every message.
    #[napi(catch_unwind, ts_args_type = "done: number | null")]
    pub fn take(&self, done: Option<u32>) -> Option<u32> {
        settle_done(&self.0, done);
        self.0.take().map(|index| index as u32)
    }

    /// Settles a message with a verdict: `ack`, `retry` or `dead`.
    #[napi(catch_unwind)]
    pub fn settle(&self, index: u32, name: String, after: Option<Span>, reason: Option<String>) -> Result<()> {
        self.0.settle(index as usize, verdict("run", &name, after, reason).map_err(to_js)?);
        Ok(())
    }

    /// Settles a message whose handler failed: what is stored with it, and what the log says.
    #[napi(catch_unwind)]
    pub fn fail(&self, index: u32, error: String, detail: String) {
        self.0.fail(index as usize, &error, &detail);
    }

    /// Which delivery of a message this is, from 1.
    #[napi(catch_unwind)]
    pub fn attempt(&self, index: u32) -> i64 {
        self.0.messages().get(index as usize).map_or(1, Message::attempt)
    }
}

fn settle_done(batch: &pgque::Batch, done: Option<u32>) {
    if let Some(index) = done {
        batch.settle(index as usize, Verdict::Ack);
    }
}

#[napi(js_name = "NativeConsumer")]
pub struct Consumer {
    core: pgque::Consumer,
    /// Ends the wait of `overdue` with the run, when dropped.
    run: Mutex<Option<oneshot::Sender<()>>>,
}

#[napi]
impl Consumer {
    #[napi(constructor, catch_unwind)]
    pub fn new(dsn: String, queue: String, name: String, options: Vec<OptionPair>) -> Result<Consumer> {
        let mut parsed = ConsumerOptions::new(queue, name);
        for option in options {
            parsed.set(&option.name, &option.value).map_err(to_js)?;
        }
        let settings = Settings::parse(&dsn).map_err(to_js)?;
        let core = pgque::Consumer::new(settings, parsed).map_err(to_js)?;
        Ok(Consumer { core, run: Mutex::default() })
    }

    /// The number of the handler for a type.
    #[napi(catch_unwind)]
    pub fn on(&self, event_type: String) -> Result<u32> {
        self.core.on(&event_type).map(|number| number as u32).map_err(to_js)
    }

    #[napi(catch_unwind)]
    pub fn on_batch(&self) -> Result<()> {
        self.core.on_batch().map_err(to_js)
    }

    #[napi(catch_unwind)]
    pub fn stop(&self) {
        self.core.stop();
    }

    #[napi(catch_unwind)]
    pub fn stats(&self) -> Stats {
        self.core.stats().into()
    }

    #[napi(catch_unwind)]
    pub fn health(&self) -> Health {
        self.core.health().into()
    }

    /// Begins a run, which `close` ends.
    #[napi(catch_unwind)]
    pub fn begin_run(&self) -> Result<()> {
        self.core.begin_run().map_err(to_js)
    }

    /// Waits until running handlers are not waited for any more, or the run is over.
    #[napi(catch_unwind)]
    pub fn overdue<'env>(&self, env: &'env Env) -> Result<PromiseRaw<'env, ()>> {
        let (sender, over) = oneshot::channel();
        *self.run.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        let consumer = self.core.clone();
        let wait = async move {
            select(pin!(consumer.overdue()), over).await;
            Ok(())
        };
        promise(env, wait, |()| ())
    }

    /// The next batch, or null once stopped.
    #[napi(catch_unwind)]
    pub fn next_batch<'env>(&self, env: &'env Env) -> Result<PromiseRaw<'env, Option<Batch>>> {
        let consumer = self.core.clone();
        promise(env, async move { consumer.next_batch().await }, |batch| batch.map(Batch))
    }

    /// As the batch's own `take`, with what a transaction needs between two handlers.
    #[napi(catch_unwind, ts_args_type = "batch: NativeBatch, done: number | null")]
    pub fn take<'env>(
        &self,
        env: &'env Env,
        batch: &Batch,
        done: Option<u32>,
    ) -> Result<PromiseRaw<'env, Option<u32>>> {
        let (consumer, batch) = (self.core.clone(), batch.0.clone());
        let take = async move {
            settle_done(&batch, done);
            consumer.take(&batch).await
        };
        promise(env, take, |index| index.map(|index| index as u32))
    }

    /// Takes all messages for the handler of batches; false if the consumer stops.
    #[napi(catch_unwind)]
    pub fn take_all<'env>(&self, env: &'env Env, batch: &Batch) -> Result<PromiseRaw<'env, bool>> {
        let (consumer, batch) = (self.core.clone(), batch.0.clone());
        promise(env, async move { consumer.take_all(&batch).await }, |taken| !taken.is_empty())
    }

    /// Finishes a batch as its messages were settled.
    #[napi(catch_unwind)]
    pub fn finish<'env>(&self, env: &'env Env, batch: &Batch) -> Result<PromiseRaw<'env, ()>> {
        let (consumer, batch) = (self.core.clone(), batch.0.clone());
        promise(env, async move { consumer.finish(&batch).await }, |()| ())
    }

    /// Ends the run and gives up the connection.
    #[napi(catch_unwind)]
    pub fn close<'env>(&self, env: &'env Env) -> Result<PromiseRaw<'env, ()>> {
        drop(self.run.lock().unwrap_or_else(PoisonError::into_inner).take());
        let consumer = self.core.clone();
        let close = async move {
            consumer.close().await;
            Ok(())
        };
        promise(env, close, |()| ())
    }
}

/// The thread of its handlers has ended: a heart-beat that went on would keep its batch from the other workers.
impl Drop for Consumer {
    fn drop(&mut self) {
        let consumer = self.core.clone();
        // The second time forces: nobody is left to handle what a stop would still wait for.
        consumer.stop();
        consumer.stop();
        if let Ok(runtime) = runtime::handle() {
            runtime.spawn(async move { consumer.close().await });
        }
    }
}
