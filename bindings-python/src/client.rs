//! `pgque.PgqueClient`: the operations, on a connection of ours or on the caller's.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use pgque::{
    BATCH_HANDLING_DEFAULT, Client, DLQ_LIMIT_DEFAULT, DLQ_OLDER_THAN_DEFAULT, Interval, MAX_MESSAGES_DEFAULT,
    RETRY_AFTER_DEFAULT, Result, Verdict,
};
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::connection::{Connection, Lent};
use crate::error::to_py;
use crate::foreign::Foreign;
use crate::message::{MessageId, Page};
use crate::payload;
use crate::value::{Span, Whole, table, zone};
use crate::verdict::PyVerdict;
use crate::wait::{wait, wait_here};

/// Operations on a connection that `pgque.connect` opened, or on one of the caller's: of psycopg 3 or psycopg2, a
/// Connection or Session of SQLAlchemy, Django's connection. Threads may share it.
///
/// Calls on the caller's connection are part of whatever transaction is open there, and nothing commits it.
#[pyclass(module = "pgque.client", subclass, frozen, weakref, dict)]
pub struct PgqueClient(Mutex<Option<Arc<State>>>);

/// What a client works on; replaced as a whole when a program sets `conn`.
struct State {
    core: Client,
    conn: Py<PyAny>,
    owns_conn: bool,
    /// Where the connection is the caller's.
    foreign: Option<Arc<Foreign>>,
}

impl State {
    fn over(conn: &Bound<'_, PyAny>, owns_conn: bool) -> PyResult<State> {
        let (core, foreign) = match conn.cast::<Connection>() {
            Ok(own) => (Client::over(own.get().core.clone()), None),
            Err(_) => {
                let foreign = Arc::new(Foreign::new(conn)?);
                (Client::over_foreign(foreign.clone()), Some(foreign))
            }
        };
        Ok(State { core, conn: conn.clone().unbind(), owns_conn, foreign })
    }
}

impl PgqueClient {
    fn state(&self) -> PyResult<Arc<State>> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let unready = || PyRuntimeError::new_err("the client has no connection: __init__ was not called");
        state.clone().ok_or_else(unready)
    }

    fn replace(&self, state: State) {
        let old = self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(Arc::new(state));
        // Dropped without the lock: it may be the last to hold the old connection.
        drop(old);
    }

    /// Runs a call, given the core's client.
    fn call<T: Send, F>(&self, py: Python<'_>, call: impl FnOnce(Client) -> F) -> PyResult<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        let state = self.state()?;
        match state.foreign {
            None => wait(py, call(state.core.clone())),
            Some(_) => wait_here(py, call(state.core.clone())),
        }
    }

    /// A client of a consumer's transaction, for a handler.
    pub fn lent<'py>(py: Python<'py>, core: &Client) -> PyResult<Bound<'py, PgqueClient>> {
        let lent = Lent(core.own_connection("consumer").map_err(to_py)?.clone());
        let kind = py.import(intern!(py, "pgque.connection"))?.getattr(intern!(py, "Connection"))?;
        let state = State { core: core.clone(), conn: kind.call1((lent,))?.unbind(), owns_conn: false, foreign: None };
        Bound::new(py, PgqueClient(Mutex::new(Some(Arc::new(state)))))
    }

    /// For what psycopg's users do on their connection itself.
    fn own(&self, op: &'static str) -> PyResult<pgque::Connection> {
        self.state()?.core.own_connection(op).cloned().map_err(to_py)
    }

    fn messages<'py>(&self, py: Python<'py>, messages: pgque::Messages) -> PyResult<Bound<'py, PyList>> {
        let state = self.state()?;
        let zone = match (&state.foreign, messages.is_empty()) {
            (_, true) => zone(py, "")?,
            (Some(foreign), _) => foreign.zone(py)?,
            (None, _) => {
                let own = self.own("receive")?;
                let known = async { Ok(own.time_zone().await.unwrap_or_default()) };
                zone(py, &wait(py, known)?)?
            }
        };
        Page::received(messages, zone).list(py)
    }
}

