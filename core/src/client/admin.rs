//! Queues, their settings, and what the engine tells about itself.

use super::Client;
use crate::error::Result;
use crate::executor::Param;
use crate::value::{As, ResultSet, typed};

const CREATE_QUEUE: &str = "select pgque.create_queue($1)::text";
const DROP_QUEUE: &str = "select pgque.drop_queue($1, $2::boolean)::text";
const SET_QUEUE_CONFIG: &str = "select pgque.set_queue_config($1, $2, $3)::text";
const VERSION: &str = "select pgque.version()";
const STATUS: &str = "select component, status, detail from pgque.status()";
const QUEUE_INFO: &str = "select queue_name, queue_ntables::text, queue_cur_table::text, \
     extract(epoch from queue_rotation_period)::text, \
     (extract(epoch from queue_switch_time) * 1000000)::bigint::text, queue_external_ticker::text, \
     queue_ticker_paused::text, queue_ticker_max_count::text, extract(epoch from queue_ticker_max_lag)::text, \
     extract(epoch from queue_ticker_idle_period)::text, extract(epoch from ticker_lag)::text, ev_per_sec::text, \
     ev_new::text, last_tick_id::text from pgque.get_queue_info() where queue_name = $1 or $2::text is null";
const CONSUMER_INFO: &str = "select queue_name, consumer_name, extract(epoch from lag)::text, \
     extract(epoch from last_seen)::text, last_tick::text, current_batch::text, next_tick::text, \
     pending_events::text from pgque.get_consumer_info($1::text, $2::text)";
const BATCH_INFO: &str = "select queue_name, consumer_name, \
     (extract(epoch from batch_start) * 1000000)::bigint::text, \
     (extract(epoch from batch_end) * 1000000)::bigint::text, prev_tick_id::text, tick_id::text, \
     extract(epoch from lag)::text, seq_start::text, seq_end::text \
     from pgque.get_batch_info($1::bigint) where queue_name is not null";
// Asks the catalogue, which answers also where the schema is missing.
const CAPABILITIES: &str = "select current_setting('server_version_num'), \
     (to_regprocedure('pgque.finish(bigint,bigint[],interval[],boolean[],text[],boolean[])') is not null)::integer::text, \
     (to_regprocedure('pgque.ticker_pending()') is not null)::integer::text, \
     (to_regprocedure('pgque.receive_page(text,text,text,integer,interval)') is not null)::integer::text, \
     (to_regprocedure('pgque.ticker_sleep(integer)') is not null)::integer::text, \
     (to_regprocedure('pgque.read_ahead(bigint,text,xid8,bigint,integer)') is not null)::integer::text";

const STATUS_COLUMNS: [(&str, As); 3] = [("component", As::Text), ("status", As::Text), ("detail", As::Text)];
const QUEUE_COLUMNS: [(&str, As); 14] = [
    ("queue_name", As::Text),
    ("queue_ntables", As::Int),
    ("queue_cur_table", As::Int),
    ("queue_rotation_period", As::Float),
    ("queue_switch_time", As::Time),
    ("queue_external_ticker", As::Bool),
    ("queue_ticker_paused", As::Bool),
    ("queue_ticker_max_count", As::Int),
    ("queue_ticker_max_lag", As::Float),
    ("queue_ticker_idle_period", As::Float),
    ("ticker_lag", As::Float),
    ("ev_per_sec", As::Float),
    ("ev_new", As::Int),
    ("last_tick_id", As::Int),
];
const CONSUMER_COLUMNS: [(&str, As); 8] = [
    ("queue_name", As::Text),
    ("consumer_name", As::Text),
    ("lag", As::Float),
    ("last_seen", As::Float),
    ("last_tick", As::Int),
    ("current_batch", As::Int),
    ("next_tick", As::Int),
    ("pending_events", As::Int),
];
const BATCH_COLUMNS: [(&str, As); 9] = [
    ("queue_name", As::Text),
    ("consumer_name", As::Text),
    ("batch_start", As::Time),
    ("batch_end", As::Time),
    ("prev_tick_id", As::Int),
    ("tick_id", As::Int),
    ("lag", As::Float),
    ("seq_start", As::Int),
    ("seq_end", As::Int),
];

