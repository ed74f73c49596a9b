//! A large batch in parts, for the consumer's loop.

use super::consume::{Interval, Routing, columns};
use super::{Client, queue_and_consumer};
use crate::error::{Error, Result};
use crate::executor::{Param, Rows, Statement};
use crate::message::Message;

/// What is asked of the engine; `member` is the worker of a cooperative group.
pub(crate) struct PageRequest<'a> {
    pub queue: &'a str,
    pub consumer: &'a str,
    pub member: Option<&'a str>,
    /// Who holds the page: unique among all that may ask.
    pub worker: &'a str,
    pub page_size: i64,
    pub dead_interval: Option<&'a Interval>,
    pub lease: Interval,
}

/// The engine's answer.
#[derive(Debug)]
pub(crate) enum PageAnswer {
    Page {
        token: String,
        messages: Vec<Message>,
    },
    /// No window is open, and none can be opened.
    Idle,
    /// An empty window was passed.
    Advanced,
    /// Another worker holds the page.
    Busy,
}

/// What follows a page, as the server gave it: where it ends is known before its messages are.
pub(crate) struct RawAhead {
    rows: Rows,
    /// `None` without messages.
    pub last: Option<Place>,
    /// Nothing follows.
    pub is_last: bool,
}

impl RawAhead {
    #[cfg(test)]
    pub(crate) fn empty() -> RawAhead {
        RawAhead { rows: Rows::Text(vec![]), last: None, is_last: false }
    }

    /// How many messages, and what they take.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.rows.len(), self.rows.bytes())
    }

    pub(crate) fn decode(self) -> Result<Ahead> {
        let mut messages = self.rows.messages()?;
        // They come in the order of their transactions; pages are in the order of sending, as batches are.
        messages.sort_by_key(|message| message.msg_id);
        Ok(Ahead { messages, last: self.last, is_last: self.is_last })
    }
}

/// What follows a page, and where it ends.
#[derive(Debug)]
pub(crate) struct Ahead {
    pub messages: Vec<Message>,
    last: Option<Place>,
    is_last: bool,
}

/// Where an event stands in the order of its batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    transaction: u64,
    id: i64,
}

fn params_of(place: Option<Place>) -> [Param; 2] {
    let texts = [place.map(|place| place.transaction.to_string()), place.map(|place| place.id.to_string())];
    texts.map(|text| Param::maybe("place", text))
}

/// The engine's answer to who has settled a page and wants the next.
pub(crate) struct Turned {
    pub finished: bool,
    pub token: Option<String>,
}

/// Binary message columns first, as `receive` has them, then what is said of the page.
macro_rules! page_of {
    ($call:literal) => {
        concat!(
            "select m.msg_id, m.batch_id, m.type, m.payload, m.retry_count, m.created_at, ",
            "m.extra1, m.extra2, m.extra3, m.extra4, p.status, p.page_token::text from ",
            $call,
            " p left join lateral unnest(p.messages) with ordinality m \
              (msg_id, batch_id, type, payload, retry_count, created_at, extra1, extra2, extra3, extra4, n) on true \
              order by m.n"
        )
    };
}

const RECEIVE_PAGE: &str = page_of!("pgque.receive_page($1, $2, $3, $4::integer, $5::interval)");
const RECEIVE_PAGE_COOP: &str =
    page_of!("pgque.receive_page_coop($1, $2, $3, $4, $5::integer, $6::interval, $7::interval)");
// Interval text is for the server to read, hence the JSON is made there.
macro_rules! with_failures {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            "(select coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object('msg_id', id, \
                'retry_after_seconds', extract(epoch from after::interval), 'reason', reason, \
                'dead', dead::boolean, 'counted', counted::boolean))), '[]') \
              from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[]) \
                f (id, after, dead, reason, counted))",
            $after
        )
    };
}

const ACK_PAGE: &str = with_failures!("select batch_finished::integer::text from pgque.ack_page($1::uuid, $2, ", ")");
const TURN_PAGE: &str = with_failures!(
    "select batch_finished::integer::text, page_token::text from pgque.turn_page($1::uuid, $2, ",
    ", $8::xid8, $9::bigint, $10::boolean, $11::interval)"
);
const RENEW_PAGE: &str = "select 1::text from pgque.renew_page($1::uuid, $2)";
const RELEASE_PAGE: &str = "select pgque.release_page($1::uuid, $2)::integer::text";
// Binary columns as `receive` has them, and the other half of the event's place in its batch.
const READ_AHEAD: &str = "select ev_id, $1::bigint, ev_type, ev_data, ev_retry, ev_time, ev_extra1, ev_extra2, \
     ev_extra3, ev_extra4, ev_txid from pgque.read_ahead($2::bigint, $3, $4::xid8, $5::bigint, $6::integer)";

