//! A batch on its way through the handlers, and what they made of it.

use super::options::{ConsumerOptions, UnknownHandlerPolicy};
use crate::client::{Interval, Verdict};
use crate::message::Message;
use crate::policy::route;

/// The messages of one batch, each with the number of its handler.
#[derive(Debug)]
pub struct Batch {
    messages: Vec<Message>,
    routes: Vec<Option<usize>>,
}

impl Batch {
    pub(super) fn new(messages: Vec<Message>, handlers: &[String]) -> Batch {
        let routes = messages.iter().map(|m| route(handlers, m.event_type.as_deref())).collect();
        Batch { messages, routes }
    }

    /// The id under which the batch is open; it changes when another worker takes the batch over.
    pub fn id(&self) -> i64 {
        self.messages.first().map_or(0, |m| m.batch_id)
    }

    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The number of the handler for a message, as [`super::Consumer::on`] gave it; `None` when there is none.
    pub fn handler(&self, index: usize) -> Option<usize> {
        self.routes.get(index).copied().flatten()
    }

    /// The messages that are not simply done, with what becomes of them.
    pub(super) fn settle(
        &self,
        options: &ConsumerOptions,
        logger: &str,
        mut verdicts: Vec<Option<Verdict>>,
    ) -> Vec<(i64, Verdict)> {
        verdicts.resize(self.messages.len(), None);
        let judged = self.messages.iter().zip(&self.routes).zip(verdicts);
        let settled = judged.map(|((message, route), verdict)| {
            let verdict = match route {
                None => unknown(options.unknown_handler_policy, logger, message),
                Some(_) => verdict.unwrap_or_else(no_verdict),
            };
            (message.msg_id, storable(with_delay(verdict, &options.retry_after, logger)))
        });
        settled.filter(|(_, verdict)| *verdict != Verdict::Ack).collect()
    }
}

fn unknown(policy: UnknownHandlerPolicy, logger: &str, message: &Message) -> Verdict {
    let event_type = message.event_type.as_deref().unwrap_or("None");
    let (word, verdict) = match policy {
        UnknownHandlerPolicy::Ack => ("acking", Verdict::Ack),
        UnknownHandlerPolicy::Nack => {
            let reason = Some(format!("no handler for type={event_type}"));
            ("nacking", Verdict::Retry { after: None, reason })
        }
    };
    log::warn!(target: logger, "no handler for event type={event_type} ev_id={}; {word}", message.msg_id);
    verdict
}

fn no_verdict() -> Verdict {
    let reason = Some("the handler gave no verdict".to_owned());
    Verdict::Retry { after: None, reason }
}

/// The consumer's own delay where the handler named none, or one that cannot be: a single bad verdict must not
/// keep the whole batch from being finished.
fn with_delay(verdict: Verdict, retry_after: &Interval, logger: &str) -> Verdict {
    let Verdict::Retry { after, reason } = verdict else {
        return verdict;
    };
    let possible = after.filter(|after| match after.to_sql("finish", "after") {
        Ok(_) => true,
        Err(error) => {
            log::error!(target: logger, "a handler's verdict: {}; using retry_after", error.message());
            false
        }
    });
    Verdict::Retry { after: Some(possible.unwrap_or_else(|| retry_after.clone())), reason }
}

/// The consumer's own delay in place of every interval text of the handlers'; `None` if there is none.
pub(super) fn without_text_delays(
    mut settled: Vec<(i64, Verdict)>,
    retry_after: &Interval,
) -> Option<Vec<(i64, Verdict)>> {
    let mut replaced = false;
    for (_, verdict) in &mut settled {
        if let Verdict::Retry { after: Some(after @ Interval::Text(_)), .. } = verdict
            && after != retry_after
        {
            *after = retry_after.clone();
            replaced = true;
        }
    }
    replaced.then_some(settled)
}

/// PostgreSQL's text holds no NUL; an error's text that does must not keep the batch from being finished.
fn storable(verdict: Verdict) -> Verdict {
    let clean = |reason: Option<String>| reason.map(|r| r.replace('\0', "\u{fffd}"));
    match verdict {
        Verdict::Ack => Verdict::Ack,
        Verdict::Retry { after, reason } => Verdict::Retry { after, reason: clean(reason) },
        Verdict::Dead { reason } => Verdict::Dead { reason: clean(reason) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impossible_delay_becomes_the_consumers_own() {
        let retry = |after: Option<f64>| Verdict::Retry { after: after.map(Interval::Seconds), reason: None };
        for after in [None, Some(f64::NAN), Some(-1.0), Some(1e12)] {
            assert_eq!(with_delay(retry(after), &Interval::Seconds(60.0), "pgque"), retry(Some(60.0)));
        }
        assert_eq!(with_delay(retry(Some(0.5)), &Interval::Seconds(60.0), "pgque"), retry(Some(0.5)));
    }

    #[test]
    fn a_reason_with_nul_can_be_stored() {
        let dead = |reason: &str| Verdict::Dead { reason: Some(reason.into()) };
        assert_eq!(storable(dead("a\0b")), dead("a\u{fffd}b"));
    }
}
