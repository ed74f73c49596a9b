//! Ticks and maintenance. They need the role `pgque_admin`.

use super::Client;
use crate::error::Result;
use crate::executor::Param;

const TICKER: &str = "select pgque.ticker($1)::text";
const TICKER_ALL: &str = "select pgque.ticker()::text";
const TICKER_PENDING: &str = "select pgque.ticker_pending()::text";
const FORCE_NEXT_TICK: &str = "select pgque.force_next_tick($1)::text";
const MAINT: &str = "select pgque.maint()::text";
const MAINT_RETRY_EVENTS: &str = "select pgque.maint_retry_events()::text";
const MAINT_ROTATE_TABLES_STEP2: &str = "select pgque.maint_rotate_tables_step2()::text";
// A session lock of the leader's: the key is the engine's schema, so that each database elects its own.
const TRY_LEAD: &str = "select pg_try_advisory_lock('pgque'::regnamespace::oid::integer, 1)::integer::text";

impl Client {
    /// Ticks one queue if its settings ask for it. The tick's id, or `None` if it was not yet time.
    pub async fn ticker(&self, queue: &str) -> Result<Option<i64>> {
        self.maybe_number("ticker", TICKER, vec![Param::text("queue", queue)]).await
    }

    /// Ticks all queues whose settings ask for it; how many ticked.
    pub async fn ticker_all(&self) -> Result<i64> {
        self.number("ticker_all", TICKER_ALL, vec![]).await
    }

    /// Ticks every queue with a new event, whatever its settings; `None` if the engine has no such call.
    pub(crate) async fn ticker_pending(&self) -> Result<Option<i64>> {
        match self.capabilities().await?.ticker_pending {
            true => self.number("ticker_pending", TICKER_PENDING, vec![]).await.map(Some),
            false => Ok(None),
        }
    }

    /// Has the next `ticker` call of the queue tick in any case. The id of the newest existing tick.
    pub async fn force_next_tick(&self, queue: &str) -> Result<Option<i64>> {
        self.maybe_number("force_next_tick", FORCE_NEXT_TICK, vec![Param::text("queue", queue)]).await
    }

    /// Alias of [`Client::force_next_tick`].
    pub async fn force_tick(&self, queue: &str) -> Result<Option<i64>> {
        self.force_next_tick(queue).await
    }

    /// Runs due maintenance, table rotation above all; how much was done.
    pub async fn maint(&self) -> Result<i64> {
        self.number("maint", MAINT, vec![]).await
    }

    /// Puts messages whose retry delay is over back into their queues; how many.
    pub async fn maint_retry_events(&self) -> Result<i64> {
        self.number("maint_retry_events", MAINT_RETRY_EVENTS, vec![]).await
    }

    /// The second half of a rotation, which has to be a later transaction than the first.
    pub(crate) async fn maint_rotate_tables_step2(&self) -> Result<i64> {
        self.number("maint_rotate_tables_step2", MAINT_ROTATE_TABLES_STEP2, vec![]).await
    }

    /// Tries to become the one ticker of this database; held until the connection ends.
    pub(crate) async fn try_lead(&self) -> Result<bool> {
        Ok(self.number("try_lead", TRY_LEAD, vec![]).await? == 1)
    }
}
