//! From a future of the core to a promise.

use std::future::{Future, ready};
use std::panic::AssertUnwindSafe;
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;
use napi::bindgen_prelude::{PromiseRaw, ToNapiValue};
use napi::{Env, JsValue, Result};
use pgque::{Error, Kind, runtime};

use crate::error::to_js;
use crate::foreign;
use crate::interrupt::until_interrupted;

/// Runs the work on the core's runtime and settles a promise with its outcome, converted on the thread of `env`.
///
/// The promise keeps the process alive while it is pending. A panic becomes an error of kind `internal`.
pub fn promise<'env, T, V, F>(
    env: &'env Env,
    work: impl Future<Output = pgque::Result<T>> + Send + 'static,
    convert: F,
) -> Result<PromiseRaw<'env, V>>
where
    T: Send + 'static,
    V: ToNapiValue + 'static,
    F: FnOnce(T) -> V + Send + 'static,
{
    settle(env, guarded(work), convert)
}

/// As [`promise`], for work that counts in the order of the calls: it is begun here and now, as far as it gets without
/// waiting. The threads of the runtime would begin it in any order.
pub fn promise_begun<'env, T, V, F>(
    env: &'env Env,
    work: impl Future<Output = pgque::Result<T>> + Send + 'static,
    convert: F,
) -> Result<PromiseRaw<'env, V>>
where
    T: Send + 'static,
    V: ToNapiValue + 'static,
    F: FnOnce(T) -> V + Send + 'static,
{
    let runtime = runtime::handle().map_err(to_js)?;
    let mut work = Box::pin(guarded(work));
    let begun = {
        let _inside = runtime.enter();
        // Nobody need be woken yet: a task polls it again.
        work.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    };
    match begun {
        Poll::Ready(outcome) => settle(env, ready(outcome), convert),
        Poll::Pending => settle(env, work, convert),
    }
}

/// The work as it is run, from the first look on: its abort signal ends it, and a panic is an error.
fn guarded<T: Send + 'static>(
    work: impl Future<Output = pgque::Result<T>> + Send + 'static,
) -> impl Future<Output = pgque::Result<T>> + Send + 'static {
    let work = AssertUnwindSafe(foreign::on_behalf_of_caller(until_interrupted(work))).catch_unwind();
    work.map(|outcome| outcome.unwrap_or_else(|_| Err(panicked())))
}

fn settle<'env, T, V, F>(
    env: &'env Env,
    work: impl Future<Output = pgque::Result<T>> + Send + 'static,
    convert: F,
) -> Result<PromiseRaw<'env, V>>
where
    T: Send + 'static,
    V: ToNapiValue + 'static,
    F: FnOnce(T) -> V + Send + 'static,
{
    let runtime = runtime::handle().map_err(to_js)?;
    let (deferred, promise) = env.create_deferred()?;
    runtime.spawn(async move {
        let outcome = work.await;
        deferred.resolve(move |_| outcome.map(convert).map_err(to_js));
    });
    Ok(PromiseRaw::new(env.raw(), promise.raw()))
}

fn panicked() -> Error {
    Error::new(Kind::Internal, "promise", "the library panicked; this is a defect in it")
}
