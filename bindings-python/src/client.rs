//! `pgque.PgqueClient`: the operations, on a connection of ours or on the caller's.

use std::future::Future;
use std::sync::Arc;

use pgque::{
    BATCH_HANDLING_DEFAULT, Client, DLQ_LIMIT_DEFAULT, DLQ_OLDER_THAN_DEFAULT, Interval, MAX_MESSAGES_DEFAULT,
    RETRY_AFTER_DEFAULT, Result, Verdict,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::connection::{Connection, Lent};
use crate::error::to_py;
use crate::message::{MessageId, Source};
use crate::payload;
use crate::psycopg::Psycopg;
use crate::value::{Span, table};
use crate::verdict::PyVerdict;
use crate::wait::{wait, wait_here};

/// Operations on a connection of psycopg 3 or of `pgque.connect`. Threads may share it.
///
/// Calls on a psycopg connection are part of whatever transaction is open there, and nothing commits it.
#[pyclass(module = "pgque", subclass, frozen, weakref)]
pub struct PgqueClient {
    core: Client,
    conn: Py<PyAny>,
    owns_conn: bool,
}

impl PgqueClient {
    fn call<T: Send>(&self, py: Python<'_>, call: impl Future<Output = Result<T>> + Send) -> PyResult<T> {
        match self.core.connection() {
            Some(_) => wait(py, call),
            None => wait_here(py, call),
        }
    }

    /// A client of a consumer's transaction, for a handler.
    pub fn lent<'py>(py: Python<'py>, core: &Client) -> PyResult<Bound<'py, PgqueClient>> {
        let core = core.clone();
        let lent = Lent(core.own_connection("consumer").map_err(to_py)?.clone());
        let kind = py.import(intern!(py, "pgque.connection"))?.getattr(intern!(py, "Connection"))?;
        let conn = kind.call1((lent,))?.unbind();
        Bound::new(py, PgqueClient { core, conn, owns_conn: false })
    }

    /// For what psycopg's users do on their connection itself.
    fn own(&self, op: &'static str) -> PyResult<&pgque::Connection> {
        self.core.own_connection(op).map_err(to_py)
    }
}

#[pymethods]
impl PgqueClient {
    #[new]
    #[pyo3(signature = (conn, *, _owns_conn=false))]
    fn new(conn: &Bound<'_, PyAny>, _owns_conn: bool) -> PyResult<PgqueClient> {
        let core = match conn.cast::<Connection>() {
            Ok(own) => Client::over(own.get().core.clone()),
            Err(_) => Client::over_foreign(Arc::new(Psycopg::new(conn)?)),
        };
        Ok(PgqueClient { core, conn: conn.clone().unbind(), owns_conn: _owns_conn })
    }

    /// The connection that the client works on.
    #[getter]
    fn conn(&self, py: Python<'_>) -> Py<PyAny> {
        self.conn.clone_ref(py)
    }

