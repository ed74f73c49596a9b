//! The consumer's loop by single steps; `lib/consumer.ts` calls the handlers in between.

use std::sync::Arc;

use napi::bindgen_prelude::{Int32Array, PromiseRaw, Uint8Array};
use napi::{Env, Result};
use napi_derive::napi;
use pgque::{ConsumerOptions, Next, Settings, Verdict, runtime};

use crate::error::to_js;
use crate::message::Columns;
use crate::promise::promise;
use crate::value::{Span, interval};

/// An option by its name.
#[napi(object)]
pub struct OptionPair {
    pub name: String,
    pub value: String,
}

/// What a verdict other than a plain acknowledgement says beyond its code.
#[napi(object)]
pub struct VerdictDetail {
    /// The position of the message in the batch.
    pub index: u32,
    pub after: Option<Span>,
    pub reason: Option<String>,
}

/// The codes by which verdicts arrive, one byte for each message; anything else means none.
#[napi(object, object_from_js = false)]
pub struct VerdictCodes {
    pub ack: u8,
    pub retry: u8,
    pub dead: u8,
}

const CODES: VerdictCodes = VerdictCodes { ack: 1, retry: 2, dead: 3 };

#[napi(catch_unwind)]
pub fn verdict_codes() -> VerdictCodes {
    CODES
}

#[napi(js_name = "NativeBatch")]
pub struct Batch(Arc<pgque::Batch>);

#[napi]
impl Batch {
    #[napi(getter, catch_unwind)]
    pub fn length(&self) -> u32 {
        self.0.messages().len() as u32
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
}

#[napi(js_name = "NativeConsumer")]
pub struct Consumer(pgque::Consumer);

#[napi]
impl Consumer {
    #[napi(constructor, catch_unwind)]
    pub fn new(dsn: String, queue: String, name: String, options: Vec<OptionPair>) -> Result<Consumer> {
        let mut parsed = ConsumerOptions::new(queue, name);
        for option in options {
            parsed.set(&option.name, &option.value).map_err(to_js)?;
        }
        let settings = Settings::parse(&dsn).map_err(to_js)?;
        pgque::Consumer::new(settings, parsed).map(Consumer).map_err(to_js)
    }

    /// The number of the handler for a type.
    #[napi(catch_unwind)]
    pub fn on(&self, event_type: String) -> u32 {
        self.0.on(&event_type) as u32
    }

    #[napi(catch_unwind)]
    pub fn stop(&self) {
        self.0.stop();
    }

    /// The next batch, or null once stopped.
    #[napi(catch_unwind)]
    pub fn next<'env>(&self, env: &'env Env) -> Result<PromiseRaw<'env, Option<Batch>>> {
        let consumer = self.0.clone();
        let next = async move {
            loop {
                match consumer.next(None).await? {
                    Next::Batch(batch) => return Ok(Some(batch)),
                    Next::Stopped => return Ok(None),
                    Next::Idle => {}
                }
            }
        };
        promise(env, next, |batch| batch.map(Batch))
    }

    /// Settles a batch: one code for each message, and the details of those that have any.
    #[napi(catch_unwind)]
    pub fn finish<'env>(
        &self,
        env: &'env Env,
        batch: &Batch,
        codes: Uint8Array,
        details: Vec<VerdictDetail>,
    ) -> Result<PromiseRaw<'env, ()>> {
        let (consumer, batch) = (self.0.clone(), batch.0.clone());
        let verdicts = verdicts(&codes, details);
        promise(env, async move { consumer.finish(&batch, verdicts).await }, |()| ())
    }

    /// Gives up the connection, also after a loop that ended outside of `next`.
    #[napi(catch_unwind)]
    pub fn close<'env>(&self, env: &'env Env) -> Result<PromiseRaw<'env, ()>> {
        let consumer = self.0.clone();
        promise(
            env,
            async move {
                consumer.close().await;
                Ok(())
            },
            |()| (),
        )
    }
}

/// The thread of its handlers has ended: a heart-beat that went on would keep its batch from the other workers.
impl Drop for Consumer {
    fn drop(&mut self) {
        let consumer = self.0.clone();
        consumer.stop();
        if let Ok(runtime) = runtime::handle() {
            runtime.spawn(async move { consumer.close().await });
        }
    }
}

fn verdicts(codes: &[u8], details: Vec<VerdictDetail>) -> Vec<Option<Verdict>> {
    let plain = |code: &u8| match *code {
        code if code == CODES.ack => Some(Verdict::Ack),
        code if code == CODES.retry => Some(Verdict::Retry { after: None, reason: None }),
        code if code == CODES.dead => Some(Verdict::Dead { reason: None }),
        _ => None,
    };
    let mut verdicts: Vec<Option<Verdict>> = codes.iter().map(plain).collect();
    for detail in details {
        match verdicts.get_mut(detail.index as usize) {
            Some(Some(Verdict::Retry { after, reason })) => {
                *after = detail.after.map(interval);
                *reason = detail.reason;
            }
            Some(Some(Verdict::Dead { reason })) => *reason = detail.reason,
            _ => {}
        }
    }
    verdicts
}
