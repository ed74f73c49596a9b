//! Work that goes on by itself once whoever began it no longer waits.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::executor::BoxFuture;
use crate::park;
use crate::runtime;

/// Does the work to its end, whether or not somebody waits for it. It keeps its place in every line that it waits in.
pub(super) fn to_the_end<T: 'static>(work: impl Future<Output = T> + Send + 'static) -> impl Future<Output = T> {
    ToTheEnd { work: Some(Box::pin(work)), pid: std::process::id() }
}

struct ToTheEnd<T: 'static> {
    work: Option<BoxFuture<'static, T>>,
    pid: u32,
}

impl<T> Future for ToTheEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Some(work) = &mut self.work else { return Poll::Pending };
        let polled = work.as_mut().poll(cx);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl<T> Drop for ToTheEnd<T> {
    fn drop(&mut self) {
        let Some(mut work) = self.work.take() else { return };
        if self.pid != std::process::id() {
            // The parent's, who has it as well.
            return std::mem::forget(work);
        }
        let Ok(runtime) = runtime::handle() else { return };
        let (_inside, farewell) = (runtime.enter(), runtime::farewell());
        // This thread no longer drives the connection for it.
        if park::passing_by(|| work.as_mut().poll(&mut Context::from_waker(Waker::noop()))).is_ready() {
            return;
        }
        runtime.spawn(async move {
            work.await;
            drop(farewell);
        });
    }
}
