//! A connection with transactions: what a typed call, a raw statement and a listener share.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::TryStreamExt;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio_postgres::Row;

use super::ahead::Ahead;
use super::prepared::{self, Worth};
use super::raw::{self, check_copy};
use super::session::{Notification, Pulse, Session};
use super::settings::Settings;
use super::state::{State, TransactionStatus};
use super::statement::{Abandoned, Begun, Hold, Running, end_running};
use super::to_the_end::to_the_end;
use crate::error::{Error, Kind, Result};
use crate::executor::{Param, check_nul};
use crate::process::Owner;
use crate::runtime;
use crate::value::{ResultSet, bind};

/// What a primary says that has become a standby.
const READ_ONLY: &str = "25006";

/// One connection to the server. Clones share it; calls from many threads or tasks are pipelined.
///
/// In autocommit a lost connection is replaced at the next call, for nothing of it was worth keeping;
/// with a transaction open, or autocommit off, the loss stays visible until the connection is closed.
#[derive(Clone)]
pub struct Connection(Arc<Shared>);

struct Shared {
    settings: Settings,
    owner: Owner,
    /// `None` once closed by the caller. Statements share it until they are sent; whoever begins or ends a transaction has
    /// it alone: none could overtake a statement that goes by where the transaction stands, and would then run in another.
    session: RwLock<Option<Arc<Session>>>,
    /// The same, for what is asked without waiting.
    latest: Mutex<Weak<Session>>,
    state: Mutex<State>,
    /// What to LISTEN to again after a reconnect.
    channels: Mutex<BTreeSet<String>>,
    ahead: Ahead,
}

/// What a statement needs to be sent.
struct Turn<'a> {
    slot: RwLockReadGuard<'a, Option<Arc<Session>>>,
    /// The BEGIN that travels with it.
    begun: Option<Begun>,
    running: Running,
}

impl Connection {
    pub async fn open(settings: Settings) -> Result<Connection> {
        let session = Arc::new(Session::open(&settings).await?);
        let state = State::new(settings.autocommit);
        Ok(Connection(Arc::new(Shared {
            settings,
            owner: Owner::us("connection"),
            latest: Mutex::new(Arc::downgrade(&session)),
            session: RwLock::new(Some(session)),
            state: Mutex::new(state),
            channels: Mutex::default(),
            ahead: Ahead::default(),
        })))
    }

    pub fn autocommit(&self) -> bool {
        self.state(|s| s.autocommit)
    }

    /// Fails with `conflict` while a transaction is open.
    pub fn set_autocommit(&self, on: bool) -> Result<()> {
        self.0.owner.check("set_autocommit")?;
        self.state(|s| match s.transaction {
            TransactionStatus::Idle => {
                s.autocommit = on;
                Ok(())
            }
            _ => Err(Error::new(Kind::Conflict, "set_autocommit", "a transaction is open; commit or roll back first")),
        })
    }

    pub fn transaction_status(&self) -> TransactionStatus {
        self.state(|s| s.transaction)
    }

    /// Whether `close` was called, or the connection is lost, or another process's.
    pub fn is_closed(&self) -> bool {
        if self.0.owner.is_other() {
            return true;
        }
        let lost = || match self.0.session.try_read() {
            Ok(session) => alive(&session).is_none(),
            Err(_) => false,
        };
        self.state(|s| s.closed) || lost()
    }

    /// Closes the connection; an open transaction is rolled back by the server. Goes on if nobody waits for it any more.
    /// Twice is fine.
    pub async fn close(&self) {
        if self.0.owner.is_other() {
            return;
        }
        self.state(|s| s.closed = true);
        self.0.ahead.send();
        let connection = self.clone();
        to_the_end(async move {
            // The last statement in flight holds the last reference; the socket closes after it.
            if let Some(session) = connection.0.session.write().await.take() {
                session.end_waits();
                session.pipeline.settled().await;
            }
        })
        .await;
    }

    /// Refuses begin, commit and rollback with that message, until the hold is released.
    pub(crate) fn hold(&self, message: &'static str) {
        self.state(|s| s.hold = Some(message));
    }

    pub(crate) fn release_hold(&self) {
        self.state(|s| s.hold = None);
    }

