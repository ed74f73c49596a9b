//! The same client for threads. Every call waits on the calling thread; what it does stands with the async method.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::client::{Capabilities, Interval, Payloads, Replayed, Verdict};
use crate::connect::Settings;
use crate::doctor::Finding;
use crate::error::Result;
use crate::message::{Event, Message};
use crate::pending::Pending;
use crate::producer::{ProducerOptions, ProducerStats};
use crate::schema::{InstallOptions, InstallStep, Installed};
use crate::value::ResultSet;

pub use crate::pipeline::Pipeline;
use crate::runtime::handle;
pub use crate::runtime::wait;

/// A blocking [`crate::Client`]. Clones share the connection; any thread may call.
///
/// Do not call it from a task of an async runtime: it would block the runtime's thread.
#[derive(Clone)]
pub struct Client(crate::Client);

impl From<crate::Client> for Client {
    fn from(client: crate::Client) -> Client {
        Client(client)
    }
}

impl Client {
    /// As [`crate::Client::connect`].
    pub fn connect(dsn: &str) -> Result<Client> {
        wait(crate::Client::connect(dsn)).map(Client)
    }

    /// The async client on the same connection.
    pub fn as_async(&self) -> &crate::Client {
        &self.0
    }

    /// As [`crate::Client::close`].
    pub fn close(&self) -> Result<()> {
        wait(async {
            self.0.close().await;
            Ok(())
        })
    }

    /// As [`crate::Connection::begin`].
    pub fn begin(&self) -> Result<()> {
        wait(self.0.own_connection("begin")?.begin())
    }

    /// As [`crate::Connection::commit`].
    pub fn commit(&self) -> Result<()> {
        wait(self.0.own_connection("commit")?.commit())
    }

    /// As [`crate::Connection::rollback`].
    pub fn rollback(&self) -> Result<()> {
        wait(self.0.own_connection("rollback")?.rollback())
    }

    /// As [`crate::Connection::execute`].
    pub fn execute(&self, sql: &str, params: &[Option<String>]) -> Result<ResultSet> {
        wait(self.0.own_connection("execute")?.execute(sql, params))
    }

    /// A way to send without waiting for each answer. Fails with `conflict` on a caller's connection, which runs one call
    /// at a time.
    pub fn pipeline(&self) -> Result<Pipeline> {
        Pipeline::new(&self.0)
    }

    /// As [`crate::install`].
    pub fn install(&self) -> Result<()> {
        wait(crate::install(&self.0))
    }

    /// As [`crate::install_with`].
    pub fn install_with(&self, options: InstallOptions) -> Result<Installed> {
        wait(crate::install_with(&self.0, options))
    }

    /// As [`crate::install_plan`].
    pub fn install_plan(&self, options: InstallOptions) -> Result<Vec<InstallStep>> {
        wait(crate::install_plan(&self.0, options))
    }

    /// As [`crate::examine`].
    pub fn examine(&self) -> Result<Vec<Finding>> {
        wait(crate::examine(&self.0))
    }

    /// As [`crate::uninstall`].
    pub fn uninstall(&self) -> Result<()> {
        wait(crate::uninstall(&self.0))
    }
}

/// One line for each async method of the same name.
macro_rules! face {
    ($($name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {
        impl Client {
            $(
                #[doc = concat!("As [`crate::Client::", stringify!($name), "`].")]
                pub fn $name(&self, $($arg: $type),*) -> Result<$result> {
                    wait(self.0.$name($($arg),*))
                }
            )*
        }
    };
}

face! {
    send(queue: &str, event: &Event) -> i64;
    send_batch(queue: &str, event_type: Option<&str>, payloads: Payloads) -> Vec<i64>;
    subscribe(queue: &str, consumer: &str) -> i64;
    unsubscribe(queue: &str, consumer: &str) -> i64;
    subscribe_subconsumer(queue: &str, consumer: &str, subconsumer: &str, convert_normal: bool) -> i64;
    unsubscribe_subconsumer(queue: &str, consumer: &str, subconsumer: &str, batch_handling: i64) -> i64;
    touch_subconsumer(queue: &str, consumer: &str, subconsumer: &str) -> i64;
    receive(queue: &str, consumer: &str, max_messages: i64) -> Vec<Message>;
    receive_coop(queue: &str, consumer: &str, subconsumer: &str, max_messages: i64, dead_interval: Option<&Interval>) -> Vec<Message>;
    ack(batch_id: i64) -> i64;
    nack(batch_id: i64, msg_id: i64, retry_after: &Interval, reason: Option<&str>) -> ();
    finish(batch_id: i64, verdicts: &[(i64, Verdict)]) -> i64;
    ticker(queue: &str) -> Option<i64>;
    ticker_all() -> i64;
    force_next_tick(queue: &str) -> Option<i64>;
    force_tick(queue: &str) -> Option<i64>;
    maint() -> i64;
    maint_retry_events() -> i64;
    create_queue(queue: &str) -> i64;
    drop_queue(queue: &str, force: bool) -> i64;
    set_queue_config(queue: &str, name: &str, value: Option<&str>) -> i64;
    version() -> String;
    status() -> ResultSet;
    queue_info(queue: Option<&str>) -> ResultSet;
    consumer_info(queue: Option<&str>, consumer: Option<&str>) -> ResultSet;
    batch_info(batch_id: i64) -> ResultSet;
    capabilities() -> Capabilities;
    dlq_inspect(queue: &str, limit: i64) -> ResultSet;
    dlq_replay(dead_letter_id: i64) -> i64;
    dlq_replay_all(queue: &str) -> Replayed;
    dlq_redeliver(dead_letter_id: i64) -> i64;
    dlq_redeliver_all(queue: &str, consumer: Option<&str>) -> i64;
    dlq_purge(queue: &str, older_than: &Interval) -> i64;
}

/// A blocking [`crate::Producer`], which any number of threads may share.
#[derive(Clone)]
pub struct Producer(crate::Producer);

impl From<crate::Producer> for Producer {
    fn from(producer: crate::Producer) -> Producer {
        Producer(producer)
    }
}

impl Producer {
    /// As [`crate::Producer::new`].
    pub fn new(settings: Settings, options: ProducerOptions) -> Result<Producer> {
        crate::Producer::new(settings, options).map(Producer)
    }

    /// As [`crate::Producer::send`].
    pub fn send(&self, queue: &str, event: &Event) -> Result<i64> {
        wait(self.0.send(queue, event))
    }

    /// As [`crate::Producer::submit`].
    pub fn submit(&self, queue: &str, event: Event) -> Result<Pending<i64>> {
        wait_unless_ready(self.0.submit(queue, event))
    }

    /// As [`crate::Producer::flush`].
    pub fn flush(&self) -> Result<()> {
        wait(self.0.flush())
    }

    /// As [`crate::Producer::close`].
    pub fn close(&self, deadline: Duration) -> Result<()> {
        wait(self.0.close(deadline))
    }

    /// As [`crate::Producer::stats`].
    pub fn stats(&self) -> ProducerStats {
        self.0.stats()
    }
}

/// As [`wait`], for what hardly ever has to: the first look is without the preparations for a sleep.
fn wait_unless_ready<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let mut future = pin!(future);
    let runtime = handle()?;
    let inside = runtime.enter();
    if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        return result;
    }
    drop(inside);
    wait(future)
}

pub use crate::consumer::{run_batches_blocking as run_batches, run_blocking as run};
