//! Consuming by hand: receive, ack, nack, finish.

use std::time::Duration;

use futures_util::future::try_join_all;

use super::subscribe::member;
use super::{Client, queue_and_consumer};
use crate::connect::TransactionStatus;
use crate::error::{Error, Kind, Result};
use crate::executor::{Param, Statement};
use crate::message::Message;
use crate::packed::{MessageRef, Messages};

/// The columns in binary, and as text for drivers that hand out text; the call goes between the halves.
macro_rules! receiving {
    ($call:literal) => {
        (
            concat!(
                "select msg_id::text, batch_id::text, type, payload, retry_count::text,",
                " (extract(epoch from created_at) * 1000000)::bigint::text, extra1, extra2, extra3, extra4 from ",
                $call
            ),
            concat!(
                "select msg_id, batch_id, type, payload, retry_count, created_at, extra1, extra2, extra3, extra4 from ",
                $call
            ),
        )
    };
}

/// A statement's text for drivers that hand out text, and for our own.
type Texts = (&'static str, &'static str);

const RECEIVE: Texts = receiving!("pgque.receive($1, $2, $3::integer)");
const RECEIVE_COOP: Texts = receiving!("pgque.receive_coop($1, $2, $3, $4::integer, $5::interval)");
const ACK: &str = "select pgque.ack($1::bigint)::text";
// The engine reads the event again by its id, so that nothing else of the message has to travel.
const NACK: &str = "select pgque.nack($1::bigint, \
     row($2::bigint, null, null, null, null, null, null, null, null, null)::pgque.message, $3::interval, $4)::text";
const FINISH: &str =
    "select pgque.finish($1::bigint, $2::bigint[], $3::interval[], $4::boolean[], $5::text[], $6::boolean[])::text";

/// The default of `max_messages` in calls by hand.
pub const MAX_MESSAGES_DEFAULT: i64 = 100;
/// The default delay of a retry.
pub const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(60);

/// A length of time as the caller gave it.
#[derive(Clone, Debug, PartialEq)]
pub enum Interval {
    Seconds(f64),
    /// PostgreSQL interval text, for instance `5 minutes`.
    Text(String),
}

impl From<Duration> for Interval {
    fn from(duration: Duration) -> Interval {
        Interval::Seconds(duration.as_secs_f64())
    }
}

impl Interval {
    /// The interval as PostgreSQL reads it. Refuses what is not a finite, non-negative number that fits.
    pub(crate) fn to_sql(&self, op: &'static str, argument: &str) -> Result<String> {
        match self {
            Interval::Text(text) => Ok(text.clone()),
            Interval::Seconds(s) if (0.0..=f64::from(i32::MAX)).contains(s) => Ok(format!("{s} seconds")),
            Interval::Seconds(s) => {
                let message = format!("{argument} must be between 0 and 2147483647 seconds, got {s}");
                Err(Error::invalid(op, message))
            }
        }
    }
}

impl Interval {
    /// The length in seconds; `None` for text that only the server can read.
    pub(crate) fn seconds(&self) -> Option<f64> {
        match self {
            Interval::Seconds(seconds) => Some(*seconds),
            Interval::Text(text) => text_seconds(text),
        }
    }
}

/// Reads the common forms of interval text.
fn text_seconds(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    let number: f64 = words.next()?.parse().ok()?;
    let unit = match words.next()?.trim_end_matches('s') {
        "m" | "msec" | "millisecond" => 0.001,
        "sec" | "second" => 1.0,
        "min" | "minute" => 60.0,
        "hour" => 3600.0,
        "day" => 86400.0,
        _ => return None,
    };
    words.next().is_none().then_some(number * unit)
}

/// What becomes of one message when its batch is finished.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Ack,
    /// Deliver again after the delay; past the queue's `max_retries` the message is dead-lettered.
    /// `None` means the consumer's `retry_after`, or 60 s by hand.
    Retry {
        after: Option<Interval>,
        reason: Option<String>,
    },
    /// Dead-letter now.
    Dead {
        reason: Option<String>,
    },
}

/// Where a message goes that is not simply done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Routing {
    pub msg_id: i64,
    pub dead: bool,
    /// `None` is 60 s to the engine as well.
    pub after: Option<Interval>,
    pub reason: Option<String>,
    /// False for a message that goes back unhandled: it is due at once, and no attempt is counted.
    pub counted: bool,
}