    /// Close the connection if `connect` opened it. Twice is fine.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if !self.owns_conn {
            return Ok(());
        }
        wait(py, async {
            self.core.close().await;
            Ok(())
        })
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// Only closes: what was not committed is lost.
    #[pyo3(signature = (*_exc))]
    fn __exit__(&self, py: Python<'_>, _exc: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    /// A `with` block that commits at its end and rolls back on an exception.
    fn transaction<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.conn.bind(py).call_method0(intern!(py, "transaction"))
    }

    /// Open a transaction, also in autocommit.
    fn begin(&self, py: Python<'_>) -> PyResult<()> {
        wait(py, self.own("begin")?.begin())
    }

    /// Commit the open transaction; without one nothing happens. One that has failed is rolled back, with an error.
    fn commit(&self, py: Python<'_>) -> PyResult<()> {
        wait(py, self.own("commit")?.commit())
    }

    /// Roll the open transaction back; without one nothing happens.
    fn rollback(&self, py: Python<'_>) -> PyResult<()> {
        wait(py, self.own("rollback")?.rollback())
    }

    /// Run any one statement; as `conn.execute`.
    #[pyo3(signature = (sql, params=None))]
    fn execute<'py>(
        &self,
        py: Python<'py>,
        sql: Bound<'py, PyAny>,
        params: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.own("execute")?;
        self.conn.bind(py).call_method1(intern!(py, "execute"), (sql, params))
    }

    /// Have notifications of a channel, from the commit on.
    fn listen(&self, py: Python<'_>, channel: &str) -> PyResult<()> {
        wait(py, self.own("listen")?.listen(channel))
    }

    /// Have a channel's notifications no more.
    fn unlisten(&self, py: Python<'_>, channel: &str) -> PyResult<()> {
        wait(py, self.own("unlisten")?.unlisten(channel))
    }

    /// The next notification, or None when the time in seconds is over.
    fn notification<'py>(&self, py: Python<'py>, timeout: f64) -> PyResult<Bound<'py, PyAny>> {
        self.own("notification")?;
        self.conn.bind(py).call_method1(intern!(py, "notification"), (timeout,))
    }

    /// What the server offers.
    fn capabilities<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let c = self.call(py, self.core.capabilities())?;
        let kind = py.import(intern!(py, "pgque.types"))?.getattr(intern!(py, "Capabilities"))?;
        kind.call1((c.server_version, c.finish, c.ticker_pending, c.pages))
    }

    /// The engine's version.
    fn version(&self, py: Python<'_>) -> PyResult<String> {
        self.call(py, self.core.version())
    }

    /// Send one event and give its id. `payload` is any JSON-able value, a str of JSON text, `pgque.Text` for
    /// other text, or a `pgque.Event`.
    #[pyo3(signature = (
        queue, payload=None, *, r#type=None, extra1=None, extra2=None, extra3=None, extra4=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "an event has this many fields, given by name")]
    fn send(
        &self,
        py: Python<'_>,
        queue: &str,
        payload: Option<Bound<'_, PyAny>>,
        r#type: Option<String>,
        extra1: Option<String>,
        extra2: Option<String>,
        extra3: Option<String>,
        extra4: Option<String>,
    ) -> PyResult<i64> {
        let payload = payload.unwrap_or_else(|| py.None().into_bound(py));
        let event = payload::event(&payload, r#type, [extra1, extra2, extra3, extra4])?;
        self.call(py, self.core.send(queue, &event))
    }

    /// Send many events of one type, all or none; the ids are in the order of the payloads.
    fn send_batch(
        &self,
        py: Python<'_>,
        queue: &str,
        r#type: Option<&str>,
        payloads: &Bound<'_, PyAny>,
    ) -> PyResult<Vec<i64>> {
        let payloads = payload::batch(payloads)?;
        self.call(py, self.core.send_batch(queue, r#type, payloads))
    }

    /// Register a consumer at the newest tick. 1 if it is new, 0 if it existed.
    fn subscribe(&self, py: Python<'_>, queue: &str, consumer: &str) -> PyResult<i64> {
        self.call(py, self.core.subscribe(queue, consumer))
    }

    /// Remove a consumer. 1, or 0 if there was none.
    fn unsubscribe(&self, py: Python<'_>, queue: &str, consumer: &str) -> PyResult<i64> {
        self.call(py, self.core.unsubscribe(queue, consumer))
    }

    /// Register a cooperative worker. 1 if it is new, 0 if it existed.
    #[pyo3(signature = (queue, consumer, subconsumer, *, convert_normal=false))]
    fn subscribe_subconsumer(
        &self,
        py: Python<'_>,
        queue: &str,
        consumer: &str,
        subconsumer: &str,
        convert_normal: bool,
    ) -> PyResult<i64> {
        self.call(py, self.core.subscribe_subconsumer(queue, consumer, subconsumer, convert_normal))
    }

    /// Remove a cooperative worker; `batch_handling=1` has the messages of its open batch retried.
    #[pyo3(signature = (queue, consumer, subconsumer, *, batch_handling=BATCH_HANDLING_DEFAULT))]
    fn unsubscribe_subconsumer(
        &self,
        py: Python<'_>,
        queue: &str,
        consumer: &str,
        subconsumer: &str,
        batch_handling: i64,
    ) -> PyResult<i64> {
        self.call(py, self.core.unsubscribe_subconsumer(queue, consumer, subconsumer, batch_handling))
    }

    /// Say that a cooperative worker is alive.
    fn touch_subconsumer(&self, py: Python<'_>, queue: &str, consumer: &str, subconsumer: &str) -> PyResult<i64> {
        self.call(py, self.core.touch_subconsumer(queue, consumer, subconsumer))
    }

    /// The messages of the open batch, or of the next one; empty when there is none.
    #[pyo3(signature = (queue, consumer, max_messages=MAX_MESSAGES_DEFAULT))]
    fn receive<'py>(
        &self,
        py: Python<'py>,
        queue: &str,
        consumer: &str,
        max_messages: i64,
    ) -> PyResult<Bound<'py, PyList>> {
        let messages = self.call(py, self.core.receive(queue, consumer, max_messages))?;
        Source::Received(Arc::new(messages)).list(py)
    }

    /// As `receive` for one cooperative worker, which is registered on the fly.
    #[pyo3(signature = (queue, consumer, subconsumer, *, max_messages=MAX_MESSAGES_DEFAULT, dead_interval=None))]
    fn receive_coop<'py>(
        &self,
        py: Python<'py>,
        queue: &str,
        consumer: &str,
        subconsumer: &str,
        max_messages: i64,
        dead_interval: Option<Span>,
    ) -> PyResult<Bound<'py, PyList>> {
        let dead_interval = dead_interval.map(|span| span.0);
        let call = self.core.receive_coop(queue, consumer, subconsumer, max_messages, dead_interval.as_ref());
        Source::Received(Arc::new(self.call(py, call)?)).list(py)
    }

    /// Finish a batch. 1, or 0 if it is unknown, already finished or taken over.
    fn ack(&self, py: Python<'_>, batch_id: i64) -> PyResult<i64> {
        self.call(py, self.core.ack(batch_id))
    }

    /// Have one message of an open batch delivered again after a delay; the batch must still be acknowledged.
    #[pyo3(signature = (batch_id, msg, retry_after=Span(RETRY_AFTER_DEFAULT.into()), reason=None))]
    fn nack(
        &self,
        py: Python<'_>,
        batch_id: i64,
        msg: MessageId,
        retry_after: Span,
        reason: Option<&str>,
    ) -> PyResult<()> {
        self.call(py, self.core.nack(batch_id, msg.0, &retry_after.0, reason))
    }

    /// Settle a batch in one step: pairs, or a dict, of messages and verdicts; what is not named is done.
    fn finish(&self, py: Python<'_>, batch_id: i64, verdicts: &Bound<'_, PyAny>) -> PyResult<i64> {
        let pairs = match verdicts.hasattr(intern!(py, "items"))? {
            true => verdicts.call_method0(intern!(py, "items"))?,
            false => verdicts.clone(),
        };
        let pair = |pair: PyResult<Bound<'_, PyAny>>| -> PyResult<(i64, Verdict)> {
            let (id, verdict): (MessageId, PyVerdict) = pair?.extract()?;
            Ok((id.0, verdict.0))
        };
        let verdicts: Vec<_> = pairs.try_iter()?.map(pair).collect::<PyResult<_>>()?;
        self.call(py, self.core.finish(batch_id, &verdicts))
    }

    /// Tick one queue if its settings ask for it. The tick's id, or None if it was not yet time.
    fn ticker(&self, py: Python<'_>, queue: &str) -> PyResult<Option<i64>> {
        self.call(py, self.core.ticker(queue))
    }

    /// Tick all queues whose settings ask for it; how many ticked.
    fn ticker_all(&self, py: Python<'_>) -> PyResult<i64> {
        self.call(py, self.core.ticker_all())
    }

    /// Have the next `ticker` call tick in any case. The id of the newest existing tick.
    fn force_next_tick(&self, py: Python<'_>, queue: &str) -> PyResult<Option<i64>> {
        self.call(py, self.core.force_next_tick(queue))
    }

    /// Alias of `force_next_tick`.
    fn force_tick(&self, py: Python<'_>, queue: &str) -> PyResult<Option<i64>> {
        self.call(py, self.core.force_tick(queue))
    }

    /// Run due maintenance; how much was done.
    fn maint(&self, py: Python<'_>) -> PyResult<i64> {
        self.call(py, self.core.maint())
    }

    /// Put messages whose retry delay is over back into their queues; how many.
    fn maint_retry_events(&self, py: Python<'_>) -> PyResult<i64> {
        self.call(py, self.core.maint_retry_events())
    }

    /// Install the engine, or bring an existing one up to date.
    fn install(&self, py: Python<'_>) -> PyResult<()> {
        self.call(py, pgque::install(&self.core))
    }

    /// Remove the engine with all queues and events.
    fn uninstall(&self, py: Python<'_>) -> PyResult<()> {
        self.call(py, pgque::uninstall(&self.core))
    }

    /// One row for each part of the engine.
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        table(py, &self.call(py, self.core.status())?)
    }

    /// Create a queue. 1, or 0 if it existed.
    fn create_queue(&self, py: Python<'_>, queue: &str) -> PyResult<i64> {
        self.call(py, self.core.create_queue(queue))
    }

    /// Drop a queue with its events; `force` also with its consumers.
    #[pyo3(signature = (queue, *, force=false))]
    fn drop_queue(&self, py: Python<'_>, queue: &str, force: bool) -> PyResult<i64> {
        self.call(py, self.core.drop_queue(queue, force))
    }

    /// Set one setting of a queue; None resets it.
    fn set_queue_config(&self, py: Python<'_>, queue: &str, name: &str, value: Option<&str>) -> PyResult<i64> {
        self.call(py, self.core.set_queue_config(queue, name, value))
    }

    /// One queue, or all. Intervals are in seconds.
    #[pyo3(signature = (queue=None))]
    fn queue_info<'py>(&self, py: Python<'py>, queue: Option<&str>) -> PyResult<Bound<'py, PyAny>> {
        table(py, &self.call(py, self.core.queue_info(queue))?)
    }

    /// The subscriptions of a queue and a consumer, or all. Intervals are in seconds.
    #[pyo3(signature = (queue=None, consumer=None))]
    fn consumer_info<'py>(
        &self,
        py: Python<'py>,
        queue: Option<&str>,
        consumer: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        table(py, &self.call(py, self.core.consumer_info(queue, consumer))?)
    }

    /// An open batch; no row for an unknown one.
    fn batch_info<'py>(&self, py: Python<'py>, batch_id: i64) -> PyResult<Bound<'py, PyAny>> {
        table(py, &self.call(py, self.core.batch_info(batch_id))?)
    }

    /// The dead letters of a queue, the newest first.
    #[pyo3(signature = (queue, limit=DLQ_LIMIT_DEFAULT))]
    fn dlq_inspect<'py>(&self, py: Python<'py>, queue: &str, limit: i64) -> PyResult<Bound<'py, PyAny>> {
        table(py, &self.call(py, self.core.dlq_inspect(queue, limit))?)
    }

    /// Send a dead letter again as a new event. Its id.
    fn dlq_replay(&self, py: Python<'_>, dead_letter_id: i64) -> PyResult<i64> {
        self.call(py, self.core.dlq_replay(dead_letter_id))
    }

    /// Replay every dead letter of a queue; what fails stays and is counted.
    fn dlq_replay_all<'py>(&self, py: Python<'py>, queue: &str) -> PyResult<Bound<'py, PyAny>> {
        let done = self.call(py, self.core.dlq_replay_all(queue))?;
        let kind = py.import(intern!(py, "pgque.types"))?.getattr(intern!(py, "Replayed"))?;
        kind.call1((done.replayed, done.failed, done.first_error))
    }

    /// Give a dead letter back to the consumer that could not handle it, and to no other: as a retry that is due at
    /// once, with the id that it had and all of its retries. That id.
    fn dlq_redeliver(&self, py: Python<'_>, dead_letter_id: i64) -> PyResult<i64> {
        self.call(py, self.core.dlq_redeliver(dead_letter_id))
    }

    /// Give all dead letters of a queue, or of one of its consumers, back to their consumers; how many. Those of
    /// consumers that are not subscribed any more stay.
    #[pyo3(signature = (queue, consumer=None))]
    fn dlq_redeliver_all(&self, py: Python<'_>, queue: &str, consumer: Option<&str>) -> PyResult<i64> {
        self.call(py, self.core.dlq_redeliver_all(queue, consumer))
    }

    /// Delete dead letters that are older than the given time; how many.
    #[pyo3(signature = (queue, older_than=Span(Interval::Text(DLQ_OLDER_THAN_DEFAULT.into()))))]
    fn dlq_purge(&self, py: Python<'_>, queue: &str, older_than: Span) -> PyResult<i64> {
        self.call(py, self.core.dlq_purge(queue, &older_than.0))
    }
}
