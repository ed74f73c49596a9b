//! The ticker beside a consumer that was asked to bring its own.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::Consumer;
use crate::connect::Settings;
use crate::error::{Error, Result};
use crate::runtime;
use crate::ticker::{Ticker, TickerOptions};

pub(super) struct EmbeddedTicker {
    ticker: Ticker,
    task: Mutex<Option<JoinHandle<()>>>,
    failure: Arc<Failure>,
}

#[derive(Default)]
struct Failure {
    error: Mutex<Option<Error>>,
    happened: Notify,
}

impl EmbeddedTicker {
    pub(super) fn new(settings: Settings) -> EmbeddedTicker {
        let ticker = Ticker::new(settings, TickerOptions::default());
        EmbeddedTicker { ticker, task: Mutex::default(), failure: Arc::default() }
    }

    /// Starts it, if it does not run yet.
    fn start(&self) -> Result<()> {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.is_none() {
            let (ticker, failure) = (self.ticker.clone(), self.failure.clone());
            let run = async move {
                if let Err(error) = ticker.run().await {
                    *failure.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    failure.happened.notify_one();
                }
            };
            *task = Some(runtime::handle()?.spawn(run));
        }
        Ok(())
    }

    pub(super) fn stop(&self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Its connection closes with it, and another ticker takes over.
            task.abort();
        }
    }

    async fn failed(&self) -> Error {
        loop {
            if let Some(error) = self.failure.error.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return error;
            }
            self.failure.happened.notified().await;
        }
    }
}

impl Consumer {
    /// Runs the embedded ticker, if there is one; comes back only when it ends with an error.
    pub(super) async fn ticker_failed(&self) -> Error {
        match &self.0.ticker {
            None => std::future::pending().await,
            Some(ticker) => match ticker.start() {
                Ok(()) => ticker.failed().await,
                Err(error) => error,
            },
        }
    }
}