    pub(super) fn check_hold(&self, op: &'static str) -> Result<()> {
        self.own_state(|s| s.hold).map_or(Ok(()), |message| Err(Error::new(Kind::Conflict, op, message)))
    }

    /// Runs any one statement. Parameters are text or NULL and are written `$1`, `$2` …
    ///
    /// Do not send BEGIN, COMMIT or ROLLBACK this way: use the methods, which keep count.
    pub async fn execute(&self, sql: &str, params: &[Option<String>]) -> Result<ResultSet> {
        let params: Vec<Param> = params.iter().map(|p| Param::maybe("parameter", p.clone())).collect();
        check_nul("execute", "sql", sql)?;
        check_copy("execute", sql)?;
        params.iter().try_for_each(|p| p.check("execute"))?;
        let Turn { slot, begun, running } = self.enter("execute").await?;
        let is_alone = self.own_state(|s| s.is_idle());
        let bound = bind(&params);
        let query = raw::run(running.session(), sql, &bound, is_alone);
        let result = running.answer(slot, pin!(query)).await;
        self.leave("execute", running, begun, result).await
    }

    /// Runs several statements, separated by semicolons, without parameters or results.
    pub async fn execute_script(&self, sql: &str) -> Result<()> {
        self.script("execute", "sql", sql).await
    }

    /// `argument` is what the caller gave of the text.
    pub(super) async fn script(&self, op: &'static str, argument: &str, sql: &str) -> Result<()> {
        check_nul(op, argument, sql)?;
        check_copy(op, sql)?;
        let Turn { slot, begun, running } = self.enter(op).await?;
        let result = running.answer(slot, pin!(running.session().client.batch_execute(sql))).await;
        self.leave(op, running, begun, result.map_err(|e| Error::from_driver(op, e))).await
    }

    /// Subscribes to a channel; effective at commit, and again after a reconnect.
    pub async fn listen(&self, channel: &str) -> Result<()> {
        self.check_process("listen")?;
        // Before it is sent: a session that comes before the answer is heard is to listen as well.
        let is_new = self.channels(|channels| channels.insert(channel.to_owned()));
        let listens = self.script("listen", "channel", &listen_sql(channel)).await;
        if is_new && listens.is_err() {
            self.channels(|channels| channels.remove(channel));
        }
        listens
    }

    pub async fn unlisten(&self, channel: &str) -> Result<()> {
        self.check_process("unlisten")?;
        self.channels(|channels| channels.remove(channel));
        self.script("unlisten", "channel", &format!("un{}", listen_sql(channel))).await
    }

