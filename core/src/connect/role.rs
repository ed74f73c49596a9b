//! What is asked of a fresh session: whether its server is the one wanted, and that it looks after us.

use std::future::poll_fn;
use std::pin::pin;

use futures_util::future::{Either, join, select};
use tokio_postgres::SimpleQueryMessage;

use super::dial::Link;
use super::settings::TargetSession;
use crate::error::{Error, Kind, Result};

const ROLE: &str = "select pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('default_transaction_read_only')";
/// So that the server, too, notices within 15 seconds that we have vanished, and lets go of what our session held.
const KEEPALIVES: &str = "set tcp_keepalives_idle = 4; set tcp_keepalives_interval = 2; set tcp_keepalives_count = 3";
/// Apart from the others, for not every system has it.
const USER_TIMEOUT: &str = "set tcp_user_timeout = 10000";

/// What one round through the hosts looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
}

impl Role {
    /// The rounds: who prefers a standby takes anybody in the second.
    pub(super) fn passes(wanted: TargetSession) -> &'static [Role] {
        match wanted {
            TargetSession::Any => &[Role::Any],
            TargetSession::ReadWrite => &[Role::ReadWrite],
            TargetSession::ReadOnly => &[Role::ReadOnly],
            TargetSession::Primary => &[Role::Primary],
            TargetSession::Standby => &[Role::Standby],
            TargetSession::PreferStandby => &[Role::Standby, Role::Any],
        }
    }

    /// Fails with a connection error, after which the next host is tried.
    pub(super) async fn check(self, link: &mut Link) -> Result<()> {
        if self == Role::Any {
            return Ok(());
        }
        let (standby, read_only) = role(link).await?;
        let unwanted = match self {
            Role::ReadWrite if standby || read_only => "the session is read-only",
            Role::ReadOnly if !standby && !read_only => "the session is not read-only",
            Role::Primary if standby => "the server is a standby",
            Role::Standby if !standby => "the server is not a standby",
            _ => return Ok(()),
        };
        Err(Error::new(Kind::Connection, "connect", format!("{unwanted}; see target_session_attrs")))
    }
}

/// Whether the server is a standby, and whether transactions are read-only unless they say otherwise. Servers from
/// 14 on say so by themselves; a pooler in between may not.
async fn role(link: &mut Link) -> Result<(bool, bool)> {
    let told = |link: &Link, name| link.driver.parameter(name).map(|value| value == "on");
    let (standby, read_only) = (told(link, "in_hot_standby"), told(link, "default_transaction_read_only"));
    if let (Some(standby), Some(read_only)) = (standby, read_only) {
        return Ok((standby, read_only));
    }
    let query = link.client.simple_query(ROLE);
    let answer = drive(&mut link.driver, query).await?.map_err(|e| Error::from_driver("connect", e))?;
    let row = answer.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let row = row.ok_or_else(|| Error::new(Kind::Internal, "connect", "the server did not tell its role"))?;
    Ok((row.get(0) == Some("t"), row.get(1) == Some("on")))
}

/// Whether the server, or a pooler, does so is its own business.
pub(super) async fn ask_for_keepalives(link: &mut Link, options: Option<&str>) -> Result<()> {
    // The user's own word counts.
    if options.is_some_and(|options| options.contains("tcp_")) {
        return Ok(());
    }
    let both = join(link.client.batch_execute(KEEPALIVES), link.client.batch_execute(USER_TIMEOUT));
    let (keepalives, user_timeout) = drive(&mut link.driver, both).await?;
    for error in [keepalives, user_timeout].into_iter().filter_map(std::result::Result::err) {
        log::debug!(target: "pgque", "the server keeps its own keepalives: {error}");
    }
    Ok(())
}

/// Runs a query on a connection that nobody drives yet.
async fn drive<T>(driver: &mut super::wire::Driver, query: impl Future<Output = T>) -> Result<T> {
    let mut query = pin!(query);
    loop {
        let message = poll_fn(|cx| driver.poll_message(cx));
        match select(query.as_mut(), pin!(message)).await {
            Either::Left((result, _)) => return Ok(result),
            Either::Right((Some(Ok(_)), _)) => {}
            Either::Right((Some(Err(e)), _)) => return Err(Error::from_driver("connect", e)),
            Either::Right((None, _)) => return Err(Error::new(Kind::Connection, "connect", "connection closed")),
        }
    }
}
