//! Typed calls, one method for each operation. Defaults are the core's.

use std::time::Duration;

use napi::bindgen_prelude::{BigInt, Either, Null, PromiseRaw};
use napi::{Env, Result};
use napi_derive::napi;
use pgque::{Payloads, ResultSet, Settings, runtime};

use crate::error::to_js;
use crate::message::Columns;
use crate::promise::{promise, promise_begun};
use crate::value::{RawResultSet, Span, event, id, interval, verdict};

/// A promise that lives as long as the call's environment.
type Promise<'env, T> = Result<PromiseRaw<'env, T>>;
/// An id, or null.
#[napi]
pub type MaybeId = Either<BigInt, Null>;

#[napi(js_name = "NativeClient")]
pub struct Client(pub(crate) pgque::Client);

/// What the server at the other end offers.
#[napi(object, object_from_js = false)]
pub struct Capabilities {
    pub server_version: i64,
    pub finish: bool,
    pub ticker_pending: bool,
    pub pages: bool,
}

/// A NOTIFY that arrived.
#[napi(object, object_from_js = false)]
pub struct Notification {
    pub channel: String,
    pub payload: String,
    pub process_id: i32,
}

/// The outcome of `dlqReplayAll`.
#[napi(object, object_from_js = false)]
pub struct Replayed {
    pub replayed: i64,
    pub failed: i64,
    #[napi(ts_type = "string | null")]
    pub first_error: Either<String, Null>,
}

/// What becomes of one message: `ack`, `retry` or `dead`.
#[napi(object)]
pub struct MessageVerdict {
    pub msg_id: BigInt,
    pub verdict: String,
    pub after: Option<Span>,
    pub reason: Option<String>,
}

/// Connects with a connection string of libpq, as URI or keywords.
#[napi(catch_unwind)]
pub fn connect<'env>(env: &'env Env, dsn: String, autocommit: Option<bool>) -> Promise<'env, Client> {
    let open = async move {
        let settings = Settings::parse(&dsn)?;
        let settings = match autocommit {
            Some(on) => settings.autocommit(on),
            None => settings,
        };
        Ok(pgque::Client::over(pgque::Connection::open(settings).await?))
    };
    promise(env, open, Client)
}

