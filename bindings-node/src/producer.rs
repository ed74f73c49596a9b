//! A sender that many callers share.

use std::time::Duration;

use napi::bindgen_prelude::{BigInt, PromiseRaw};
use napi::{Env, Result};
use napi_derive::napi;
use pgque::runtime::time_limit;
use pgque::{ProducerOptions, Settings};

use crate::consumer::OptionPair;
use crate::error::to_js;
use crate::promise::promise_begun;
use crate::stats::ProducerStats;
use crate::value::event;

#[napi(js_name = "NativeProducer")]
pub struct Producer(pgque::Producer);

#[napi]
impl Producer {
    #[napi(constructor, catch_unwind)]
    pub fn new(dsn: String, options: Vec<OptionPair>) -> Result<Producer> {
        let mut parsed = ProducerOptions::default();
        for option in options {
            parsed.set(&option.name, &option.value).map_err(to_js)?;
        }
        let settings = Settings::parse(&dsn).map_err(to_js)?;
        pgque::Producer::new(settings, parsed).map(Producer).map_err(to_js)
    }

    /// As the client's `send`.
    #[napi(catch_unwind)]
    pub fn send<'env>(
        &self,
        env: &'env Env,
        queue: String,
        event_type: Option<String>,
        payload: Option<String>,
        text: bool,
        #[napi(ts_arg_type = "Array<string | null>")] extra: Vec<Option<String>>,
    ) -> Result<PromiseRaw<'env, BigInt>> {
        let producer = self.0.clone();
        let event = event(event_type, payload, text, extra);
        promise_begun(env, async move { producer.send(&queue, &event).await }, BigInt::from)
    }

    #[napi(catch_unwind)]
    pub fn flush<'env>(&self, env: &'env Env) -> Result<PromiseRaw<'env, ()>> {
        let producer = self.0.clone();
        promise_begun(env, async move { producer.flush().await }, |()| ())
    }

    #[napi(catch_unwind)]
    pub fn close<'env>(&self, env: &'env Env, deadline: Option<f64>) -> Result<PromiseRaw<'env, ()>> {
        let producer = self.0.clone();
        let close = async move {
            let limit = time_limit("close", "deadline", deadline.unwrap_or(f64::INFINITY))?;
            producer.close(limit.unwrap_or(Duration::MAX)).await
        };
        promise_begun(env, close, |()| ())
    }

    #[napi(catch_unwind)]
    pub fn stats(&self) -> ProducerStats {
        self.0.stats().into()
    }
}
