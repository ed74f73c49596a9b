//! The end of a call whose abort signal asks for it.

use std::cell::RefCell;
use std::future::{Future, pending};
use std::pin::pin;

use futures_util::future::{Either, select};
use napi_derive::napi;
use pgque::{Error, Kind, Result};
use tokio::sync::watch;

thread_local! {
    /// What may end the call that JavaScript makes right now.
    static STARTING: RefCell<Option<watch::Receiver<bool>>> = const { RefCell::new(None) };
}

/// Ends one call.
#[napi]
pub struct Interrupt(watch::Sender<bool>);

#[napi]
impl Interrupt {
    #[napi(constructor, catch_unwind)]
    pub fn new() -> Interrupt {
        Interrupt(watch::Sender::new(false))
    }

    /// Says that the next call is the one.
    #[napi(catch_unwind)]
    pub fn starting(&self) {
        STARTING.set(Some(self.0.subscribe()));
    }

    #[napi(catch_unwind)]
    pub fn end(&self) {
        self.0.send_replace(true);
    }
}

/// Work that is given up, and with it what the server does, when the call that is made right now is interrupted.
pub fn until_interrupted<T>(work: impl Future<Output = Result<T>>) -> impl Future<Output = Result<T>> {
    let interrupt = STARTING.take();
    async move {
        let Some(mut interrupt) = interrupt else { return work.await };
        let ended = async {
            if interrupt.wait_for(|ended| *ended).await.is_err() {
                pending::<()>().await;
            }
        };
        match select(pin!(work), pin!(ended)).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => Err(Error::new(Kind::Interrupted, "wait", "interrupted by the caller")),
        }
    }
}