impl Client {
    /// The next page of the consumer's open batch, or of the next one.
    pub(crate) async fn receive_page(&self, request: &PageRequest<'_>) -> Result<PageAnswer> {
        let mut params = queue_and_consumer(request.queue, request.consumer);
        params.extend(request.member.map(|member| Param::text("subconsumer", member)));
        params.push(Param::text("worker", request.worker));
        params.push(Param::int("page_size", request.page_size));
        if request.member.is_some() {
            let dead_interval = request.dead_interval.map(|i| i.to_sql("receive", "dead_interval")).transpose()?;
            params.push(Param::maybe("dead_interval", dead_interval));
        }
        params.push(Param::text("lease", request.lease.to_sql("receive", "lease")?));
        let sql = if request.member.is_some() { RECEIVE_PAGE_COOP } else { RECEIVE_PAGE };
        let statement = Statement { op: "receive", sql, sql_binary: None, params };
        let rows = self.executor.run(statement).await?;
        Ok(match rows.text(0, STATUS)? {
            Some("page") => {
                let token = rows.text(0, TOKEN)?.unwrap_or_default().to_owned();
                PageAnswer::Page { token, messages: rows.messages()? }
            }
            Some("advanced") => PageAnswer::Advanced,
            Some("busy") => PageAnswer::Busy,
            _ => PageAnswer::Idle,
        })
    }

    /// Settles a page; whether it was the batch's last.
    pub(crate) async fn ack_page(&self, token: &str, worker: &str, routed: &[Routing]) -> Result<bool> {
        let mut params = vec![Param::text("page_token", token), Param::text("worker", worker)];
        params.extend(columns("finish", routed)?);
        Ok(self.number("finish", ACK_PAGE, params).await? == 1)
    }

    /// What follows in that batch, of which the worker has a page: behind that, or behind what was read already;
    /// `page_size` messages at most, but for a few of one place.
    pub(crate) async fn read_ahead(
        &self,
        batch: i64,
        worker: &str,
        behind: Option<Place>,
        page_size: i64,
    ) -> Result<RawAhead> {
        let mut params =
            vec![Param::int("batch_id", batch), Param::int("batch_id", batch), Param::text("worker", worker)];
        params.extend(params_of(behind));
        params.push(Param::int("page_size", page_size));
        let rows = self.run("receive", READ_AHEAD, params).await?;
        let place = |row: usize| {
            let (transaction, id) = (rows.transaction(row, TRANSACTION)?, rows.id(row)?);
            Ok::<_, Error>(Place { transaction, id })
        };
        let last = rows.len().checked_sub(1).map(place).transpose()?;
        let is_last = i64::try_from(rows.len()).is_ok_and(|count| count < page_size);
        Ok(RawAhead { rows, last, is_last })
    }

    /// Settles a page and takes the next one, which was read ahead; the token of that, unless the batch is finished.
    pub(crate) async fn turn_page(
        &self,
        token: &str,
        worker: &str,
        routed: &[Routing],
        ahead: &Ahead,
        lease: Interval,
    ) -> Result<Turned> {
        let mut params = vec![Param::text("page_token", token), Param::text("worker", worker)];
        params.extend(columns("finish", routed)?);
        params.extend(params_of(ahead.last));
        params.push(Param::text("is_last", ahead.is_last.to_string()));
        params.push(Param::text("lease", lease.to_sql("finish", "lease")?));
        let rows = self.run("finish", TURN_PAGE, params).await?;
        Ok(Turned { finished: rows.text(0, 0)? == Some("1"), token: rows.text(0, 1)?.map(str::to_owned) })
    }

    /// Gives a page up that nobody works on; false if it was not held any more.
    pub(crate) async fn release_page(&self, token: &str, worker: &str) -> Result<bool> {
        let params = vec![Param::text("page_token", token), Param::text("worker", worker)];
        Ok(self.number("release_page", RELEASE_PAGE, params).await? == 1)
    }

    /// Keeps the page for another lease.
    pub(crate) async fn renew_page(&self, token: &str, worker: &str) -> Result<()> {
        let params = vec![Param::text("page_token", token), Param::text("worker", worker)];
        self.number("renew_page", RENEW_PAGE, params).await.map(drop)
    }
}

/// The positions of the columns behind those of a message.
const STATUS: usize = 10;
const TOKEN: usize = 11;
const TRANSACTION: usize = 10;
