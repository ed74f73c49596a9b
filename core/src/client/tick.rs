//! Ticks and maintenance. They need the role `pgque_admin`.

use std::time::Duration;

use super::Client;
use crate::error::Result;
use crate::executor::Param;

const TICKER: &str = "select pgque.ticker($1)::text";
const TICKER_ALL: &str = "select pgque.ticker()::text";
// Beside it the milliseconds until the next retry is due, so that nothing else has to look for retries.
const TICKER_PENDING: &str = "select pgque.ticker_pending()::text, (select \
     ceil(extract(epoch from min(ev_retry_after) - clock_timestamp()) * 1000)::bigint::text from pgque.retry_queue)";
const TICKER_SLEEP: &str = "select pgque.ticker_sleep($1::integer)::integer::text";
const TICKER_WAKE: &str = "select pgque.ticker_wake()";
const FORCE_NEXT_TICK: &str = "select pgque.force_next_tick($1)::text";
const MAINT: &str = "select pgque.maint()::text";
// The rows are counted by the statement's snapshot, which is older than what the function does.
const MAINT_AND_ROTATING: &str = "select (select count(*) from pgque.queue where queue_switch_step2 is null)::text, \
     pgque.maint()::text";
const MAINT_RETRY_EVENTS: &str = "select pgque.maint_retry_events()::text";
const MAINT_ROTATE_TABLES_STEP2: &str = "select pgque.maint_rotate_tables_step2()::text";
// A session lock of the leader's: the key is the engine's schema, so that each database elects its own.
const TRY_LEAD: &str = "select pg_try_advisory_lock('pgque'::regnamespace::oid::integer, 1)::integer::text";

/// Where producers ring for a sleeping ticker.
const BELL: &str = "pgque_ticker";

/// What a look for new events found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pending {
    /// How many queues ticked.
    pub ticks: u64,
    /// The time until the next retry is due; `None` if none waits.
    pub retry_in: Option<Duration>,
}

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
    pub(crate) async fn ticker_pending(&self) -> Result<Option<Pending>> {
        if !self.capabilities().await?.ticker_pending {
            return Ok(None);
        }
        let rows = self.run("ticker_pending", TICKER_PENDING, vec![]).await?;
        let until = |ms: i64| Duration::from_millis(ms.try_into().unwrap_or_default());
        Ok(Some(Pending { ticks: rows.number(0, 0)?.unwrap_or_default(), retry_in: rows.number(0, 1)?.map(until) }))
    }

    /// Has producers ring for so long; false if they cannot in this database.
    pub(crate) async fn ticker_sleep(&self, seconds: u32) -> Result<bool> {
        let params = vec![Param::int("seconds", seconds.into())];
        Ok(self.number("ticker_sleep", TICKER_SLEEP, params).await? == 1)
    }

    /// Has producers ring no longer.
    pub(crate) async fn ticker_wake(&self) -> Result<()> {
        self.run("ticker_wake", TICKER_WAKE, vec![]).await.map(drop)
    }

    pub(crate) async fn listen_for_bell(&self) -> Result<()> {
        self.own_connection("ticker")?.listen(BELL).await
    }

    /// Waits until a producer rings; false if none did in time. All that rang by now count as one.
    pub(crate) async fn bell(&self, timeout: Duration) -> Result<bool> {
        let connection = self.own_connection("ticker")?;
        let rang = connection.notification(timeout).await?.is_some();
        while connection.notification(Duration::ZERO).await?.is_some() {}
        Ok(rang)
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

    /// As [`Client::maint`]; how many rotations were waiting for their second half before it.
    pub(crate) async fn maint_and_rotating(&self) -> Result<i64> {
        self.number("maint", MAINT_AND_ROTATING, vec![]).await
    }

    /// Puts messages whose retry delay is over back into their queues; how many.
    pub async fn maint_retry_events(&self) -> Result<i64> {
        self.number("maint_retry_events", MAINT_RETRY_EVENTS, vec![]).await
    }

    /// The second half of a rotation, which has to be a later transaction than the first.
    pub(crate) async fn maint_rotate_tables_step2(&self) -> Result<()> {
        self.number("maint_rotate_tables_step2", MAINT_ROTATE_TABLES_STEP2, vec![]).await.map(drop)
    }

    /// Tries to become the one ticker of this database; held until the connection ends.
    pub(crate) async fn try_lead(&self) -> Result<bool> {
        Ok(self.number("try_lead", TRY_LEAD, vec![]).await? == 1)
    }
}
