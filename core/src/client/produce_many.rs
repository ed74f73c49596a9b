//! Sending many events in one statement, for the producer. One statement is one transaction.

use super::Client;
use crate::error::{Error, Kind, Result};
use crate::executor::Param;
use crate::message::{Event, Payload};

// Each answers one row: the transaction's id, by which its outcome can be asked for later, and the ids of the events
// in order. That unnest keeps the order of its arrays is what `array(select …)` is documented with.
const SEND_JSON: &str = "select pg_current_xact_id()::text, pgque.send_batch($1, $2, $3::jsonb[])";
const SEND_TEXT: &str = "select pg_current_xact_id()::text, pgque.send_batch($1, $2, $3::text[])";
const SEND_ONE_JSON: &str = "select pg_current_xact_id()::text, \
     array[pgque.insert_event($1, $2, $3::jsonb::text, $4, $5, $6, $7)]";
const SEND_ONE_TEXT: &str = "select pg_current_xact_id()::text, \
     array[pgque.insert_event($1, $2, $3, $4, $5, $6, $7)]";
const SEND_VARIOUS: &str = "select pg_current_xact_id()::text, array(select pgque.insert_event( \
         queue, type, case form when 'json' then payload::jsonb::text else payload end, extra1, extra2, extra3, extra4) \
     from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[]) \
       as event (queue, type, form, payload, extra1, extra2, extra3, extra4))";
const XACT_STATUS: &str = "select pg_xact_status($1::xid8)";

const NAMES: [&str; 7] = ["queue", "type", "payload", "extra1", "extra2", "extra3", "extra4"];

/// What the server said it would store. It is stored if the statement also came to its end.
#[derive(Debug)]
pub(crate) struct Stored {
    pub transaction: String,
    pub ids: Vec<i64>,
}

/// A statement on its way: how far it came.
pub(crate) struct Attempt {
    pub stored: Option<Stored>,
    pub end: Result<()>,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Committed,
    Aborted,
    Open,
    /// The server has forgotten, or never knew.
    Unknown,
}

impl Client {
    /// Sends events of one queue, type and form, without extra fields. Fails only if nothing was sent at all.
    pub(crate) async fn send_uniform(&self, queue: &str, events: &[&Event]) -> Result<Attempt> {
        let first = events.first().ok_or_else(|| Error::new(Kind::Internal, "send", "an empty shipment"))?;
        let sql = if is_json(first) { SEND_JSON } else { SEND_TEXT };
        let params = vec![
            Param::text("queue", queue),
            Param::maybe("type", first.event_type.clone()),
            Param::array("payload", events.iter().map(|event| body(event)).collect()),
        ];
        self.attempt(sql, params, events.len()).await
    }

    /// Sends one event, for which arrays would cost more than the event. Fails only if nothing was sent at all.
    pub(crate) async fn send_one(&self, queue: &str, event: &Event) -> Result<Attempt> {
        let sql = if is_json(event) { SEND_ONE_JSON } else { SEND_ONE_TEXT };
        let texts = [Some(queue.to_owned()), event.event_type.clone(), body(event)];
        let texts = texts.into_iter().chain(event.extra.iter().cloned());
        let params = NAMES.iter().zip(texts).map(|(name, text)| Param::maybe(name, text)).collect();
        self.attempt(sql, params, 1).await
    }

    /// Sends any events to any queues. Fails only if nothing was sent at all.
    pub(crate) async fn send_various(&self, events: &[(&str, &Event)]) -> Result<Attempt> {
        let column = |name, of: &dyn Fn(&str, &Event) -> Option<String>| {
            Param::array(name, events.iter().map(|(queue, event)| of(queue, event)).collect())
        };
        let mut params = vec![
            column("queue", &|queue, _| Some(queue.to_owned())),
            column("type", &|_, event| event.event_type.clone()),
            column("form", &|_, event| is_json(event).then(|| "json".to_owned())),
            column("payload", &|_, event| body(event)),
        ];
        for (i, name) in NAMES[3..].iter().enumerate() {
            params.push(column(name, &|_, event| event.extra[i].clone()));
        }
        self.attempt(SEND_VARIOUS, params, events.len()).await
    }

    async fn attempt(&self, sql: &'static str, params: Vec<Param>, count: usize) -> Result<Attempt> {
        let (row, end) = self.own_connection("send")?.run_one("send", sql, &params).await?;
        let decode = |row: tokio_postgres::Row| -> Result<Stored, tokio_postgres::Error> {
            Ok(Stored { transaction: row.try_get(0)?, ids: row.try_get(1)? })
        };
        let unexpected = |e: tokio_postgres::Error| Error::new(Kind::Internal, "send", e.to_string());
        let stored = row.map(decode).transpose().map_err(unexpected);
        Ok(match stored {
            Ok(Some(stored)) if stored.ids.len() == count => Attempt { stored: Some(stored), end },
            Ok(None) if end.is_err() => Attempt { stored: None, end },
            Err(error) => Attempt { stored: None, end: Err(error) },
            _ => {
                let message = "the server's answer does not fit the events that were sent";
                Attempt { stored: None, end: Err(Error::new(Kind::Internal, "send", message)) }
            }
        })
    }

    /// What became of a transaction of this or an earlier connection.
    pub(crate) async fn fate(&self, transaction: &str) -> Result<Fate> {
        let rows = self.run("send", XACT_STATUS, vec![Param::text("transaction", transaction)]).await?;
        Ok(match rows.text(0, 0)? {
            Some("committed") => Fate::Committed,
            Some("aborted") => Fate::Aborted,
            Some("in progress") => Fate::Open,
            _ => Fate::Unknown,
        })
    }
}

pub(crate) fn is_json(event: &Event) -> bool {
    matches!(event.payload, Payload::Json(_))
}

fn body(event: &Event) -> Option<String> {
    match &event.payload {
        Payload::Json(text) => Some(text.clone()),
        Payload::Text(text) => text.clone(),
    }
}
