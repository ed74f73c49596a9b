//! Sending.

use super::Client;
use crate::error::Result;
use crate::executor::Param;
use crate::message::{DEFAULT_TYPE, Event, Payload};
use crate::payload::check_json;

const SEND_JSON: &str = "select pgque.send($1, $2::jsonb)::text";
const SEND_TEXT: &str = "select pgque.send($1, $2::text)::text";
const SEND_TYPE_JSON: &str = "select pgque.send($1, $2, $3::jsonb)::text";
const SEND_TYPE_TEXT: &str = "select pgque.send($1, $2, $3::text)::text";
// The only function that takes the extra fields stores text, hence the detour to normalise JSON alike.
const INSERT_JSON: &str = "select pgque.insert_event($1, $2, $3::jsonb::text, $4, $5, $6, $7)::text";
const INSERT_TEXT: &str = "select pgque.insert_event($1, $2, $3, $4, $5, $6, $7)::text";
const SEND_BATCH_JSON: &str =
    "select id::text from unnest(pgque.send_batch($1, $2, $3::jsonb[])) with ordinality as t(id, n) order by n";
const SEND_BATCH_TEXT: &str =
    "select id::text from unnest(pgque.send_batch($1, $2, $3::text[])) with ordinality as t(id, n) order by n";

/// The payloads of one batch.
#[derive(Clone, Debug)]
pub enum Payloads {
    /// JSON texts.
    Json(Vec<String>),
    /// Any texts, stored byte for byte; `None` is SQL NULL.
    Text(Vec<Option<String>>),
}

impl Client {
    /// Sends one event and gives its id. It is seen by nobody before the transaction commits.
    ///
    /// A type that is missing or empty is stored as `default`. Fails with `queue_not_found`, with
    /// `invalid_input` before anything is sent if the payload is not JSON, or with `conflict` if the queue
    /// refuses inserts.
    pub async fn send(&self, queue: &str, event: &Event) -> Result<i64> {
        let (json, body) = match &event.payload {
            Payload::Json(text) => (true, Some(text.clone())),
            Payload::Text(text) => (false, text.clone()),
        };
        if json {
            check_json("send", || "payload".into(), body.as_deref().unwrap_or_default())?;
        }
        let event_type = event.stored_type();
        let payload = Param::maybe("payload", body);
        let has_extra = !event.is_plain();
        if event_type == DEFAULT_TYPE && !has_extra {
            let sql = if json { SEND_JSON } else { SEND_TEXT };
            return self.number("send", sql, vec![Param::text("queue", queue), payload]).await;
        }
        let mut params = vec![Param::text("queue", queue), Param::text("type", event_type), payload];
        if !has_extra {
            let sql = if json { SEND_TYPE_JSON } else { SEND_TYPE_TEXT };
            return self.number("send", sql, params).await;
        }
        let names = ["extra1", "extra2", "extra3", "extra4"];
        params.extend(names.iter().zip(&event.extra).map(|(name, value)| Param::maybe(name, value.clone())));
        let sql = if json { INSERT_JSON } else { INSERT_TEXT };
        self.number("send", sql, params).await
    }

    /// Sends many events of one type in one statement: all or none. Ids are in the order of the payloads.
    ///
    /// Unlike in [`Client::send`] the type is stored as given, `None` as NULL. An empty batch sends nothing and
    /// does not look at the queue. Errors as [`Client::send`], naming the first bad payload.
    pub async fn send_batch(&self, queue: &str, event_type: Option<&str>, payloads: Payloads) -> Result<Vec<i64>> {
        if let Payloads::Json(texts) = &payloads {
            for (i, text) in texts.iter().enumerate() {
                check_json("send_batch", || format!("payloads[{i}]"), text)?;
            }
        }
        self.send_checked("send_batch", queue, event_type, payloads).await
    }

    /// As [`Client::send_batch`], for payloads that are known to be JSON if they should be.
    pub(crate) async fn send_checked(
        &self,
        op: &'static str,
        queue: &str,
        event_type: Option<&str>,
        payloads: Payloads,
    ) -> Result<Vec<i64>> {
        let (sql, bodies) = match payloads {
            Payloads::Json(texts) => (SEND_BATCH_JSON, texts.into_iter().map(Some).collect()),
            Payloads::Text(texts) => (SEND_BATCH_TEXT, texts),
        };
        if bodies.is_empty() {
            return Ok(Vec::new());
        }
        let params = vec![
            Param::text("queue", queue),
            Param::maybe("type", event_type.map(str::to_owned)),
            Param::array("payloads", bodies),
        ];
        let rows = self.run(op, sql, params).await?;
        (0..rows.len()).map(|i| Ok(rows.number(i, 0)?.unwrap_or_default())).collect()
    }
}