/// What the server at the other end offers.
#[derive(Clone, Copy, Debug)]
pub struct Capabilities {
    /// PostgreSQL's version, for instance 150018.
    pub server_version: i64,
    /// The engine settles a batch in one call.
    pub finish: bool,
    /// The engine can tick every queue with new events.
    pub ticker_pending: bool,
    /// The engine hands out large batches in pages.
    pub pages: bool,
    /// The engine can have its producers wake a sleeping ticker.
    pub(crate) ticker_sleep: bool,
    /// The engine gives the next page while one is worked on.
    pub(crate) read_ahead: bool,
}

impl Client {
    /// Creates a queue. 1, or 0 if it existed. `invalid_input` for a name over 57 bytes.
    pub async fn create_queue(&self, queue: &str) -> Result<i64> {
        self.number("create_queue", CREATE_QUEUE, vec![Param::text("queue", queue)]).await
    }

    /// Drops a queue with its events. `conflict` while consumers are subscribed, unless forced.
    pub async fn drop_queue(&self, queue: &str, force: bool) -> Result<i64> {
        let params = vec![Param::text("queue", queue), Param::text("force", force.to_string())];
        self.number("drop_queue", DROP_QUEUE, params).await
    }

    /// Sets one setting of a queue; `None` resets it. `invalid_input` for an unknown name or a bad value.
    pub async fn set_queue_config(&self, queue: &str, name: &str, value: Option<&str>) -> Result<i64> {
        let params = vec![
            Param::text("queue", queue),
            Param::text("name", name),
            Param::maybe("value", value.map(str::to_owned)),
        ];
        self.number("set_queue_config", SET_QUEUE_CONFIG, params).await
    }

    /// The engine's version.
    pub async fn version(&self) -> Result<String> {
        let rows = self.run("version", VERSION, vec![]).await?;
        Ok(rows.text(0, 0)?.unwrap_or_default().to_owned())
    }

    /// One row for each part of the engine: `component`, `status`, `detail`.
    pub async fn status(&self) -> Result<ResultSet> {
        typed(&self.run("status", STATUS, vec![]).await?, &STATUS_COLUMNS)
    }

    /// One queue, or all; no row for an unknown one. Intervals are in seconds.
    pub async fn queue_info(&self, queue: Option<&str>) -> Result<ResultSet> {
        let queue = queue.map(str::to_owned);
        let params = vec![Param::maybe("queue", queue.clone()), Param::maybe("queue", queue)];
        typed(&self.run("queue_info", QUEUE_INFO, params).await?, &QUEUE_COLUMNS)
    }

    /// The subscriptions of a queue and a consumer; `None` means all. Intervals are in seconds.
    pub async fn consumer_info(&self, queue: Option<&str>, consumer: Option<&str>) -> Result<ResultSet> {
        let params = vec![
            Param::maybe("queue", queue.map(str::to_owned)),
            Param::maybe("consumer", consumer.map(str::to_owned)),
        ];
        typed(&self.run("consumer_info", CONSUMER_INFO, params).await?, &CONSUMER_COLUMNS)
    }

    /// An open batch; no row for an unknown one. Intervals are in seconds.
    pub async fn batch_info(&self, batch_id: i64) -> Result<ResultSet> {
        let params = vec![Param::int("batch_id", batch_id)];
        typed(&self.run("batch_info", BATCH_INFO, params).await?, &BATCH_COLUMNS)
    }

    /// What the server offers; asked once for each client.
    pub async fn capabilities(&self) -> Result<Capabilities> {
        // A thread of the process before fork() may have been asking just then.
        self.connection().map_or(Ok(()), |own| own.check_process("capabilities"))?;
        let ask = || async {
            let rows = self.run("capabilities", CAPABILITIES, vec![]).await?;
            let number = |column| Ok::<i64, crate::Error>(rows.number(0, column)?.unwrap_or_default());
            let offers = |column| Ok::<bool, crate::Error>(number(column)? == 1);
            Ok(Capabilities {
                server_version: number(0)?,
                finish: offers(1)?,
                ticker_pending: offers(2)?,
                pages: offers(3)?,
                ticker_sleep: offers(4)?,
                read_ahead: offers(5)?,
            })
        };
        self.capabilities.get_or_try_init(ask).await.copied()
    }
}
