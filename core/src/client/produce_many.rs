//! Sending many events in one statement, for the producer. One statement is one transaction.

use super::Client;
use crate::error::{Error, Kind, Result};
use crate::executor::Param;
use crate::message::Event;

/// Each answers one row: the transaction's id, by which its outcome can be asked for later, and the ids of the events
/// in order, or NULL if it was not the statement's turn. A turn is noted in a setting of the session, which goes back
/// with the transaction: what was sent behind a statement that has failed finds another number there.
macro_rules! in_turn {
    ($ids:literal, $turn:literal, $after:literal) => {
        concat!(
            "select pg_current_xact_id()::text, case when case when ",
            $turn,
            "::text is null then true when coalesce(nullif(current_setting('pgque.turn', true), ''), '0') = ",
            $after,
            "::text then set_config('pgque.turn', ",
            $turn,
            "::text, false) is not null end then ",
            $ids,
            " end"
        )
    };
}

// That unnest keeps the order of its arrays is what `array(select …)` is documented with.
const SEND_JSON: &str = in_turn!("pgque.send_batch($1, $2, $3::jsonb[])", "$4", "$5");
const SEND_TEXT: &str = in_turn!("pgque.send_batch($1, $2, $3::text[])", "$4", "$5");
const SEND_ONE_JSON: &str = in_turn!("array[pgque.insert_event($1, $2, $3::jsonb::text, $4, $5, $6, $7)]", "$8", "$9");
const SEND_ONE_TEXT: &str = in_turn!("array[pgque.insert_event($1, $2, $3, $4, $5, $6, $7)]", "$8", "$9");
const SEND_VARIOUS: &str = in_turn!(
    "array(select pgque.insert_event( \
         queue, type, case form when 'json' then payload::jsonb::text else payload end, extra1, extra2, extra3, extra4) \
     from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[]) \
       as event (queue, type, form, payload, extra1, extra2, extra3, extra4))",
    "$9",
    "$10"
);
const XACT_STATUS: &str = "select pg_xact_status($1::xid8)";

const NAMES: [&str; 7] = ["queue", "type", "payload", "extra1", "extra2", "extra3", "extra4"];

/// What the server said it would store. It is stored if the statement also came to its end.
#[derive(Debug)]
pub(crate) struct Stored {
    pub transaction: String,
    pub ids: Vec<i64>,
}

/// What the server said before a statement's end.
#[derive(Debug)]
pub(crate) enum Said {
    Stored(Stored),
    /// It did nothing, for what was sent before it has failed.
    OutOfTurn,
}

/// A statement on its way: how far it came.
pub(crate) struct Attempt {
    pub said: Option<Said>,
    pub end: Result<()>,
}

/// The place of a statement among those of its session that are on their way together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub number: u64,
    /// The number of the one before it, 0 for the first of a session.
    pub after: u64,
}

/// Events as a statement that is ready to be sent.
pub(crate) struct Parcel {
    sql: &'static str,
    params: Vec<Param>,
    count: usize,
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

impl Parcel {
    /// Events of one queue, type and form, without extra fields.
    pub(crate) fn uniform(queue: &str, events: &[&Event], turn: Option<Turn>) -> Parcel {
        let sql = if events.first().is_some_and(|event| event.payload.is_json()) { SEND_JSON } else { SEND_TEXT };
        let params = vec![
            Param::text("queue", queue),
            Param::maybe("type", events.first().and_then(|event| event.event_type.clone())),
            Param::array("payload", events.iter().map(|event| body(event)).collect()),
        ];
        Parcel::new(sql, params, events.len(), turn)
    }

    /// One event, for which arrays would cost more than the event.
    pub(crate) fn one(queue: &str, event: &Event, turn: Option<Turn>) -> Parcel {
        let sql = if event.payload.is_json() { SEND_ONE_JSON } else { SEND_ONE_TEXT };
        let texts = [Some(queue.to_owned()), event.event_type.clone(), body(event)];
        let texts = texts.into_iter().chain(event.extra.iter().cloned());
        let params = NAMES.iter().zip(texts).map(|(name, text)| Param::maybe(name, text)).collect();
        Parcel::new(sql, params, 1, turn)
    }

    /// Any events for any queues.
    pub(crate) fn various(events: &[(&str, &Event)], turn: Option<Turn>) -> Parcel {
        let column = |name, of: &dyn Fn(&str, &Event) -> Option<String>| {
            Param::array(name, events.iter().map(|(queue, event)| of(queue, event)).collect())
        };
        let mut params = vec![
            column("queue", &|queue, _| Some(queue.to_owned())),
            column("type", &|_, event| event.event_type.clone()),
            column("form", &|_, event| event.payload.is_json().then(|| "json".to_owned())),
            column("payload", &|_, event| body(event)),
        ];
        for (i, name) in NAMES[3..].iter().enumerate() {
            params.push(column(name, &|_, event| event.extra[i].clone()));
        }
        Parcel::new(SEND_VARIOUS, params, events.len(), turn)
    }

    fn new(sql: &'static str, mut params: Vec<Param>, count: usize, turn: Option<Turn>) -> Parcel {
        params.push(Param::maybe("turn", turn.map(|turn| turn.number.to_string())));
        params.push(Param::maybe("after", turn.map(|turn| turn.after.to_string())));
        Parcel { sql, params, count }
    }
}

impl Client {
    /// Sends events. Fails only if nothing was sent at all.
    pub(crate) async fn ship(self, parcel: Parcel) -> Result<Attempt> {
        let Parcel { sql, params, count } = parcel;
        let (row, end) = self.own_connection("send")?.run_one("send", sql, &params).await?;
        let decode = |row: tokio_postgres::Row| -> Result<Said, tokio_postgres::Error> {
            let (transaction, ids) = (row.try_get(0)?, row.try_get::<_, Option<Vec<i64>>>(1)?);
            Ok(ids.map_or(Said::OutOfTurn, |ids| Said::Stored(Stored { transaction, ids })))
        };
        let said = row.map(decode).transpose().map_err(|e| Error::new(Kind::Internal, "send", e.to_string()));
        Ok(match said {
            Ok(Some(Said::Stored(stored))) if stored.ids.len() != count => {
                let message = "the server's answer does not fit the events that were sent";
                Attempt { said: None, end: Err(Error::new(Kind::Internal, "send", message)) }
            }
            Ok(said) => Attempt { said, end },
            Err(error) => Attempt { said: None, end: Err(error) },
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

fn body(event: &Event) -> Option<String> {
    event.payload.text().map(str::to_owned)
}
