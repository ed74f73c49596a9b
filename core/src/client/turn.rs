//! Who of several consumers of one name works, and whether one is done for now.

use super::Client;
use crate::error::{Error, Kind, Result};
use crate::executor::Param;

// A lock of the session's: it ends with the connection, however that ends. The same key in one database only.
const TRY_OWN: &str = "select pg_try_advisory_lock(hashtextextended($1, 0))::integer::text, pg_backend_pid()::text";
// The two halves of the key stand in pg_locks as two numbers.
const END_OWNER: &str = "select count(pg_terminate_backend(pid))::text from pg_locks, hashtextextended($1, 0) k \
     where locktype = 'advisory' and objsubid = 1 and pid = $2::integer \
       and classid::bigint = (k >> 32) & 4294967295 and objid::bigint = k & 4294967295 \
       and database = (select oid from pg_database where datname = current_database())";
const POSITION: &str = "select c.last_tick::text, q.last_tick_id::text \
     from pgque.get_consumer_info($1::text, $2::text) c, pgque.get_queue_info($3::text) q";
const PENDING: &str = "select coalesce(max(pending_events), 0)::text from pgque.get_consumer_info($1::text, $2::text)";

/// The answer to a consumer that asks for its turn.
pub(crate) struct Turn {
    pub ours: bool,
    pub backend_pid: i64,
}

impl Client {
    /// Tries to become the one at work under that name; held until the connection ends.
    pub(crate) async fn try_own(&self, key: &str) -> Result<Turn> {
        let rows = self.run("consumer", TRY_OWN, vec![Param::text("name", key)]).await?;
        let number = |column| {
            let number: Option<i64> = rows.number(0, column)?;
            number.ok_or_else(|| Error::new(Kind::Internal, "consumer", "the server answered NULL"))
        };
        Ok(Turn { ours: number(0)? == 1, backend_pid: number(1)? })
    }

    /// Ends a connection of our own that was lost without the server's noticing, if it still holds the name.
    pub(crate) async fn end_owner(&self, key: &str, backend_pid: i64) -> Result<i64> {
        let params = vec![Param::text("name", key), Param::int("backend_pid", backend_pid)];
        self.number("consumer", END_OWNER, params).await
    }

    /// The tick where the consumer stands, if the queue has a newer one.
    pub(crate) async fn tick_behind(&self, queue: &str, consumer: &str) -> Result<Option<i64>> {
        let params = vec![Param::text("queue", queue), Param::text("consumer", consumer), Param::text("queue", queue)];
        let rows = self.run("consumer", POSITION, params).await?;
        if rows.len() == 0 {
            return Ok(None);
        }
        let (at, newest): (Option<i64>, Option<i64>) = (rows.number(0, 0)?, rows.number(0, 1)?);
        Ok(at.filter(|at| newest.is_some_and(|newest| newest > *at)))
    }

    /// How many events the consumer has before it, up to the newest tick.
    pub(crate) async fn pending_events(&self, queue: &str, consumer: &str) -> Result<i64> {
        let params = vec![Param::text("queue", queue), Param::text("consumer", consumer)];
        self.number("consumer", PENDING, params).await
    }
}
