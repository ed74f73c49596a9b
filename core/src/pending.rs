//! What stands for the outcome of a call that was begun and is waited for later, or never.

use std::time::Duration;

use tokio::sync::{Mutex, oneshot};

use crate::error::{Error, Kind, Result};
use crate::runtime::wait;

/// The outcome of a call, once there is one. Dropping this leaves the call running. Any thread may wait, any number of
/// times.
pub struct Pending<T>(Mutex<Outcome<T>>);

enum Outcome<T> {
    Awaited(oneshot::Receiver<Result<T>>),
    Known(Result<T>),
}

impl<T: Clone> Pending<T> {
    pub(crate) fn new(answer: oneshot::Receiver<Result<T>>) -> Pending<T> {
        Pending(Mutex::new(Outcome::Awaited(answer)))
    }

    /// Waits for the outcome. Whoever stops waiting leaves the call running.
    pub async fn outcome(&self) -> Result<T> {
        let mut outcome = self.0.lock().await;
        if let Outcome::Awaited(answer) = &mut *outcome {
            *outcome = Outcome::Known(answer.await.unwrap_or_else(|_| Err(lost())));
        }
        match &*outcome {
            Outcome::Known(Ok(value)) => Ok(value.clone()),
            Outcome::Known(Err(error)) => Err(error.again()),
            Outcome::Awaited(_) => Err(lost()),
        }
    }

    /// As [`Pending::outcome`], on the calling thread; fails with `timeout` when the time is over.
    pub fn wait(&self, limit: Option<Duration>) -> Result<T> {
        wait(async {
            let Some(limit) = limit else { return self.outcome().await };
            let late = |_| Error::new(Kind::Timeout, "wait", "there is no answer yet; the call goes on");
            tokio::time::timeout(limit, self.outcome()).await.map_err(late)?
        })
    }
}

fn lost() -> Error {
    Error::new(Kind::Closed, "wait", "the call was given up before it was answered")
}
