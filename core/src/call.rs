//! Calls that are begun and not waited for: whoever began one goes on, and is told the outcome.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use tokio::runtime::Handle;

use crate::error::{Error, Kind, Result};
use crate::park;
use crate::runtime;

/// A call under way. Dropping this leaves it running.
pub struct Call(Arc<dyn Work>);

impl Call {
    /// Begins a call here and now, as far as it gets without waiting, so that calls begun one after the other reach the
    /// server in that order. It goes on by itself.
    ///
    /// `deliver` is given the outcome: on a thread of the runtime, or on this one before `begin` returns. It must not
    /// block. A panic in the call becomes an error of kind `internal`.
    pub fn begin<T: 'static>(
        future: impl Future<Output = Result<T>> + Send + 'static,
        deliver: impl FnOnce(Result<T>) + Send + 'static,
    ) -> Result<Call> {
        let runtime = runtime::handle()?;
        let progress = Mutex::new(Some((Box::pin(future), deliver)));
        let running = Arc::new(Running { runtime, progress, woken: AtomicBool::new(false) });
        {
            let _inside = running.runtime.enter();
            // A call may be begun in the midst of another one's wait.
            park::passing_by(|| running.go_on());
        }
        Ok(Call(running))
    }

    /// Nobody waits for the outcome any more: it is not delivered, and a statement on its way is cancelled, before what
    /// this thread sends next. Nothing happens if the call has ended.
    ///
    /// May wait for another thread that is just taking the call further.
    pub fn abandon(&self) {
        self.0.abandon();
    }
}

trait Work: Send + Sync {
    fn abandon(&self);
}

struct Running<F, D> {
    runtime: Handle,
    /// `None` once the call has ended.
    progress: Mutex<Option<(Pin<Box<F>>, D)>>,
    /// Whether it is already meant to be taken further.
    woken: AtomicBool,
}

impl<T, F, D> Running<F, D>
where
    T: 'static,
    F: Future<Output = Result<T>> + Send + 'static,
    D: FnOnce(Result<T>) + Send + 'static,
{
    fn go_on(self: &Arc<Self>) {
        self.woken.store(false, Ordering::SeqCst);
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((future, _)) = progress.as_mut() else { return };
        let waker = Waker::from(self.clone());
        let poll = || future.as_mut().poll(&mut Context::from_waker(&waker));
        let outcome = match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(Poll::Pending) => return,
            Ok(Poll::Ready(outcome)) => outcome,
            Err(_) => Err(Error::new(Kind::Internal, "call", "the library panicked; this is a defect in it")),
        };
        let ended = progress.take();
        drop(progress);
        if let Some((_, deliver)) = ended {
            deliver(outcome);
        }
    }
}

impl<T, F, D> Wake for Running<F, D>
where
    T: 'static,
    F: Future<Output = Result<T>> + Send + 'static,
    D: FnOnce(Result<T>) + Send + 'static,
{
    fn wake(self: Arc<Self>) {
        if !self.woken.swap(true, Ordering::SeqCst) {
            let runtime = self.runtime.clone();
            runtime.spawn(async move { self.go_on() });
        }
    }
}

impl<F: Send, D: Send> Work for Running<F, D> {
    fn abandon(&self) {
        let left = self.progress.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _inside = self.runtime.enter();
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    fn begin<T: Send + 'static>(
        future: impl Future<Output = Result<T>> + Send + 'static,
    ) -> (Call, Receiver<Result<T>>) {
        let (sender, receiver) = channel();
        let call = Call::begin(future, move |outcome| {
            let _ = sender.send(outcome);
        });
        (call.unwrap(), receiver)
    }

    #[test]
    fn what_needs_no_wait_is_delivered_at_once() {
        let (_call, outcome) = begin(async { Ok(7) });
        assert_eq!(outcome.try_recv().unwrap().unwrap(), 7);
    }

    #[test]
    fn it_is_begun_before_begin_returns_and_ends_without_whoever_began_it() {
        let (proceed, wait) = oneshot::channel::<()>();
        let (began, has_begun) = channel();
        let (call, outcome) = begin(async move {
            began.send(()).unwrap();
            wait.await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(7)
        });
        has_begun.try_recv().unwrap();
        assert!(outcome.try_recv().is_err());
        drop(call);
        proceed.send(()).unwrap();
        assert_eq!(outcome.recv_timeout(Duration::from_secs(10)).unwrap().unwrap(), 7);
    }

    #[test]
    fn an_abandoned_call_is_dropped_before_abandon_returns_and_delivers_nothing() {
        let (proceed, wait) = oneshot::channel::<()>();
        let (call, outcome) = begin(async move {
            wait.await.unwrap();
            Ok(())
        });
        call.abandon();
        assert!(proceed.is_closed());
        assert!(outcome.recv_timeout(Duration::from_secs(10)).is_err(), "the way to deliver is gone");
        call.abandon();
    }

    #[test]
    fn a_panic_is_an_error() {
        let (_call, outcome) = begin::<()>(async { panic!("on purpose") });
        assert_eq!(outcome.try_recv().unwrap().unwrap_err().kind(), Kind::Internal);
    }
}
