//! Subscriptions, plain and cooperative.

use std::time::Duration;

use super::{Client, queue_and_consumer};
use crate::error::Result;
use crate::executor::Param;

const SUBSCRIBE: &str = "select pgque.subscribe($1, $2)::text";
const UNSUBSCRIBE: &str = "select pgque.unsubscribe($1, $2)::text";
const SUBSCRIBE_SUBCONSUMER: &str = "select pgque.subscribe_subconsumer($1, $2, $3, $4::boolean)::text";
const UNSUBSCRIBE_SUBCONSUMER: &str = "select pgque.unsubscribe_subconsumer($1, $2, $3, $4::integer)::text";
const SILENT_MEMBERS: &str = "select consumer_name from pgque.get_consumer_info($1::text) \
     where starts_with(consumer_name, $2) and current_batch is null \
       and last_seen > make_interval(secs => $3::float8) limit 100";
const TOUCH_SUBCONSUMER: &str = "select pgque.touch_subconsumer($1, $2, $3)::text";

/// The default of `batch_handling` in [`Client::unsubscribe_subconsumer`].
pub const BATCH_HANDLING_DEFAULT: i64 = 0;

impl Client {
    /// Registers a consumer at the newest tick. 1 if it is new, 0 if it existed.
    pub async fn subscribe(&self, queue: &str, consumer: &str) -> Result<i64> {
        self.number("subscribe", SUBSCRIBE, queue_and_consumer(queue, consumer)).await
    }

    /// Removes a consumer with its retries. 1, or 0 if there was none.
    pub async fn unsubscribe(&self, queue: &str, consumer: &str) -> Result<i64> {
        self.number("unsubscribe", UNSUBSCRIBE, queue_and_consumer(queue, consumer)).await
    }

    /// Registers a cooperative worker. 1 if it is new, 0 if it existed.
    ///
    /// `convert_normal` turns an ordinary consumer of that name into a cooperative one; without it such a
    /// consumer is a `conflict`.
    pub async fn subscribe_subconsumer(
        &self,
        queue: &str,
        consumer: &str,
        subconsumer: &str,
        convert_normal: bool,
    ) -> Result<i64> {
        let mut params = member(queue, consumer, subconsumer);
        params.push(Param::text("convert_normal", convert_normal.to_string()));
        self.number("subscribe_subconsumer", SUBSCRIBE_SUBCONSUMER, params).await
    }

    /// Removes a cooperative worker. 1, or 0 if there was none.
    ///
    /// `batch_handling` says what becomes of an open batch: 0 refuses with `conflict`, 1 sends its messages to
    /// the retry queue.
    pub async fn unsubscribe_subconsumer(
        &self,
        queue: &str,
        consumer: &str,
        subconsumer: &str,
        batch_handling: i64,
    ) -> Result<i64> {
        let mut params = member(queue, consumer, subconsumer);
        params.push(Param::int("batch_handling", batch_handling));
        self.number("unsubscribe_subconsumer", UNSUBSCRIBE_SUBCONSUMER, params).await
    }

    /// Cooperative workers whose names begin like this, that have no batch and were silent for so long; some of them.
    pub(crate) async fn silent_members(
        &self,
        queue: &str,
        consumer: &str,
        prefix: &str,
        silence: Duration,
    ) -> Result<Vec<String>> {
        let group = format!("{consumer}.");
        let params = vec![
            Param::text("queue", queue),
            Param::text("prefix", format!("{group}{prefix}")),
            Param::text("silence", silence.as_secs_f64().to_string()),
        ];
        let rows = self.run("unsubscribe_subconsumer", SILENT_MEMBERS, params).await?;
        let name =
            |row| Ok(rows.text(row, 0)?.and_then(|name| name.strip_prefix(&group)).unwrap_or_default().to_owned());
        (0..rows.len()).map(name).collect()
    }

    /// Says that a cooperative worker is alive, so that its batch is not taken over. 1, or 0 if there is none.
    pub async fn touch_subconsumer(&self, queue: &str, consumer: &str, subconsumer: &str) -> Result<i64> {
        self.number("touch_subconsumer", TOUCH_SUBCONSUMER, member(queue, consumer, subconsumer)).await
    }
}

pub(super) fn member(queue: &str, consumer: &str, subconsumer: &str) -> Vec<Param> {
    let mut params = queue_and_consumer(queue, consumer);
    params.push(Param::text("subconsumer", subconsumer));
    params
}
