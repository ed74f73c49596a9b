//! The runner of the engine.

use napi::bindgen_prelude::PromiseRaw;
use napi::{Env, Result};
use napi_derive::napi;
use pgque::{Settings, TickerOptions};

use crate::consumer::OptionPair;
use crate::error::to_js;
use crate::promise::promise;
use crate::stats::TickerStats;

#[napi(js_name = "NativeTicker")]
pub struct Ticker(pgque::Ticker);

#[napi]
impl Ticker {
    #[napi(constructor, catch_unwind)]
    pub fn new(dsn: String, options: Vec<OptionPair>) -> Result<Ticker> {
        let mut parsed = TickerOptions::default();
        for option in options {
            parsed.set(&option.name, &option.value).map_err(to_js)?;
        }
        Ok(Ticker(pgque::Ticker::new(Settings::parse(&dsn).map_err(to_js)?, parsed)))
    }

    #[napi(catch_unwind)]
    pub fn run<'env>(&self, env: &'env Env) -> Result<PromiseRaw<'env, ()>> {
        let ticker = self.0.clone();
        promise(env, async move { ticker.run().await }, |()| ())
    }

    #[napi(catch_unwind)]
    pub fn stop(&self) {
        self.0.stop();
    }

    #[napi(catch_unwind)]
    pub fn stats(&self) -> TickerStats {
        self.0.stats().into()
    }
}

/// The thread that ran it has ended, and with it whoever could stop it.
impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.stop();
    }
}
