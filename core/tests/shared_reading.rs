//! A thread in a blocking call and a task of the runtime on one connection, which read for each other.

use std::pin::pin;
use std::thread;
use std::time::Duration;

use futures_util::poll;
use pgque::runtime::{handle, wait};
use pgque::{Connection, Error, Kind, Settings};

/// The thread comes while nobody takes the task's rows, and leaves before the answer to what the task asks next.
#[test]
fn what_a_thread_leaves_unread_is_read_by_the_runtime() {
    let dsn = std::env::var("PGQUE_TEST_DSN").expect("PGQUE_TEST_DSN is set; run scripts/test");
    let settings = Settings::parse(&dsn).expect("the DSN of the tests is valid");
    let connection = wait(Connection::open(settings)).expect("it connects");
    let shared = connection.clone();
    let task = handle().expect("there is a runtime").spawn(async move {
        let mut rows = pin!(shared.execute("select repeat('x', 1000) from generate_series(1, 20000)", &[]));
        assert!(poll!(rows.as_mut()).is_pending());
        tokio::time::sleep(Duration::from_millis(400)).await;
        rows.await?;
        shared.execute("select pg_sleep(0.5)", &[]).await
    });
    thread::sleep(Duration::from_millis(200));
    wait(connection.execute("select pg_sleep(0.2)", &[])).expect("it is answered");
    let answer = wait(async {
        let answer = tokio::time::timeout(Duration::from_secs(20), task).await;
        answer.map_err(|_| Error::new(Kind::Timeout, "test", "nobody reads the answer"))
    });
    answer.expect("it is answered").expect("the task ends").expect("the statements are right");
}