#[pymethods]
impl PgqueClient {
    /// Takes anything: `__init__`, which a subclass may replace, is given the connection.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(conn, *, _owns_conn=False)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> PgqueClient {
        PgqueClient(Mutex::default())
    }

    #[pyo3(signature = (conn, *, _owns_conn=false))]
    fn __init__(&self, conn: &Bound<'_, PyAny>, _owns_conn: bool) -> PyResult<()> {
        self.replace(State::over(conn, _owns_conn)?);
        Ok(())
    }

    /// The connection that the client works on.
    #[getter]
    fn conn(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.state()?.conn.clone_ref(py))
    }

    #[setter]
    fn set_conn(&self, conn: &Bound<'_, PyAny>) -> PyResult<()> {
        let owns_conn = self.state()?.owns_conn;
        self.replace(State::over(conn, owns_conn)?);
        Ok(())
    }

    /// Close the connection if `connect` opened it. Twice is fine.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let state = self.state()?;
        match (state.owns_conn, &state.foreign) {
            (false, _) => Ok(()),
            (true, Some(_)) => state.conn.bind(py).call_method0(intern!(py, "close")).map(drop),
            (true, None) => wait(py, async {
                state.core.close().await;
                Ok(())
            }),
        }
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// Only closes: what was not committed is lost.
    #[pyo3(signature = (exc_type=None, exc=None, tb=None))]
    fn __exit__(
        slf: &Bound<'_, Self>,
        exc_type: Option<Bound<'_, PyAny>>,
        exc: Option<Bound<'_, PyAny>>,
        tb: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let _ = (exc_type, exc, tb);
        // By name, for a subclass may close more.
        slf.call_method0(intern!(slf.py(), "close")).map(drop)
    }

    /// A `with` block that commits at its end and rolls back on an exception.
    fn transaction<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let state = self.state()?;
        let conn = state.conn.bind(py);
        // SQLAlchemy, Django and psycopg2 have ways of their own.
        if !conn.hasattr(intern!(py, "transaction"))? {
            self.own("transaction")?;
        }
        conn.call_method0(intern!(py, "transaction"))
    }

    /// Open a transaction, also in autocommit.
    fn begin(&self, py: Python<'_>) -> PyResult<()> {
        let own = self.own("begin")?;
        wait(py, own.begin())
    }

    /// Commit the open transaction; without one nothing happens. One that has failed is rolled back, with an error.
    fn commit(&self, py: Python<'_>) -> PyResult<()> {
        let own = self.own("commit")?;
        wait(py, own.commit())
    }

    /// Roll the open transaction back; without one nothing happens.
    fn rollback(&self, py: Python<'_>) -> PyResult<()> {
        let own = self.own("rollback")?;
        wait(py, own.rollback())
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
        self.state()?.conn.bind(py).call_method1(intern!(py, "execute"), (sql, params))
    }

    /// Have notifications of a channel, from the commit on.
    fn listen(&self, py: Python<'_>, channel: &str) -> PyResult<()> {
        let own = self.own("listen")?;
        wait(py, own.listen(channel))
    }

    /// Have a channel's notifications no more.
    fn unlisten(&self, py: Python<'_>, channel: &str) -> PyResult<()> {
        let own = self.own("unlisten")?;
        wait(py, own.unlisten(channel))
    }

    /// The next notification, or None when the time in seconds is over.
    fn notification<'py>(&self, py: Python<'py>, timeout: f64) -> PyResult<Bound<'py, PyAny>> {
        self.own("notification")?;
        self.state()?.conn.bind(py).call_method1(intern!(py, "notification"), (timeout,))
    }

    /// What the server offers.
    fn capabilities<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let c = self.call(py, |core| async move { core.capabilities().await })?;
        let kind = py.import(intern!(py, "pgque.types"))?.getattr(intern!(py, "Capabilities"))?;
        kind.call1((c.server_version, c.finish, c.ticker_pending, c.pages))
    }

    /// The engine's version.
    fn version(&self, py: Python<'_>) -> PyResult<String> {
        self.call(py, |core| async move { core.version().await })
    }

    /// Send one event and give its id. `payload` is any JSON-able value, a str of JSON text, `pgque.Text` for
    /// other text, or a `pgque.Event`.
    #[pyo3(
        signature = (queue, payload=None, *, r#type=None, extra1=None, extra2=None, extra3=None, extra4=None),
        text_signature = "($self, queue, payload=None, *, type='default', \
            extra1=None, extra2=None, extra3=None, extra4=None)"
    )]
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
        self.call(py, |core| async move { core.send(queue, &event).await })
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
        self.call(py, |core| async move { core.send_batch(queue, r#type, payloads).await })
    }

    /// Register a consumer at the newest tick. 1 if it is new, 0 if it existed.
    fn subscribe(&self, py: Python<'_>, queue: &str, consumer: &str) -> PyResult<i64> {
        self.call(py, |core| async move { core.subscribe(queue, consumer).await })
    }

    /// Remove a consumer. 1, or 0 if there was none.
    fn unsubscribe(&self, py: Python<'_>, queue: &str, consumer: &str) -> PyResult<i64> {
        self.call(py, |core| async move { core.unsubscribe(queue, consumer).await })
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
        self.call(
            py,
            |core| async move { core.subscribe_subconsumer(queue, consumer, subconsumer, convert_normal).await },
        )
    }

    /// Remove a cooperative worker; `batch_handling=1` has the messages of its open batch retried.
    #[pyo3(
        signature = (queue, consumer, subconsumer, *, batch_handling=BATCH_HANDLING_DEFAULT),
        text_signature = "($self, queue, consumer, subconsumer, *, batch_handling=0)"
    )]
    fn unsubscribe_subconsumer(
        &self,
        py: Python<'_>,
        queue: &str,
        consumer: &str,
        subconsumer: &str,
        batch_handling: i64,
    ) -> PyResult<i64> {
        self.call(
            py,
            |core| async move { core.unsubscribe_subconsumer(queue, consumer, subconsumer, batch_handling).await },
        )
    }

    /// Say that a cooperative worker is alive.
    fn touch_subconsumer(&self, py: Python<'_>, queue: &str, consumer: &str, subconsumer: &str) -> PyResult<i64> {
        self.call(py, |core| async move { core.touch_subconsumer(queue, consumer, subconsumer).await })
    }

    /// The messages of the open batch, or of the next one; empty when there is none.
    #[pyo3(
        signature = (queue, consumer, max_messages=Some(Whole(MAX_MESSAGES_DEFAULT))),
        text_signature = "($self, queue, consumer, max_messages=100)"
    )]
    fn receive<'py>(
        &self,
        py: Python<'py>,
        queue: &str,
        consumer: &str,
        max_messages: Option<Whole>,
    ) -> PyResult<Bound<'py, PyList>> {
        let limit = limit(max_messages);
        let messages = self.call(py, |core| async move { core.receive_packed(queue, consumer, limit).await })?;
        self.messages(py, messages)
    }

    /// As `receive` for one cooperative worker, which is registered on the fly.
    #[pyo3(
        signature = (
            queue, consumer, subconsumer, *, max_messages=Some(Whole(MAX_MESSAGES_DEFAULT)), dead_interval=None
        ),
        text_signature = "($self, queue, consumer, subconsumer, *, max_messages=100, dead_interval=None)"
    )]
    fn receive_coop<'py>(
        &self,
        py: Python<'py>,
        queue: &str,
        consumer: &str,
        subconsumer: &str,
        max_messages: Option<Whole>,
        dead_interval: Option<Span>,
    ) -> PyResult<Bound<'py, PyList>> {
        let dead_interval = dead_interval.map(|span| span.0);
        let (limit, silent) = (limit(max_messages), dead_interval.as_ref());
        let messages = self.call(py, |core| async move {
            core.receive_coop_packed(queue, consumer, subconsumer, limit, silent).await
        })?;
        self.messages(py, messages)
    }

    /// Finish a batch. 1, or 0 if it is unknown, already finished or taken over.
    fn ack(&self, py: Python<'_>, batch_id: Option<Whole>) -> PyResult<i64> {
        // None is the id of no batch, as NULL is to the server.
        let Some(Whole(batch_id)) = batch_id else { return Ok(0) };
        self.call(py, |core| async move { core.ack(batch_id).await })
    }

    /// Have one message of an open batch delivered again after a delay; the batch must still be acknowledged.
    #[pyo3(
        signature = (batch_id, msg, retry_after=Span(RETRY_AFTER_DEFAULT.into()), reason=None),
        text_signature = "($self, batch_id, msg, retry_after=60, reason=None)"
    )]
    fn nack(
        &self,
        py: Python<'_>,
        batch_id: Whole,
        msg: MessageId,
        retry_after: Span,
        reason: Option<&str>,
    ) -> PyResult<()> {
        self.call(py, |core| async move { core.nack(batch_id.0, msg.0, &retry_after.0, reason).await })
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
        self.call(py, |core| async move { core.finish(batch_id, &verdicts).await })
    }

    /// Tick one queue if its settings ask for it. The tick's id, or None if it was not yet time.
    fn ticker(&self, py: Python<'_>, queue: &str) -> PyResult<Option<i64>> {
        self.call(py, |core| async move { core.ticker(queue).await })
    }

    /// Tick all queues whose settings ask for it; how many ticked.
    fn ticker_all(&self, py: Python<'_>) -> PyResult<i64> {
        self.call(py, |core| async move { core.ticker_all().await })
    }

    /// Have the next `ticker` call tick in any case. The id of the newest existing tick.
    fn force_next_tick(&self, py: Python<'_>, queue: &str) -> PyResult<Option<i64>> {
        self.call(py, |core| async move { core.force_next_tick(queue).await })
    }

    /// Alias of `force_next_tick`.
    fn force_tick(&self, py: Python<'_>, queue: &str) -> PyResult<Option<i64>> {
        self.call(py, |core| async move { core.force_tick(queue).await })
    }

    /// Run due maintenance; how much was done.
    fn maint(&self, py: Python<'_>) -> PyResult<i64> {
        self.call(py, |core| async move { core.maint().await })
    }

    /// Put messages whose retry delay is over back into their queues; how many.
    fn maint_retry_events(&self, py: Python<'_>) -> PyResult<i64> {
        self.call(py, |core| async move { core.maint_retry_events().await })
    }

    /// Install the engine, or bring an existing one up to date.
    fn install(&self, py: Python<'_>) -> PyResult<()> {
        self.call(py, |core| async move { pgque::install(&core).await })
    }

    /// Remove the engine with all queues and events.
    fn uninstall(&self, py: Python<'_>) -> PyResult<()> {
        self.call(py, |core| async move { pgque::uninstall(&core).await })
    }

    /// One row for each part of the engine.
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        table(py, &self.call(py, |core| async move { core.status().await })?)
    }

    /// Create a queue. 1, or 0 if it existed.
    fn create_queue(&self, py: Python<'_>, queue: &str) -> PyResult<i64> {
        self.call(py, |core| async move { core.create_queue(queue).await })
    }

    /// Drop a queue with its events; `force` also with its consumers.
    #[pyo3(signature = (queue, *, force=false))]
    fn drop_queue(&self, py: Python<'_>, queue: &str, force: bool) -> PyResult<i64> {
        self.call(py, |core| async move { core.drop_queue(queue, force).await })
    }

    /// Set one setting of a queue; None resets it.
    fn set_queue_config(&self, py: Python<'_>, queue: &str, name: &str, value: Option<&str>) -> PyResult<i64> {
        self.call(py, |core| async move { core.set_queue_config(queue, name, value).await })
    }

    /// One queue, or all. Intervals are in seconds.
    #[pyo3(signature = (queue=None))]
    fn queue_info<'py>(&self, py: Python<'py>, queue: Option<&str>) -> PyResult<Bound<'py, PyAny>> {
        table(py, &self.call(py, |core| async move { core.queue_info(queue).await })?)
    }

    /// The subscriptions of a queue and a consumer, or all. Intervals are in seconds.
    #[pyo3(signature = (queue=None, consumer=None))]
    fn consumer_info<'py>(
        &self,
        py: Python<'py>,
        queue: Option<&str>,
        consumer: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        table(py, &self.call(py, |core| async move { core.consumer_info(queue, consumer).await })?)
    }

    /// An open batch; no row for an unknown one.
    fn batch_info<'py>(&self, py: Python<'py>, batch_id: i64) -> PyResult<Bound<'py, PyAny>> {
        table(py, &self.call(py, |core| async move { core.batch_info(batch_id).await })?)
    }

    /// The dead letters of a queue, the newest first.
    #[pyo3(signature = (queue, limit=DLQ_LIMIT_DEFAULT), text_signature = "($self, queue, limit=100)")]
    fn dlq_inspect<'py>(&self, py: Python<'py>, queue: &str, limit: i64) -> PyResult<Bound<'py, PyAny>> {
        table(py, &self.call(py, |core| async move { core.dlq_inspect(queue, limit).await })?)
    }

    /// Send a dead letter again as a new event. Its id.
    fn dlq_replay(&self, py: Python<'_>, dead_letter_id: i64) -> PyResult<i64> {
        self.call(py, |core| async move { core.dlq_replay(dead_letter_id).await })
    }

    /// Replay every dead letter of a queue; what fails stays and is counted.
    fn dlq_replay_all<'py>(&self, py: Python<'py>, queue: &str) -> PyResult<Bound<'py, PyAny>> {
        let done = self.call(py, |core| async move { core.dlq_replay_all(queue).await })?;
        let kind = py.import(intern!(py, "pgque.types"))?.getattr(intern!(py, "Replayed"))?;
        kind.call1((done.replayed, done.failed, done.first_error))
    }

    /// Give a dead letter back to the consumer that could not handle it, and to no other: as a retry that is due at
    /// once, with the id that it had and all of its retries. That id.
    fn dlq_redeliver(&self, py: Python<'_>, dead_letter_id: i64) -> PyResult<i64> {
        self.call(py, |core| async move { core.dlq_redeliver(dead_letter_id).await })
    }

    /// Give all dead letters of a queue, or of one of its consumers, back to their consumers; how many. Those of
    /// consumers that are not subscribed any more stay.
    #[pyo3(signature = (queue, consumer=None))]
    fn dlq_redeliver_all(&self, py: Python<'_>, queue: &str, consumer: Option<&str>) -> PyResult<i64> {
        self.call(py, |core| async move { core.dlq_redeliver_all(queue, consumer).await })
    }

    /// Delete dead letters that are older than the given time; how many.
    #[pyo3(
        signature = (queue, older_than=Span(Interval::Text(DLQ_OLDER_THAN_DEFAULT.into()))),
        text_signature = "($self, queue, older_than='30 days')"
    )]
    fn dlq_purge(&self, py: Python<'_>, queue: &str, older_than: Span) -> PyResult<i64> {
        self.call(py, |core| async move { core.dlq_purge(queue, &older_than.0).await })
    }
}

/// None is no limit.
fn limit(max_messages: Option<Whole>) -> i64 {
    max_messages.map_or(i32::MAX.into(), |limit| limit.0)
}