impl Routing {
    pub(crate) fn hand_back(msg_id: i64) -> Routing {
        Routing { msg_id, dead: false, after: Some(Interval::Seconds(0.0)), reason: None, counted: false }
    }

    fn of((msg_id, verdict): &(i64, Verdict)) -> Option<Routing> {
        let (dead, after, reason) = match verdict.clone() {
            Verdict::Ack => return None,
            Verdict::Retry { after, reason } => (false, after, reason),
            Verdict::Dead { reason } => (true, None, reason),
        };
        Some(Routing { msg_id: *msg_id, dead, after, reason, counted: true })
    }
}

/// The columns of a list of routings, as arrays that go with each other.
pub(super) fn columns(op: &'static str, routed: &[Routing]) -> Result<[Param; 5]> {
    let (mut ids, mut after, mut dead, mut reasons, mut counted) = (vec![], vec![], vec![], vec![], vec![]);
    for routing in routed {
        ids.push(Some(routing.msg_id.to_string()));
        after.push(routing.after.as_ref().map(|a| a.to_sql(op, "after")).transpose()?);
        dead.push(Some(routing.dead.to_string()));
        reasons.push(routing.reason.clone());
        counted.push(Some(routing.counted.to_string()));
    }
    Ok([
        Param::array("msg_ids", ids),
        Param::array("retry_after", after),
        Param::array("dead", dead),
        Param::array("reasons", reasons),
        Param::array("counted", counted),
    ])
}

impl Client {
    /// Gives the open batch of the consumer, or opens the next one; empty when there is none.
    ///
    /// A batch is whole or not at all: with more than `max_messages` in it the call fails with `overflow` and
    /// nothing is advanced. Until it is acknowledged the same batch comes again.
    pub async fn receive(&self, queue: &str, consumer: &str, max_messages: i64) -> Result<Vec<Message>> {
        let mut params = queue_and_consumer(queue, consumer);
        params.push(limit("receive", max_messages)?);
        self.fetch("receive", RECEIVE, params, max_messages).await
    }

    /// As [`Client::receive`], in little memory.
    pub async fn receive_packed(&self, queue: &str, consumer: &str, max_messages: i64) -> Result<Messages> {
        let mut params = queue_and_consumer(queue, consumer);
        params.push(limit("receive", max_messages)?);
        self.fetch_packed("receive", RECEIVE, params, max_messages).await
    }

    /// As [`Client::receive`] for one cooperative worker, which is registered on the fly.
    ///
    /// With `dead_interval`, the batch of a worker that was not heard of for so long is taken over.
    pub async fn receive_coop(
        &self,
        queue: &str,
        consumer: &str,
        subconsumer: &str,
        max_messages: i64,
        dead_interval: Option<&Interval>,
    ) -> Result<Vec<Message>> {
        let params = coop_params(queue, consumer, subconsumer, max_messages, dead_interval)?;
        self.fetch("receive_coop", RECEIVE_COOP, params, max_messages).await
    }

    /// As [`Client::receive_coop`], in little memory.
    pub async fn receive_coop_packed(
        &self,
        queue: &str,
        consumer: &str,
        subconsumer: &str,
        max_messages: i64,
        dead_interval: Option<&Interval>,
    ) -> Result<Messages> {
        let params = coop_params(queue, consumer, subconsumer, max_messages, dead_interval)?;
        self.fetch_packed("receive_coop", RECEIVE_COOP, params, max_messages).await
    }

    async fn fetch(&self, op: &'static str, sql: Texts, params: Vec<Param>, limit: i64) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        self.fetch_each(op, sql, params, limit, |message| messages.push(message.into())).await?;
        Ok(messages)
    }

    async fn fetch_packed(&self, op: &'static str, sql: Texts, params: Vec<Param>, limit: i64) -> Result<Messages> {
        let mut messages = Messages::default();
        self.fetch_each(op, sql, params, limit, |message| messages.push(message)).await?;
        Ok(messages.close())
    }

