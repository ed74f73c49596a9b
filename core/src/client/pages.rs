//! A large batch in parts, for the consumer's loop.

use super::consume::{Interval, Routing, columns};
use super::{Client, queue_and_consumer};
use crate::error::Result;
use crate::executor::{Param, Statement};
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
const ACK_PAGE: &str = "select batch_finished::integer::text from pgque.ack_page($1::uuid, $2, \
     (select coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object('msg_id', id, \
             'retry_after_seconds', extract(epoch from after::interval), 'reason', reason, \
             'dead', dead::boolean, 'counted', counted::boolean))), '[]') \
        from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[]) \
             f (id, after, dead, reason, counted)))";
const RENEW_PAGE: &str = "select 1::text from pgque.renew_page($1::uuid, $2)";

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

    /// Keeps the page for another lease.
    pub(crate) async fn renew_page(&self, token: &str, worker: &str) -> Result<()> {
        let params = vec![Param::text("page_token", token), Param::text("worker", worker)];
        self.number("renew_page", RENEW_PAGE, params).await.map(drop)
    }
}

/// The positions of the columns behind those of a message.
const STATUS: usize = 10;
const TOKEN: usize = 11;