#[napi]
impl Client {
    #[napi(catch_unwind)]
    pub fn close<'env>(&self, env: &'env Env) -> Promise<'env, ()> {
        let client = self.0.clone();
        let close = async move {
            client.close().await;
            Ok(())
        };
        promise_begun(env, close, |()| ())
    }

    #[napi(catch_unwind)]
    pub fn begin<'env>(&self, env: &'env Env) -> Promise<'env, ()> {
        let client = self.0.clone();
        promise_begun(env, async move { client.own_connection("begin")?.begin().await }, |()| ())
    }

    #[napi(catch_unwind)]
    pub fn commit<'env>(&self, env: &'env Env) -> Promise<'env, ()> {
        let client = self.0.clone();
        promise_begun(env, async move { client.own_connection("commit")?.commit().await }, |()| ())
    }

    #[napi(catch_unwind)]
    pub fn rollback<'env>(&self, env: &'env Env) -> Promise<'env, ()> {
        let client = self.0.clone();
        promise_begun(env, async move { client.own_connection("rollback")?.rollback().await }, |()| ())
    }

    #[napi(catch_unwind)]
    pub fn execute<'env>(
        &self,
        env: &'env Env,
        sql: String,
        #[napi(ts_arg_type = "Array<string | null>")] params: Vec<Option<String>>,
    ) -> Promise<'env, RawResultSet> {
        let client = self.0.clone();
        promise_begun(
            env,
            async move { client.own_connection("execute")?.execute(&sql, &params).await },
            ResultSet::into,
        )
    }

    #[napi(catch_unwind)]
    pub fn listen<'env>(&self, env: &'env Env, channel: String) -> Promise<'env, ()> {
        let client = self.0.clone();
        promise_begun(env, async move { client.own_connection("listen")?.listen(&channel).await }, |()| ())
    }

    #[napi(catch_unwind)]
    pub fn unlisten<'env>(&self, env: &'env Env, channel: String) -> Promise<'env, ()> {
        let client = self.0.clone();
        promise_begun(env, async move { client.own_connection("unlisten")?.unlisten(&channel).await }, |()| ())
    }

    #[napi(catch_unwind)]
    pub fn notification<'env>(&self, env: &'env Env, timeout: f64) -> Promise<'env, Option<Notification>> {
        let client = self.0.clone();
        let wait = async move {
            let limit = runtime::time_limit("notification", "timeout", timeout)?;
            client.own_connection("notification")?.notification(limit.unwrap_or(Duration::MAX)).await
        };
        promise_begun(env, wait, |arrived| {
            arrived.map(|n| Notification { channel: n.channel, payload: n.payload, process_id: n.process_id })
        })
    }

    #[napi(catch_unwind)]
    pub fn capabilities<'env>(&self, env: &'env Env) -> Promise<'env, Capabilities> {
        let client = self.0.clone();
        promise_begun(env, async move { client.capabilities().await }, |c| Capabilities {
            server_version: c.server_version,
            finish: c.finish,
            ticker_pending: c.ticker_pending,
            pages: c.pages,
        })
    }

    #[napi(catch_unwind)]
    pub fn version<'env>(&self, env: &'env Env) -> Promise<'env, String> {
        let client = self.0.clone();
        promise_begun(env, async move { client.version().await }, |version| version)
    }

    /// `text` says that the payload is stored as it is; else it is JSON text.
    #[napi(catch_unwind)]
    pub fn send<'env>(
        &self,
        env: &'env Env,
        queue: String,
        event_type: Option<String>,
        payload: Option<String>,
        text: bool,
        #[napi(ts_arg_type = "Array<string | null>")] extra: Vec<Option<String>>,
    ) -> Promise<'env, BigInt> {
        let client = self.0.clone();
        let event = event(event_type, payload, text, extra);
        promise_begun(env, async move { client.send(&queue, &event).await }, BigInt::from)
    }

    #[napi(catch_unwind)]
    pub fn send_batch<'env>(
        &self,
        env: &'env Env,
        queue: String,
        event_type: Option<String>,
        payloads: Vec<String>,
    ) -> Promise<'env, Vec<BigInt>> {
        self.send_payloads(env, queue, event_type, Payloads::Json(payloads))
    }

    #[napi(catch_unwind)]
    pub fn send_batch_text<'env>(
        &self,
        env: &'env Env,
        queue: String,
        event_type: Option<String>,
        #[napi(ts_arg_type = "Array<string | null>")] payloads: Vec<Option<String>>,
    ) -> Promise<'env, Vec<BigInt>> {
        self.send_payloads(env, queue, event_type, Payloads::Text(payloads))
    }

    fn send_payloads<'env>(
        &self,
        env: &'env Env,
        queue: String,
        event_type: Option<String>,
        payloads: Payloads,
    ) -> Promise<'env, Vec<BigInt>> {
        let client = self.0.clone();
        let send = async move { client.send_batch(&queue, event_type.as_deref(), payloads).await };
        promise_begun(env, send, |ids| ids.into_iter().map(BigInt::from).collect())
    }

    #[napi(catch_unwind)]
    pub fn subscribe<'env>(&self, env: &'env Env, queue: String, consumer: String) -> Promise<'env, i64> {
        let client = self.0.clone();
        promise_begun(env, async move { client.subscribe(&queue, &consumer).await }, |n| n)
    }

    #[napi(catch_unwind)]
    pub fn unsubscribe<'env>(&self, env: &'env Env, queue: String, consumer: String) -> Promise<'env, i64> {
        let client = self.0.clone();
        promise_begun(env, async move { client.unsubscribe(&queue, &consumer).await }, |n| n)
    }

    #[napi(catch_unwind)]
    pub fn subscribe_subconsumer<'env>(
        &self,
        env: &'env Env,
        queue: String,
        consumer: String,
        subconsumer: String,
        convert_normal: Option<bool>,
    ) -> Promise<'env, i64> {
        let (client, convert) = (self.0.clone(), convert_normal.unwrap_or_default());
        let subscribe = async move { client.subscribe_subconsumer(&queue, &consumer, &subconsumer, convert).await };
        promise_begun(env, subscribe, |n| n)
    }

    #[napi(catch_unwind)]
    pub fn unsubscribe_subconsumer<'env>(
        &self,
        env: &'env Env,
        queue: String,
        consumer: String,
        subconsumer: String,
        batch_handling: Option<i64>,
    ) -> Promise<'env, i64> {
        let (client, handling) = (self.0.clone(), batch_handling.unwrap_or(pgque::BATCH_HANDLING_DEFAULT));
        let unsubscribe =
            async move { client.unsubscribe_subconsumer(&queue, &consumer, &subconsumer, handling).await };
        promise_begun(env, unsubscribe, |n| n)
    }

    #[napi(catch_unwind)]
    pub fn touch_subconsumer<'env>(
        &self,
        env: &'env Env,
        queue: String,
        consumer: String,
        subconsumer: String,
    ) -> Promise<'env, i64> {
        let client = self.0.clone();
        promise_begun(env, async move { client.touch_subconsumer(&queue, &consumer, &subconsumer).await }, |n| n)
    }

    #[napi(catch_unwind)]
    pub fn receive<'env>(
        &self,
        env: &'env Env,
        queue: String,
        consumer: String,
        max_messages: Option<i64>,
    ) -> Promise<'env, Columns> {
        let (client, limit) = (self.0.clone(), max_messages.unwrap_or(pgque::MAX_MESSAGES_DEFAULT));
        promise_begun(env, async move { client.receive(&queue, &consumer, limit).await }, |m| Columns::new(&m))
    }

    #[napi(catch_unwind)]
    pub fn receive_coop<'env>(
        &self,
        env: &'env Env,
        queue: String,
        consumer: String,
        subconsumer: String,
        max_messages: Option<i64>,
        dead_interval: Option<Span>,
    ) -> Promise<'env, Columns> {
        let (client, limit) = (self.0.clone(), max_messages.unwrap_or(pgque::MAX_MESSAGES_DEFAULT));
        let dead = dead_interval.map(interval);
        let receive = async move { client.receive_coop(&queue, &consumer, &subconsumer, limit, dead.as_ref()).await };
        promise_begun(env, receive, |m| Columns::new(&m))
    }

    #[napi(catch_unwind)]
    pub fn ack<'env>(&self, env: &'env Env, batch_id: BigInt) -> Promise<'env, i64> {
        let (client, batch_id) = (self.0.clone(), id(batch_id));
        promise_begun(env, async move { client.ack(batch_id).await }, |n| n)
    }

    #[napi(catch_unwind)]
    pub fn nack<'env>(
        &self,
        env: &'env Env,
        batch_id: BigInt,
        msg_id: BigInt,
        retry_after: Option<Span>,
        reason: Option<String>,
    ) -> Promise<'env, ()> {
        let (client, batch_id, msg_id) = (self.0.clone(), id(batch_id), id(msg_id));
        let after = retry_after.map_or_else(|| pgque::RETRY_AFTER_DEFAULT.into(), interval);
        promise_begun(env, async move { client.nack(batch_id, msg_id, &after, reason.as_deref()).await }, |()| ())
    }

    #[napi(catch_unwind)]
    pub fn finish<'env>(&self, env: &'env Env, batch_id: BigInt, verdicts: Vec<MessageVerdict>) -> Promise<'env, i64> {
        let (client, batch_id) = (self.0.clone(), id(batch_id));
        let named = |v: MessageVerdict| Ok((id(v.msg_id), verdict("finish", &v.verdict, v.after, v.reason)?));
        let verdicts = verdicts.into_iter().map(named).collect::<pgque::Result<Vec<_>>>().map_err(to_js)?;
        promise_begun(env, async move { client.finish(batch_id, &verdicts).await }, |n| n)
    }

    #[napi(catch_unwind)]
    pub fn ticker<'env>(&self, env: &'env Env, queue: String) -> Promise<'env, MaybeId> {
        let client = self.0.clone();
        promise_begun(env, async move { client.ticker(&queue).await }, maybe_id)
    }

    #[napi(catch_unwind)]
    pub fn ticker_all<'env>(&self, env: &'env Env) -> Promise<'env, i64> {
        let client = self.0.clone();
        promise_begun(env, async move { client.ticker_all().await }, |n| n)
    }

    #[napi(catch_unwind)]
    pub fn force_next_tick<'env>(&self, env: &'env Env, queue: String) -> Promise<'env, MaybeId> {
        let client = self.0.clone();
        promise_begun(env, async move { client.force_next_tick(&queue).await }, maybe_id)
    }

    #[napi(catch_unwind)]
    pub fn force_tick<'env>(&self, env: &'env Env, queue: String) -> Promise<'env, MaybeId> {
        let client = self.0.clone();
        promise_begun(env, async move { client.force_tick(&queue).await }, maybe_id)
    }

    #[napi(catch_unwind)]
    pub fn maint<'env>(&self, env: &'env Env) -> Promise<'env, i64> {
        let client = self.0.clone();
        promise_begun(env, async move { client.maint().await }, |n| n)
    }

    #[napi(catch_unwind)]
    pub fn maint_retry_events<'env>(&self, env: &'env Env) -> Promise<'env, i64> {
        let client = self.0.clone();
        promise_begun(env, async move { client.maint_retry_events().await }, |n| n)
    }

    #[napi(catch_unwind)]
    pub fn install<'env>(&self, env: &'env Env) -> Promise<'env, ()> {
        let client = self.0.clone();
        promise_begun(env, async move { pgque::install(&client).await }, |()| ())
    }

    #[napi(catch_unwind)]
    pub fn uninstall<'env>(&self, env: &'env Env) -> Promise<'env, ()> {
        let client = self.0.clone();
        promise_begun(env, async move { pgque::uninstall(&client).await }, |()| ())
    }

    #[napi(catch_unwind)]
    pub fn create_queue<'env>(&self, env: &'env Env, queue: String) -> Promise<'env, i64> {
        let client = self.0.clone();
        promise_begun(env, async move { client.create_queue(&queue).await }, |n| n)
    }

    #[napi(catch_unwind)]
    pub fn drop_queue<'env>(&self, env: &'env Env, queue: String, force: Option<bool>) -> Promise<'env, i64> {
        let (client, force) = (self.0.clone(), force.unwrap_or_default());
        promise_begun(env, async move { client.drop_queue(&queue, force).await }, |n| n)
    }

    #[napi(catch_unwind)]
    pub fn set_queue_config<'env>(
        &self,
        env: &'env Env,
        queue: String,
        name: String,
        value: Option<String>,
    ) -> Promise<'env, i64> {
        let client = self.0.clone();
        promise_begun(env, async move { client.set_queue_config(&queue, &name, value.as_deref()).await }, |n| n)
    }

    #[napi(catch_unwind)]
    pub fn status<'env>(&self, env: &'env Env) -> Promise<'env, RawResultSet> {
        let client = self.0.clone();
        promise_begun(env, async move { client.status().await }, ResultSet::into)
    }

    #[napi(catch_unwind)]
    pub fn queue_info<'env>(&self, env: &'env Env, queue: Option<String>) -> Promise<'env, RawResultSet> {
        let client = self.0.clone();
        promise_begun(env, async move { client.queue_info(queue.as_deref()).await }, ResultSet::into)
    }

    #[napi(catch_unwind)]
    pub fn consumer_info<'env>(
        &self,
        env: &'env Env,
        queue: Option<String>,
        consumer: Option<String>,
    ) -> Promise<'env, RawResultSet> {
        let client = self.0.clone();
        let ask = async move { client.consumer_info(queue.as_deref(), consumer.as_deref()).await };
        promise_begun(env, ask, ResultSet::into)
    }

    #[napi(catch_unwind)]
    pub fn batch_info<'env>(&self, env: &'env Env, batch_id: BigInt) -> Promise<'env, RawResultSet> {
        let (client, batch_id) = (self.0.clone(), id(batch_id));
        promise_begun(env, async move { client.batch_info(batch_id).await }, ResultSet::into)
    }

    #[napi(catch_unwind)]
    pub fn dlq_inspect<'env>(&self, env: &'env Env, queue: String, limit: Option<i64>) -> Promise<'env, RawResultSet> {
        let (client, limit) = (self.0.clone(), limit.unwrap_or(pgque::DLQ_LIMIT_DEFAULT));
        promise_begun(env, async move { client.dlq_inspect(&queue, limit).await }, ResultSet::into)
    }

    #[napi(catch_unwind)]
    pub fn dlq_replay<'env>(&self, env: &'env Env, dead_letter_id: BigInt) -> Promise<'env, BigInt> {
        let (client, dead_letter_id) = (self.0.clone(), id(dead_letter_id));
        promise_begun(env, async move { client.dlq_replay(dead_letter_id).await }, BigInt::from)
    }

    #[napi(catch_unwind)]
    pub fn dlq_replay_all<'env>(&self, env: &'env Env, queue: String) -> Promise<'env, Replayed> {
        let client = self.0.clone();
        promise_begun(env, async move { client.dlq_replay_all(&queue).await }, |r| Replayed {
            replayed: r.replayed,
            failed: r.failed,
            first_error: r.first_error.map_or(Either::B(Null), Either::A),
        })
    }

    #[napi(catch_unwind)]
    pub fn dlq_redeliver<'env>(&self, env: &'env Env, dead_letter_id: BigInt) -> Promise<'env, BigInt> {
        let (client, dead_letter_id) = (self.0.clone(), id(dead_letter_id));
        promise_begun(env, async move { client.dlq_redeliver(dead_letter_id).await }, BigInt::from)
    }

    #[napi(catch_unwind)]
    pub fn dlq_redeliver_all<'env>(
        &self,
        env: &'env Env,
        queue: String,
        consumer: Option<String>,
    ) -> Promise<'env, i64> {
        let client = self.0.clone();
        promise_begun(env, async move { client.dlq_redeliver_all(&queue, consumer.as_deref()).await }, |n| n)
    }

    #[napi(catch_unwind)]
    pub fn dlq_purge<'env>(&self, env: &'env Env, queue: String, older_than: Option<Span>) -> Promise<'env, i64> {
        let client = self.0.clone();
        let older_than =
            older_than.map_or_else(|| pgque::Interval::Text(pgque::DLQ_OLDER_THAN_DEFAULT.to_owned()), interval);
        promise_begun(env, async move { client.dlq_purge(&queue, &older_than).await }, |n| n)
    }
}

fn maybe_id(id: Option<i64>) -> MaybeId {
    id.map_or(Either::B(Null), |id| Either::A(BigInt::from(id)))
}