    /// Waits for a notification; `None` when the time is over. Fails when the connection ends.
    pub async fn notification(&self, timeout: Duration) -> Result<Option<Notification>> {
        let session = self.session("notification").await?;
        match tokio::time::timeout(timeout, session.notification()).await {
            Ok(Err(_)) if self.state(|s| s.closed) => Err(closed("notification")),
            Ok(notification) => notification.map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Fails with `closed` if the connection is another process's.
    pub(crate) fn check_process(&self, op: &'static str) -> Result<()> {
        self.0.owner.check(op)
    }

    /// Whether a pooler stands between us and the server, which may serve each transaction by another session:
    /// what a session holds, LISTEN and locks, has no place there. It gives a process id of its own making.
    pub(crate) async fn is_pooled(&self) -> Result<bool> {
        let rows = self.run("connect", "select pg_catalog.pg_backend_pid()", &[]).await?;
        let session = self.session("connect").await?;
        let pid = rows.first().and_then(|row| row.try_get::<_, i32>(0).ok());
        Ok(pid.is_some_and(|pid| pid != session.backend))
    }

    /// Of the session that lives now.
    pub(crate) async fn pulse(&self) -> Result<Pulse> {
        Ok(self.session("connection").await?.pulse())
    }

    /// Asks the server for a sign of life, which begins no transaction.
    pub(crate) async fn ping(&self, limit: Duration) -> Result<()> {
        let session = self.session("ping").await?;
        match tokio::time::timeout(limit, session.client.check_connection()).await {
            Ok(answer) => answer.map_err(|e| Error::from_driver("ping", e)),
            Err(_) => Err(Error::new(Kind::Connection, "ping", "the server does not answer")),
        }
    }

    /// The id of the server process that serves the session, as it was told at the login.
    pub fn backend_pid(&self) -> Result<i32> {
        Ok(self.latest("backend_pid")?.backend)
    }

    /// The session's setting TimeZone, as the server reports it: the zone in which its users expect their times.
    pub fn time_zone(&self) -> Result<String> {
        Ok(self.latest("time_zone")?.time_zone())
    }

    /// The session of the latest call, alive or not.
    fn latest(&self, op: &'static str) -> Result<Arc<Session>> {
        self.0.owner.check(op)?;
        self.0.latest.lock().unwrap_or_else(PoisonError::into_inner).upgrade().ok_or_else(|| closed(op))
    }

    /// Asks the server to end the statement that runs now. The call that runs it fails with `timeout`.
    pub async fn cancel(&self) -> Result<()> {
        self.check_open("cancel")?;
        // Not by way of the slot, which the end of a transaction holds for as long as it waits for that statement.
        let latest = self.latest("cancel")?;
        match latest.closed_reason() {
            None => latest.cancel().await,
            Some(_) => self.session("cancel").await?.cancel().await,
        }
    }

    /// Has the server end the statement that runs now, if that is still `wanted` when it comes to it. What is begun
    /// afterwards waits for it, so that it is not hit in its place.
    pub(crate) fn cancel_ahead(&self, wanted: impl FnOnce() -> bool + Send + 'static) -> Result<()> {
        let (session, runtime) = (self.latest("cancel")?, runtime::handle()?);
        let (hold, farewell) = (Hold::new(&session), runtime::farewell());
        runtime.spawn(async move {
            if wanted() {
                end_running(&session).await;
            }
            drop((hold, farewell));
        });
        Ok(())
    }

    /// Runs a typed call's statement.
    pub(crate) async fn run(&self, op: &'static str, sql: &'static str, params: &[Param]) -> Result<Vec<Row>> {
        let turn = self.enter(op).await?;
        let (rows, running, begun, end) = self.query(turn, sql, params, Worth::Later).await;
        self.leave(op, running, begun, end.map(|()| rows).map_err(|e| Error::from_driver(op, e))).await
    }

    async fn query(
        &self,
        turn: Turn<'_>,
        sql: &'static str,
        params: &[Param],
        worth: Worth,
    ) -> (Vec<Row>, Running, Option<Begun>, Result<(), tokio_postgres::Error>) {
        let Turn { slot, begun, running } = turn;
        let (bound, mut rows) = (bind(params), Vec::new());
        let is_alone = self.own_state(|s| s.is_idle());
        let again = async {
            // An open transaction went with it. Nor may it end up in one that has been begun since.
            let slot = if is_alone { Some(self.0.session.read().await) } else { None };
            slot.filter(|_| self.own_state(|s| s.is_idle()))
        };
        let query = prepared::query(running.session(), sql, &bound, worth, again, &mut rows);
        let end = running.answer(slot, pin!(query)).await;
        (rows, running, begun, end)
    }

    /// Runs a typed call's statement and hands each row on as it comes.
    pub(crate) async fn run_each(
        &self,
        op: &'static str,
        sql: &str,
        params: &[Param],
        mut each: impl FnMut(Row) -> Result<()>,
    ) -> Result<()> {
        let Turn { slot, begun, running } = self.enter(op).await?;
        let mut handed_on = Ok(());
        let run = async {
            let stream = running.session().client.query_typed_raw(sql, bind(params)).await?;
            let mut stream = std::pin::pin!(stream);
            while let Some(row) = stream.as_mut().try_next().await? {
                if handed_on.is_ok() {
                    handed_on = each(row);
                }
            }
            Ok(())
        };
        let end = running.answer(slot, pin!(run)).await;
        self.leave(op, running, begun, end.map_err(|e| Error::from_driver(op, e))).await?;
        handed_on
    }

    /// Runs a statement of one row. In autocommit the row arrives before the commit: it is given also if the end then
    /// fails. The call itself fails only if nothing was sent.
    pub(crate) async fn run_one(
        &self,
        op: &'static str,
        sql: &'static str,
        params: &[Param],
    ) -> Result<(Option<Row>, Result<()>)> {
        params.iter().try_for_each(|p| p.check(op))?;
        let turn = self.enter(op).await?;
        let session = turn.running.session().clone();
        let (mut rows, running, begun, end) = self.query(turn, sql, params, Worth::AtOnce).await;
        let end = self.leave(op, running, begun, end.map_err(|e| Error::from_driver(op, e))).await;
        match (rows.pop(), end) {
            (None, Err(error)) if error.server().is_none() && session.dismissed() => Err(error),
            (row, end) => Ok((row, end)),
        }
    }

    /// A statement's turn, with a transaction under way if autocommit is off: BEGIN then travels with the statement.
    async fn enter(&self, op: &'static str) -> Result<Turn<'_>> {
        self.send_ahead(op)?;
        // Who has to wait does so in one line with all others: readers would be let in together, in any order.
        if !self.own_state(|s| s.begins())
            && let Ok(slot) = self.0.session.try_read()
            && let Some(turn) = self.join_in(slot)
        {
            return Ok(turn);
        }
        let mut slot = self.0.session.write().await;
        let session = self.live(&mut slot, op).await?;
        let begun = match self.own_state(|s| s.begins()) {
            true => {
                session.begins_with_a_statement();
                Some(self.send_begin(&session).await)
            }
            false => None,
        };
        let running = self.running(&session, Abandoned::Cancel).await;
        Ok(Turn { slot: slot.downgrade(), begun, running })
    }

    /// The turn of a statement that nothing has to be done for and that nobody keeps back.
    fn join_in<'a>(&self, slot: RwLockReadGuard<'a, Option<Arc<Session>>>) -> Option<Turn<'a>> {
        let session = alive(&slot)?;
        if self.own_state(|s| s.begins()) {
            return None;
        }
        let ticket = session.pipeline.ticket_at_once()?;
        let running = Running::new(&session, ticket, Abandoned::Cancel, self.failing());
        Some(Turn { slot, begun: None, running })
    }

    /// Sends BEGIN and does not wait for the answer. With the slot alone, so that nobody's statement comes before it.
    pub(super) async fn send_begin(&self, session: &Arc<Session>) -> Begun {
        let running = self.running(session, Abandoned::Await).await;
        // Before the answer: it will be open also if nobody waits for that.
        self.set(TransactionStatus::Active);
        Begun::send(running).await
    }

    /// What came of a statement, which counts only if the BEGIN that travelled with it was heeded.
    pub(super) async fn begun<T>(&self, op: &'static str, begun: Option<Begun>, result: Result<T>) -> Result<T> {
        let Some(begun) = begun else { return result };
        let Err(error) = begun.answer().await else { return result };
        self.set(TransactionStatus::Idle);
        let error = Error::from_driver(op, error);
        // A cancel request that hit BEGIN alone: the statement ran, and was committed by itself.
        Err(if result.is_ok() { error.with_uncertainty() } else { error })
    }

    /// To be called with the slot, right before the statement is sent.
    pub(super) async fn running(&self, session: &Arc<Session>, abandoned: Abandoned) -> Running {
        let ticket = session.pipeline.ticket().await;
        Running::new(session, ticket, abandoned, self.failing())
    }

    /// For a statement that fails when nobody is there to hear of it.
    fn failing(&self) -> impl FnOnce() + Send + Sync + 'static {
        let shared = Arc::downgrade(&self.0);
        move || {
            if let Some(shared) = shared.upgrade() {
                Connection(shared).fail();
            }
        }
    }