    async fn fetch_each(
        &self,
        op: &'static str,
        (sql, binary): Texts,
        params: Vec<Param>,
        limit: i64,
        each: impl FnMut(MessageRef<'_>),
    ) -> Result<()> {
        let statement = Statement { op, sql, sql_binary: Some(binary), params };
        self.executor.run_messages(statement, each).await.map_err(|e| match e.kind() {
            Kind::Overflow => e.with_configured_limit(limit),
            _ => e,
        })
    }

    /// Finishes a batch. 1, or 0 if it is unknown, already finished or taken over.
    pub async fn ack(&self, batch_id: i64) -> Result<i64> {
        self.number("ack", ACK, vec![Param::int("batch_id", batch_id)]).await
    }

    /// Has one message of an open batch delivered again after a delay; the batch must still be acknowledged.
    ///
    /// Past the queue's `max_retries` the message is dead-lettered with `reason`. Fails with `batch_not_found`
    /// once the batch is finished.
    pub async fn nack(&self, batch_id: i64, msg_id: i64, retry_after: &Interval, reason: Option<&str>) -> Result<()> {
        let params = vec![
            Param::int("batch_id", batch_id),
            Param::int("msg_id", msg_id),
            Param::text("retry_after", retry_after.to_sql("nack", "retry_after")?),
            Param::maybe("reason", reason.map(str::to_owned)),
        ];
        self.number("nack", NACK, params).await.map(drop)
    }

    /// Settles a batch: what is not named is done, the rest is retried or dead-lettered, all or nothing.
    ///
    /// 1, or 0 without any effect if the batch is unknown, already finished or taken over.
    pub async fn finish(&self, batch_id: i64, verdicts: &[(i64, Verdict)]) -> Result<i64> {
        let routed: Vec<Routing> = verdicts.iter().filter_map(Routing::of).collect();
        self.route(batch_id, &routed).await
    }

    /// As [`Client::finish`], for messages that may also go back unhandled where the engine can `finish`.
    pub(crate) async fn route(&self, batch_id: i64, routed: &[Routing]) -> Result<i64> {
        if routed.is_empty() {
            return self.ack(batch_id).await;
        }
        if self.capabilities().await?.finish {
            let mut params = vec![Param::int("batch_id", batch_id)];
            params.extend(columns("finish", routed)?);
            return self.number("finish", FINISH, params).await;
        }
        self.finish_one_by_one(batch_id, routed).await
    }

    /// The way of an engine without `pgque.finish`: nacks and ack in one transaction.
    async fn finish_one_by_one(&self, batch_id: i64, routed: &[Routing]) -> Result<i64> {
        let ours = self.connection().filter(|c| c.transaction_status() == TransactionStatus::Idle);
        let scope = match ours {
            Some(connection) => Some(connection.scope().await?),
            None => None,
        };
        let result = self.nack_and_ack(batch_id, routed).await;
        match (scope, result) {
            (None, result) => result,
            (Some(scope), Ok(done)) => scope.commit().await.map(|()| done),
            (Some(scope), Err(error)) => {
                // The loss of the connection rolls back as well; the first error is the one to tell.
                let _ = scope.rollback().await;
                match error.kind() {
                    Kind::BatchNotFound => Ok(0),
                    _ => Err(error),
                }
            }
        }
    }

    async fn nack_and_ack(&self, batch_id: i64, routed: &[Routing]) -> Result<i64> {
        let nack = async |routing: &Routing| {
            if routing.dead || !routing.counted {
                let message =
                    "this engine cannot dead-letter at once; upgrade it with `pgque install` or retry instead";
                return Err(Error::new(Kind::NotInstalled, "finish", message));
            }
            let after = routing.after.clone().unwrap_or_else(|| RETRY_AFTER_DEFAULT.into());
            self.nack(batch_id, routing.msg_id, &after, routing.reason.as_deref()).await
        };
        try_join_all(routed.iter().map(nack)).await?;
        self.ack(batch_id).await
    }
}

fn coop_params(
    queue: &str,
    consumer: &str,
    subconsumer: &str,
    max_messages: i64,
    dead_interval: Option<&Interval>,
) -> Result<Vec<Param>> {
    let mut params = member(queue, consumer, subconsumer);
    params.push(limit("receive_coop", max_messages)?);
    let dead_interval = dead_interval.map(|i| i.to_sql("receive_coop", "dead_interval")).transpose()?;
    params.push(Param::maybe("dead_interval", dead_interval));
    Ok(params)
}

fn limit(op: &'static str, max_messages: i64) -> Result<Param> {
    match max_messages {
        1..=0x7fff_ffff => Ok(Param::int("max_messages", max_messages)),
        _ => {
            let message = format!("max_messages must be between 1 and 2147483647, got {max_messages}");
            Err(Error::invalid(op, message))
        }
    }
}
