//! Dead letters: look, replay, purge.

use super::{Client, Interval};
use crate::error::{Error, Kind, Result};
use crate::executor::Param;
use crate::value::{As, ResultSet, typed};

// The consumer's name is not in the table, and a reader may see it.
const INSPECT: &str = "select d.dl_id::text, $1, c.co_name, (extract(epoch from d.dl_time) * 1000000)::bigint::text, \
     d.dl_reason, d.ev_id::text, (extract(epoch from d.ev_time) * 1000000)::bigint::text, d.ev_retry::text, \
     d.ev_type, d.ev_data, d.ev_extra1, d.ev_extra2, d.ev_extra3, d.ev_extra4 \
     from pgque.dlq_inspect($2, $3::integer) d left join pgque.consumer c on c.co_id = d.dl_consumer_id \
     order by d.dl_time desc, d.dl_id desc";
const REPLAY: &str = "select pgque.dlq_replay($1::bigint)::text";
const REPLAY_ALL: &str = "select replayed::text, failed::text, first_error from pgque.dlq_replay_all($1)";
const REDELIVER: &str = "select pgque.dlq_redeliver($1::bigint)::text";
const REDELIVER_ALL: &str = "select pgque.dlq_redeliver_all($1, $2)::text";
const PURGE: &str = "select pgque.dlq_purge($1, $2::interval)::text";

const COLUMNS: [(&str, As); 14] = [
    ("dead_letter_id", As::Int),
    ("queue_name", As::Text),
    ("consumer_name", As::Text),
    ("dead_at", As::Time),
    ("reason", As::Text),
    ("msg_id", As::Int),
    ("created_at", As::Time),
    ("retry_count", As::Int),
    ("type", As::Text),
    ("payload", As::Text),
    ("extra1", As::Text),
    ("extra2", As::Text),
    ("extra3", As::Text),
    ("extra4", As::Text),
];

/// The default of `limit` in [`Client::dlq_inspect`].
pub const DLQ_LIMIT_DEFAULT: i64 = 100;
/// The default age in [`Client::dlq_purge`].
pub const DLQ_OLDER_THAN_DEFAULT: &str = "30 days";

/// The outcome of [`Client::dlq_replay_all`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    pub replayed: i64,
    pub failed: i64,
    pub first_error: Option<String>,
}

impl Client {
    /// The dead letters of a queue, the newest first; none for an unknown queue.
    pub async fn dlq_inspect(&self, queue: &str, limit: i64) -> Result<ResultSet> {
        if !(0..=i64::from(i32::MAX)).contains(&limit) {
            let message = format!("limit must be between 0 and 2147483647, got {limit}");
            return Err(Error::invalid("dlq_inspect", message));
        }
        let params = vec![Param::text("queue", queue), Param::text("queue", queue), Param::int("limit", limit)];
        typed(&self.run("dlq_inspect", INSPECT, params).await?, &COLUMNS)
    }

    /// Sends a dead letter again as a new event, which every consumer of the queue receives. Its id.
    pub async fn dlq_replay(&self, dead_letter_id: i64) -> Result<i64> {
        self.number("dlq_replay", REPLAY, vec![Param::int("dead_letter_id", dead_letter_id)]).await
    }

    /// Replays every dead letter of a queue. What fails stays and is counted.
    pub async fn dlq_replay_all(&self, queue: &str) -> Result<Replayed> {
        let rows = self.run("dlq_replay_all", REPLAY_ALL, vec![Param::text("queue", queue)]).await?;
        if rows.len() != 1 {
            return Err(Error::new(Kind::Internal, "dlq_replay_all", "the server did not answer one row"));
        }
        Ok(Replayed {
            replayed: rows.number(0, 0)?.unwrap_or_default(),
            failed: rows.number(0, 1)?.unwrap_or_default(),
            first_error: rows.text(0, 2)?.map(str::to_owned),
        })
    }

    /// Gives a dead letter back to the consumer that could not handle it, and to no other: as a retry that is due at
    /// once, with the id that it had and all of its retries. That id.
    ///
    /// Fails with `consumer_not_found` if the consumer is not subscribed any more, and with `not_installed` on PgQue
    /// 0.2, which has no such function.
    pub async fn dlq_redeliver(&self, dead_letter_id: i64) -> Result<i64> {
        self.number("dlq_redeliver", REDELIVER, vec![Param::int("dead_letter_id", dead_letter_id)]).await
    }

    /// Gives all dead letters of a queue, or of one of its consumers, back to their consumers; how many. Those of
    /// consumers that are not subscribed any more stay.
    pub async fn dlq_redeliver_all(&self, queue: &str, consumer: Option<&str>) -> Result<i64> {
        let params = vec![Param::text("queue", queue), Param::maybe("consumer", consumer.map(str::to_owned))];
        self.number("dlq_redeliver_all", REDELIVER_ALL, params).await
    }

    /// Deletes dead letters that are older than the given time; how many.
    pub async fn dlq_purge(&self, queue: &str, older_than: &Interval) -> Result<i64> {
        let params =
            vec![Param::text("queue", queue), Param::text("older_than", older_than.to_sql("dlq_purge", "older_than")?)];
        self.number("dlq_purge", PURGE, params).await
    }
}