    /// Notes that the open transaction, if any, has failed with the server's error.
    async fn leave<T>(&self, op: &'static str, running: Running, begun: Option<Begun>, result: Result<T>) -> Result<T> {
        if result.as_ref().is_err_and(|e| e.sqlstate().is_some()) {
            self.fail();
        }
        if let Err(error) = &result
            && error.sqlstate() == Some(READ_ONLY)
            && self.0.settings.server.wants_to_write()
        {
            running.session().give_up("the server no longer writes; connecting to the one that does");
        }
        // Last: who finds nothing in flight goes by what was noted.
        running.done();
        self.begun(op, begun, result).await
    }

    fn fail(&self) {
        self.own_state(State::fail);
    }

    async fn session(&self, op: &'static str) -> Result<Arc<Session>> {
        self.send_ahead(op)?;
        if let Some(session) = alive(&*self.0.session.read().await) {
            return Ok(session);
        }
        let mut slot = self.0.session.write().await;
        self.live(&mut slot, op).await
    }

    /// The session in the slot, replaced if it is lost and nothing is lost with it.
    pub(super) async fn live(&self, slot: &mut Option<Arc<Session>>, op: &'static str) -> Result<Arc<Session>> {
        let reason = match slot.as_ref() {
            None => return Err(closed(op)),
            Some(session) => match session.closed_reason() {
                None => return Ok(session.clone()),
                Some(reason) => reason,
            },
        };
        let State { autocommit, transaction, .. } = self.own_state(|s| *s);
        if !self.0.settings.reconnect || !autocommit || transaction != TransactionStatus::Idle {
            return Err(Error::new(Kind::Connection, op, reason));
        }
        let session = Arc::new(Session::open(&self.0.settings).await?);
        for channel in self.channels(|channels| channels.clone()) {
            let listen = session.client.batch_execute(&listen_sql(&channel)).await;
            listen.map_err(|e| Error::from_driver(op, e))?;
        }
        log::debug!(target: "pgque", "reconnected after: {reason}");
        *self.0.latest.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&session);
        *slot = Some(session.clone());
        Ok(session)
    }

    /// The place of the session, alone.
    pub(super) async fn slot(&self, op: &'static str) -> Result<RwLockWriteGuard<'_, Option<Arc<Session>>>> {
        self.send_ahead(op)?;
        Ok(self.0.session.write().await)
    }

    /// Sends what has to be sent before whatever comes next.
    fn send_ahead(&self, op: &'static str) -> Result<()> {
        self.0.owner.check(op)?;
        self.0.ahead.send();
        Ok(())
    }

    /// Has `sender` called once, right before this connection sends anything else.
    pub(crate) fn put_ahead(&self, sender: Box<dyn FnOnce() + Send>) {
        self.0.ahead.put(sender);
    }

    /// Fails with `closed` if the connection was closed, or is another process's.
    pub(crate) fn check_open(&self, op: &'static str) -> Result<()> {
        self.0.owner.check(op)?;
        if self.state(|s| s.closed) { Err(closed(op)) } else { Ok(()) }
    }

    /// Whether what is sent now becomes part of a transaction together with what is sent next.
    pub(crate) fn is_in_transaction(&self) -> bool {
        self.state(|s| s.is_in_transaction())
    }

    fn channels<T>(&self, f: impl FnOnce(&mut BTreeSet<String>) -> T) -> T {
        f(&mut self.0.channels.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set(&self, transaction: TransactionStatus) {
        self.own_state(|s| {
            s.transaction = transaction;
            if s.is_idle() {
                s.savepoints = 0;
            }
        });
    }

    /// In a forked child a copy that nobody sees: of the parent's transaction the child knows nothing.
    fn state<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        if self.0.owner.is_other() {
            return f(&mut State::new(self.0.settings.autocommit));
        }
        self.own_state(f)
    }

    /// For who has asked already whose the connection is, as whoever has had the slot.
    pub(super) fn own_state<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// In a forked child the session is the parent's, and so is the task that drives it: even to let go of it is to wake
/// that task, by way of locks that its threads may have held.
impl Drop for Shared {
    fn drop(&mut self) {
        if self.owner.is_other() {
            std::mem::forget(self.session.get_mut().take());
        }
    }
}

/// The session in the slot, unless it is closed or lost.
fn alive(slot: &Option<Arc<Session>>) -> Option<Arc<Session>> {
    slot.clone().filter(|session| session.closed_reason().is_none())
}

fn closed(op: &'static str) -> Error {
    Error::new(Kind::Closed, op, "the connection is closed; connect again")
}

fn listen_sql(channel: &str) -> String {
    format!("listen \"{}\"", channel.replace('"', "\"\""))
}
