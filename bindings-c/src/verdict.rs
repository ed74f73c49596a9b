//! What becomes of messages: verdicts by message id, and the verdict of one handler's call.

use std::ffi::c_char;

use pgque::{Outcome, Result, Verdict};

use crate::error::pgque_error;
use crate::ffi::{Door, Failure, door};
use crate::options::pgque_interval;

/// What becomes of the messages of a batch, for `pgque_client_finish`. One thread at a time.
#[derive(Default)]
pub struct pgque_verdicts(Vec<(i64, Verdict)>);

impl pgque_verdicts {
    pub fn inner(&self) -> &[(i64, Verdict)] {
        &self.0
    }
}

/// No verdicts yet, to be freed by `pgque_verdicts_free`. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_verdicts_new() -> Box<pgque_verdicts> {
    Box::default()
}

/// The message is done, as is one that is not named. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_verdicts_ack(verdicts: Option<&mut pgque_verdicts>, msg_id: i64) -> Option<Box<pgque_error>> {
    judge("verdicts_ack", verdicts, msg_id, |_| Ok(Verdict::Ack))
}

/// Deliver the message again after a delay; `pgque_interval_none()` is the usual one. `reason` may be NULL. Never
/// blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_verdicts_retry(
    verdicts: Option<&mut pgque_verdicts>,
    msg_id: i64,
    after: pgque_interval,
    reason: *const c_char,
) -> Option<Box<pgque_error>> {
    judge("verdicts_retry", verdicts, msg_id, |door| door.retry(after, reason))
}

/// Dead-letter the message now. `reason` may be NULL. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_verdicts_dead(
    verdicts: Option<&mut pgque_verdicts>,
    msg_id: i64,
    reason: *const c_char,
) -> Option<Box<pgque_error>> {
    judge("verdicts_dead", verdicts, msg_id, |door| door.dead(reason))
}

fn judge(
    op: &'static str,
    verdicts: Option<&mut pgque_verdicts>,
    msg_id: i64,
    verdict: impl FnOnce(Door) -> Result<Verdict>,
) -> Failure {
    door(op, |door| {
        let verdicts = door.required(verdicts, "verdicts")?;
        verdicts.0.push((msg_id, verdict(door)?));
        Ok(())
    })
}

impl Door {
    pub fn retry(self, after: pgque_interval, reason: *const c_char) -> Result<Verdict> {
        let reason = self.maybe_text(reason, "reason")?.map(str::to_owned);
        Ok(Verdict::Retry { after: self.interval(after, "after")?, reason })
    }

    pub fn dead(self, reason: *const c_char) -> Result<Verdict> {
        Ok(Verdict::Dead { reason: self.maybe_text(reason, "reason")?.map(str::to_owned) })
    }

    pub fn failed(self, error: *const c_char) -> Result<Outcome> {
        Ok(Outcome::Failed { error: self.text(error, "error")?.to_owned() })
    }
}

/// Frees verdicts. NULL is fine. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_verdicts_free(verdicts: Option<Box<pgque_verdicts>>) {
    drop(verdicts);
}

/// The verdict of a handler on its message. Lives until the handler returns; only the handler's thread may use it.
#[derive(Default)]
pub struct pgque_verdict(pub Option<Outcome>);

/// The message is done. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_verdict_ack(verdict: Option<&mut pgque_verdict>) -> Option<Box<pgque_error>> {
    decide("verdict_ack", verdict, |_| Ok(Verdict::Ack.into()))
}

/// Deliver the message again after a delay; `pgque_interval_none()` is the consumer's `retry_after`. `reason` may be
/// NULL. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_verdict_retry(
    verdict: Option<&mut pgque_verdict>,
    after: pgque_interval,
    reason: *const c_char,
) -> Option<Box<pgque_error>> {
    decide("verdict_retry", verdict, |door| door.retry(after, reason).map(Outcome::from))
}

/// Dead-letter the message now. `reason` may be NULL. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_verdict_dead(
    verdict: Option<&mut pgque_verdict>,
    reason: *const c_char,
) -> Option<Box<pgque_error>> {
    decide("verdict_dead", verdict, |door| door.dead(reason).map(Outcome::from))
}

/// The handler failed: the error is logged and becomes the reason, and `retry_after` and `retry_backoff`, or the
/// callback of `pgque_consumer_on_failure`, say when the message comes again. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_verdict_fail(
    verdict: Option<&mut pgque_verdict>,
    error: *const c_char,
) -> Option<Box<pgque_error>> {
    decide("verdict_fail", verdict, |door| door.failed(error))
}

fn decide(
    op: &'static str,
    verdict: Option<&mut pgque_verdict>,
    decide: impl FnOnce(Door) -> Result<Outcome>,
) -> Failure {
    door(op, |door| {
        door.required(verdict, "verdict")?.0 = Some(decide(door)?);
        Ok(())
    })
}
