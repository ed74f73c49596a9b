//! The operations of a client, each written once, for both faces.

use pgque::{
    BATCH_HANDLING_DEFAULT, Client, DLQ_LIMIT_DEFAULT, DLQ_OLDER_THAN_DEFAULT, Interval, MAX_MESSAGES_DEFAULT,
    RETRY_AFTER_DEFAULT, Verdict,
};
use pyo3::intern;
use pyo3::prelude::*;

use crate::client::{Answer, Home, Operations, State};
use crate::face::{Face, begun, nothing, plain};
use crate::message::MessageId;
use crate::payload;
use crate::value::{Span, Whole, table};
use crate::verdict::PyVerdict;

#[pymethods]
impl Operations {
    #[pyo3(signature = (conn, *, _owns_conn=false))]
    fn __init__(&self, conn: &Bound<'_, PyAny>, _owns_conn: bool) -> PyResult<()> {
        self.replace(State::over(conn, _owns_conn, self.face)?);
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
        self.replace(State::over(conn, owns_conn, self.face)?);
        Ok(())
    }

    /// Close the connection if the client opened it. Twice is fine.
    fn close<'py>(&self, py: Python<'py>) -> Answer<'py> {
        let state = self.state()?;
        if let (true, Home::Blocking(_)) = (state.owns_conn, &state.home) {
            return state.conn.bind(py).call_method0(intern!(py, "close")).map(|_| py.None().into_bound(py));
        }
        let core = state.owns_conn.then(|| state.core.clone());
        let close = async move {
            if let Some(core) = core {
                core.close().await;
            }
            Ok(())
        };
        match self.face {
            // Without a runtime, which a program that only has connections of its own does not need.
            Face::Blocking if !state.owns_conn => Ok(py.None().into_bound(py)),
            face => face.call(py, close, nothing),
        }
    }

    /// A `with` block that commits at its end and rolls back on an exception.
    fn transaction<'py>(&self, py: Python<'py>) -> Answer<'py> {
        let state = self.state()?;
        let conn = state.conn.bind(py);
        // SQLAlchemy, Django and psycopg2 have ways of their own.
        if !conn.hasattr(intern!(py, "transaction"))? {
            self.own("transaction")?;
        }
        conn.call_method0(intern!(py, "transaction"))
    }

    /// Open a transaction, also in autocommit.
    fn begin<'py>(&self, py: Python<'py>) -> Answer<'py> {
        let own = self.own("begin")?;
        self.face.call(py, async move { own.scope().await }, begun)
    }

    /// Commit the open transaction; without one nothing happens. One that has failed is rolled back, with an error.
    fn commit<'py>(&self, py: Python<'py>) -> Answer<'py> {
        self.call_own(py, "commit", |own| async move { own.commit().await })
    }

    /// Roll the open transaction back; without one nothing happens.
    fn rollback<'py>(&self, py: Python<'py>) -> Answer<'py> {
        self.call_own(py, "rollback", |own| async move { own.rollback().await })
    }

    /// Run any one statement; as `conn.execute`.
    #[pyo3(signature = (sql, params=None))]
    fn execute<'py>(&self, py: Python<'py>, sql: Bound<'py, PyAny>, params: Option<Bound<'py, PyAny>>) -> Answer<'py> {
        self.own("execute")?;
        self.state()?.conn.bind(py).call_method1(intern!(py, "execute"), (sql, params))
    }

    /// Have notifications of a channel, from the commit on.
    fn listen<'py>(&self, py: Python<'py>, channel: String) -> Answer<'py> {
        self.call_own(py, "listen", |own| async move { own.listen(&channel).await })
    }

    /// Have a channel's notifications no more.
    fn unlisten<'py>(&self, py: Python<'py>, channel: String) -> Answer<'py> {
        self.call_own(py, "unlisten", |own| async move { own.unlisten(&channel).await })
    }

    /// The next notification, or None when the time in seconds is over.
    fn notification<'py>(&self, py: Python<'py>, timeout: f64) -> Answer<'py> {
        self.own("notification")?;
        self.state()?.conn.bind(py).call_method1(intern!(py, "notification"), (timeout,))
    }

    /// What the server offers.
    fn capabilities<'py>(&self, py: Python<'py>) -> Answer<'py> {
        self.call(
            py,
            |core| async move { core.capabilities().await },
            |py, c| {
                let kind = py.import(intern!(py, "pgque.types"))?.getattr(intern!(py, "Capabilities"))?;
                kind.call1((c.server_version, c.finish, c.ticker_pending, c.pages)).map(Bound::unbind)
            },
        )
    }

    /// The engine's version.
    fn version<'py>(&self, py: Python<'py>) -> Answer<'py> {
        self.call(py, |core| async move { core.version().await }, plain)
    }

    /// Send one event and give its id. `payload` is any JSON-able value, a str of JSON text, `pgque.Text` for
    /// other text, or a `pgque.Event`.
    #[pyo3(
        signature = (queue, payload=None, *, r#type=None, extra1=None, extra2=None, extra3=None, extra4=None),
        text_signature = "($self, queue, payload=None, *, type='default', \
            extra1=None, extra2=None, extra3=None, extra4=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "an event has this many fields, given by name")]
    fn send<'py>(
        &self,
        py: Python<'py>,
        queue: String,
        payload: Option<Bound<'_, PyAny>>,
        r#type: Option<String>,
        extra1: Option<String>,
        extra2: Option<String>,
        extra3: Option<String>,
        extra4: Option<String>,
    ) -> Answer<'py> {
        let event = payload::event(py, payload, r#type, [extra1, extra2, extra3, extra4])?;
        self.call(py, |core| async move { core.send(&queue, &event).await }, plain)
    }

    /// Send many events of one type, all or none; the ids are in the order of the payloads.
    fn send_batch<'py>(
        &self,
        py: Python<'py>,
        queue: String,
        r#type: Option<String>,
        payloads: &Bound<'_, PyAny>,
    ) -> Answer<'py> {
        let payloads = payload::batch(payloads)?;
        self.call(py, |core| async move { core.send_batch(&queue, r#type.as_deref(), payloads).await }, plain)
    }

    /// Register a consumer at the newest tick. 1 if it is new, 0 if it existed.
    fn subscribe<'py>(&self, py: Python<'py>, queue: String, consumer: String) -> Answer<'py> {
        self.call(py, |core| async move { core.subscribe(&queue, &consumer).await }, plain)
    }

    /// Remove a consumer. 1, or 0 if there was none.
    fn unsubscribe<'py>(&self, py: Python<'py>, queue: String, consumer: String) -> Answer<'py> {
        self.call(py, |core| async move { core.unsubscribe(&queue, &consumer).await }, plain)
    }

    /// Register a cooperative worker. 1 if it is new, 0 if it existed.
    #[pyo3(signature = (queue, consumer, subconsumer, *, convert_normal=false))]
    fn subscribe_subconsumer<'py>(
        &self,
        py: Python<'py>,
        queue: String,
        consumer: String,
        subconsumer: String,
        convert_normal: bool,
    ) -> Answer<'py> {
        self.call(
            py,
            |core| async move { core.subscribe_subconsumer(&queue, &consumer, &subconsumer, convert_normal).await },
            plain,
        )
    }

    /// Remove a cooperative worker; `batch_handling=1` has the messages of its open batch retried.
    #[pyo3(
        signature = (queue, consumer, subconsumer, *, batch_handling=BATCH_HANDLING_DEFAULT),
        text_signature = "($self, queue, consumer, subconsumer, *, batch_handling=0)"
    )]
    fn unsubscribe_subconsumer<'py>(
        &self,
        py: Python<'py>,
        queue: String,
        consumer: String,
        subconsumer: String,
        batch_handling: i64,
    ) -> Answer<'py> {
        self.call(
            py,
            |core| async move { core.unsubscribe_subconsumer(&queue, &consumer, &subconsumer, batch_handling).await },
            plain,
        )
    }

    /// Say that a cooperative worker is alive.
    fn touch_subconsumer<'py>(
        &self,
        py: Python<'py>,
        queue: String,
        consumer: String,
        subconsumer: String,
    ) -> Answer<'py> {
        self.call(py, |core| async move { core.touch_subconsumer(&queue, &consumer, &subconsumer).await }, plain)
    }

    /// The messages of the open batch, or of the next one; empty when there is none.
    #[pyo3(
        signature = (queue, consumer, max_messages=Some(Whole(MAX_MESSAGES_DEFAULT))),
        text_signature = "($self, queue, consumer, max_messages=100)"
    )]
    fn receive<'py>(
        &self,
        py: Python<'py>,
        queue: String,
        consumer: String,
        max_messages: Option<Whole>,
    ) -> Answer<'py> {
        let limit = limit(max_messages);
        self.receive_with(py, move |core| async move { core.receive_packed(&queue, &consumer, limit).await })
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
        queue: String,
        consumer: String,
        subconsumer: String,
        max_messages: Option<Whole>,
        dead_interval: Option<Span>,
    ) -> Answer<'py> {
        let dead_interval = dead_interval.map(|span| span.0);
        let limit = limit(max_messages);
        self.receive_with(py, move |core| async move {
            core.receive_coop_packed(&queue, &consumer, &subconsumer, limit, dead_interval.as_ref()).await
        })
    }

    /// Finish a batch. 1, or 0 if it is unknown, already finished or taken over.
    fn ack<'py>(&self, py: Python<'py>, batch_id: Option<Whole>) -> Answer<'py> {
        // None is the id of no batch, as NULL is to the server.
        let ack = move |core: Client| async move {
            match batch_id {
                Some(Whole(batch_id)) => core.ack(batch_id).await,
                None => Ok(0),
            }
        };
        self.call(py, ack, plain)
    }

    /// Have one message of an open batch delivered again after a delay; the batch must still be acknowledged.
    #[pyo3(
        signature = (batch_id, msg, retry_after=Span(RETRY_AFTER_DEFAULT.into()), reason=None),
        text_signature = "($self, batch_id, msg, retry_after=60, reason=None)"
    )]
    fn nack<'py>(
        &self,
        py: Python<'py>,
        batch_id: Whole,
        msg: MessageId,
        retry_after: Span,
        reason: Option<String>,
    ) -> Answer<'py> {
        self.call(
            py,
            |core| async move { core.nack(batch_id.0, msg.0, &retry_after.0, reason.as_deref()).await },
            nothing,
        )
    }

    /// Settle a batch in one step: pairs, or a dict, of messages and verdicts; what is not named is done.
    fn finish<'py>(&self, py: Python<'py>, batch_id: i64, verdicts: &Bound<'_, PyAny>) -> Answer<'py> {
        let pairs = match verdicts.hasattr(intern!(py, "items"))? {
            true => verdicts.call_method0(intern!(py, "items"))?,
            false => verdicts.clone(),
        };
        let pair = |pair: PyResult<Bound<'_, PyAny>>| -> PyResult<(i64, Verdict)> {
            let (id, verdict): (MessageId, PyVerdict) = pair?.extract()?;
            Ok((id.0, verdict.0))
        };
        let verdicts: Vec<_> = pairs.try_iter()?.map(pair).collect::<PyResult<_>>()?;
        self.call(py, |core| async move { core.finish(batch_id, &verdicts).await }, plain)
    }

    /// Tick one queue if its settings ask for it. The tick's id, or None if it was not yet time.
    fn ticker<'py>(&self, py: Python<'py>, queue: String) -> Answer<'py> {
        self.call(py, |core| async move { core.ticker(&queue).await }, plain)
    }

    /// Tick all queues whose settings ask for it; how many ticked.
    fn ticker_all<'py>(&self, py: Python<'py>) -> Answer<'py> {
        self.call(py, |core| async move { core.ticker_all().await }, plain)
    }

    /// Have the next `ticker` call tick in any case. The id of the newest existing tick.
    fn force_next_tick<'py>(&self, py: Python<'py>, queue: String) -> Answer<'py> {
        self.call(py, |core| async move { core.force_next_tick(&queue).await }, plain)
    }

    /// Alias of `force_next_tick`.
    fn force_tick<'py>(&self, py: Python<'py>, queue: String) -> Answer<'py> {
        self.call(py, |core| async move { core.force_tick(&queue).await }, plain)
    }

    /// Run due maintenance; how much was done.
    fn maint<'py>(&self, py: Python<'py>) -> Answer<'py> {
        self.call(py, |core| async move { core.maint().await }, plain)
    }

    /// Put messages whose retry delay is over back into their queues; how many.
    fn maint_retry_events<'py>(&self, py: Python<'py>) -> Answer<'py> {
        self.call(py, |core| async move { core.maint_retry_events().await }, plain)
    }

    /// Install the engine, or bring an existing one up to date.
    fn install<'py>(&self, py: Python<'py>) -> Answer<'py> {
        self.call(py, |core| async move { pgque::install(&core).await }, nothing)
    }

    /// Remove the engine with all queues and events.
    fn uninstall<'py>(&self, py: Python<'py>) -> Answer<'py> {
        self.call(py, |core| async move { pgque::uninstall(&core).await }, nothing)
    }

    /// One row for each part of the engine.
    fn status<'py>(&self, py: Python<'py>) -> Answer<'py> {
        self.call(py, |core| async move { core.status().await }, table)
    }

    /// Create a queue. 1, or 0 if it existed.
    fn create_queue<'py>(&self, py: Python<'py>, queue: String) -> Answer<'py> {
        self.call(py, |core| async move { core.create_queue(&queue).await }, plain)
    }

    /// Drop a queue with its events; `force` also with its consumers.
    #[pyo3(signature = (queue, *, force=false))]
    fn drop_queue<'py>(&self, py: Python<'py>, queue: String, force: bool) -> Answer<'py> {
        self.call(py, |core| async move { core.drop_queue(&queue, force).await }, plain)
    }

    /// Set one setting of a queue; None resets it.
    fn set_queue_config<'py>(
        &self,
        py: Python<'py>,
        queue: String,
        name: String,
        value: Option<String>,
    ) -> Answer<'py> {
        self.call(py, |core| async move { core.set_queue_config(&queue, &name, value.as_deref()).await }, plain)
    }

    /// One queue, or all. Intervals are in seconds.
    #[pyo3(signature = (queue=None))]
    fn queue_info<'py>(&self, py: Python<'py>, queue: Option<String>) -> Answer<'py> {
        self.call(py, |core| async move { core.queue_info(queue.as_deref()).await }, table)
    }

    /// The subscriptions of a queue and a consumer, or all. Intervals are in seconds.
    #[pyo3(signature = (queue=None, consumer=None))]
    fn consumer_info<'py>(&self, py: Python<'py>, queue: Option<String>, consumer: Option<String>) -> Answer<'py> {
        self.call(py, |core| async move { core.consumer_info(queue.as_deref(), consumer.as_deref()).await }, table)
    }

    /// An open batch; no row for an unknown one.
    fn batch_info<'py>(&self, py: Python<'py>, batch_id: i64) -> Answer<'py> {
        self.call(py, |core| async move { core.batch_info(batch_id).await }, table)
    }

    /// The dead letters of a queue, the newest first.
    #[pyo3(signature = (queue, limit=DLQ_LIMIT_DEFAULT), text_signature = "($self, queue, limit=100)")]
    fn dlq_inspect<'py>(&self, py: Python<'py>, queue: String, limit: i64) -> Answer<'py> {
        self.call(py, |core| async move { core.dlq_inspect(&queue, limit).await }, table)
    }

    /// Send a dead letter again as a new event. Its id.
    fn dlq_replay<'py>(&self, py: Python<'py>, dead_letter_id: i64) -> Answer<'py> {
        self.call(py, |core| async move { core.dlq_replay(dead_letter_id).await }, plain)
    }

    /// Replay every dead letter of a queue; what fails stays and is counted.
    fn dlq_replay_all<'py>(&self, py: Python<'py>, queue: String) -> Answer<'py> {
        self.call(
            py,
            |core| async move { core.dlq_replay_all(&queue).await },
            |py, done| {
                let kind = py.import(intern!(py, "pgque.types"))?.getattr(intern!(py, "Replayed"))?;
                kind.call1((done.replayed, done.failed, done.first_error)).map(Bound::unbind)
            },
        )
    }

    /// Give a dead letter back to the consumer that could not handle it, and to no other: as a retry that is due at
    /// once, with the id that it had and all of its retries. That id.
    fn dlq_redeliver<'py>(&self, py: Python<'py>, dead_letter_id: i64) -> Answer<'py> {
        self.call(py, |core| async move { core.dlq_redeliver(dead_letter_id).await }, plain)
    }

    /// Give all dead letters of a queue, or of one of its consumers, back to their consumers; how many. Those of
    /// consumers that are not subscribed any more stay.
    #[pyo3(signature = (queue, consumer=None))]
    fn dlq_redeliver_all<'py>(&self, py: Python<'py>, queue: String, consumer: Option<String>) -> Answer<'py> {
        self.call(py, |core| async move { core.dlq_redeliver_all(&queue, consumer.as_deref()).await }, plain)
    }

    /// Delete dead letters that are older than the given time; how many.
    #[pyo3(
        signature = (queue, older_than=Span(Interval::Text(DLQ_OLDER_THAN_DEFAULT.into()))),
        text_signature = "($self, queue, older_than='30 days')"
    )]
    fn dlq_purge<'py>(&self, py: Python<'py>, queue: String, older_than: Span) -> Answer<'py> {
        self.call(py, |core| async move { core.dlq_purge(&queue, &older_than.0).await }, plain)
    }
}

/// None is no limit.
fn limit(max_messages: Option<Whole>) -> i64 {
    max_messages.map_or(i32::MAX.into(), |limit| limit.0)
}
