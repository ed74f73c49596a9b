//! Statements whose callers no longer wait, against a real server.
//!
//! `PGQUE_TEST_DSN` names a server where the role may look at other sessions.

#[path = "connection/support.rs"]
mod support;

use std::time::Duration;

use futures_util::FutureExt;
use pgque::runtime::wait;
use pgque::{Connection, TransactionStatus};
use support::{number, run, settings};

/// Has a commit take half a second.
const SLOW: &str = "create temporary table slow (); \
    create function pg_temp.slow() returns trigger language plpgsql as \
        $$ begin perform pg_sleep(0.5); return null; end $$; \
    create constraint trigger slow after insert on slow deferrable initially deferred \
        for each row execute function pg_temp.slow()";

/// Whether a statement with this text still runs, asked from another connection, is no within ten seconds.
async fn ends(watcher: &Connection, mark: &str) -> bool {
    let sql =
        format!("select count(*) from pg_stat_activity where state = 'active' and query like 'select /* {mark} */%'");
    for _ in 0..200 {
        if number(watcher, &sql).await.is_ok_and(|n| n == 0) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

/// Starts a long statement and drops it once it runs.
async fn abandon(connection: &Connection, watcher: &Connection, mark: &str) {
    let sql = format!("select /* {mark} */ pg_sleep(60)::text");
    let running =
        format!("select count(*) from pg_stat_activity where query like 'select /* {mark} */%' and state = 'active'");
    let statement = connection.execute(&sql, &[]);
    let seen = async {
        while number(watcher, &running).await.expect("the watcher can ask") == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        result = statement => panic!("it ended by itself: {result:?}"),
        () = seen => {}
    }
}

#[test]
fn an_abandoned_statement_ends_at_the_server_and_leaves_the_connection_usable() {
    run(async {
        let (connection, watcher) = (Connection::open(settings()).await?, Connection::open(settings()).await?);
        let backend = number(&connection, "select pg_backend_pid()").await?;
        for round in 0..20 {
            let mark = format!("abandoned {round}");
            abandon(&connection, &watcher, &mark).await;
            // At once, and on the same session: the request to end the other must not hit this one.
            let next = tokio::time::timeout(Duration::from_secs(20), number(&connection, "select 7")).await;
            assert_eq!(next.expect("the next statement waits for the abandoned one")?, 7);
            assert!(ends(&watcher, &mark).await);
        }
        assert_eq!(number(&connection, "select pg_backend_pid()").await?, backend);
        Ok(())
    });
}

#[test]
fn a_statement_abandoned_in_a_transaction_fails_it() {
    run(async {
        let (connection, watcher) = (Connection::open(settings()).await?, Connection::open(settings()).await?);
        connection.begin().await?;
        abandon(&connection, &watcher, "in transaction").await;
        assert_eq!(connection.commit().await.unwrap_err().sqlstate(), Some("25P02"));
        assert_eq!(number(&connection, "select 7").await?, 7);
        Ok(())
    });
}

#[test]
fn an_abandoned_statement_ends_at_the_server_also_if_it_began_the_transaction() {
    run(async {
        let (connection, watcher) = (Connection::open(settings()).await?, Connection::open(settings()).await?);
        connection.set_autocommit(false)?;
        abandon(&connection, &watcher, "with its begin").await;
        let ended = tokio::time::timeout(Duration::from_secs(20), connection.rollback()).await;
        ended.expect("the rollback waits for the abandoned one")?;
        assert!(ends(&watcher, "with its begin").await);
        assert_eq!(number(&connection, "select 7").await?, 7);
        Ok(())
    });
}

#[test]
fn abandoned_statements_end_at_the_server_in_whatever_order_they_were_given_up() {
    run(async {
        let (connection, watcher) = (Connection::open(settings()).await?, Connection::open(settings()).await?);
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let mut sleepers = Vec::new();
            for n in 0..3 {
                let own = connection.clone();
                let sql = format!("select /* one of {order:?} */ pg_sleep(60)::text, {n}");
                sleepers.push(tokio::spawn(async move { own.execute(&sql, &[]).await }));
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            for n in order {
                sleepers[n].abort();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let next = tokio::time::timeout(Duration::from_secs(20), number(&connection, "select 7")).await;
            assert_eq!(next.expect("the next statement waits for the abandoned ones")?, 7);
            assert!(ends(&watcher, &format!("one of {order:?}")).await);
        }
        Ok(())
    });
}

#[test]
fn what_others_sent_behind_an_abandoned_statement_is_not_hit() {
    run(async {
        let (connection, watcher) = (Connection::open(settings()).await?, Connection::open(settings()).await?);
        let first = connection.clone();
        let sleeper = tokio::spawn(async move { first.execute("select /* first */ pg_sleep(1)::text", &[]).await });
        while number(&watcher, "select count(*) from pg_stat_activity where query like 'select /* first */%'").await?
            == 0
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (second, third) = (connection.clone(), connection.clone());
        let abandoned = tokio::spawn(async move { second.execute("select pg_sleep(0.5)::text", &[]).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        let behind = tokio::spawn(async move { number(&third, "select 7 from pg_sleep(0.5)").await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        abandoned.abort();
        assert!(sleeper.await.unwrap().is_ok());
        assert_eq!(behind.await.unwrap()?, 7);
        Ok(())
    });
}

/// Starts a statement that takes its time to end when it is cancelled, and drops it once it runs.
async fn abandon_deaf(connection: &Connection, watcher: &Connection) -> pgque::Result<()> {
    let deaf = "do $$ begin for n in 1..3 loop \
                    begin perform pg_sleep(60); exception when query_canceled then null; end; \
                end loop; end $$";
    let sleeping = format!(
        "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and pid = {}",
        connection.backend_pid()?
    );
    let seen = async {
        while number(watcher, &sleeping).await.expect("the watcher can ask") == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        result = connection.execute_script(deaf) => panic!("it ended by itself: {result:?}"),
        () = seen => {}
    }
    Ok(())
}

#[test]
fn a_begin_that_was_given_up_before_it_was_sent_has_not_happened_and_an_end_goes_on() {
    run(async {
        let (connection, watcher) = (Connection::open(settings()).await?, Connection::open(settings()).await?);
        let soon = Duration::from_millis(50);
        abandon_deaf(&connection, &watcher).await?;
        tokio::time::timeout(soon, connection.begin()).await.expect_err("it is kept back");
        assert_eq!(connection.transaction_status(), TransactionStatus::Idle);

        for end in ["rollback", "commit"] {
            connection.begin().await?;
            abandon_deaf(&connection, &watcher).await?;
            let ended = async { if end == "commit" { connection.commit().await } else { connection.rollback().await } };
            tokio::time::timeout(soon, ended).await.expect_err("it is kept back");
            assert_eq!(number(&connection, "select 7").await?, 7);
            assert_eq!(connection.transaction_status(), TransactionStatus::Idle, "{end}");
        }
        Ok(())
    });
}

#[test]
fn a_begin_that_nobody_waits_for_leaves_no_transaction_open() {
    run(async {
        let (connection, watcher) = (Connection::open(settings()).await?, Connection::open(settings()).await?);
        let open = format!(
            "select count(*) from pg_stat_activity where state like 'idle in transaction%' and pid = {}",
            connection.backend_pid()?
        );
        for _ in 0..20 {
            assert!(connection.begin().now_or_never().is_none(), "sent, and not waited for");
            assert_eq!(number(&connection, "select 7").await?, 7);
            assert_eq!(connection.transaction_status(), TransactionStatus::Idle);
            assert_eq!(number(&watcher, &open).await?, 0);
        }
        Ok(())
    });
}

#[test]
fn a_commit_of_a_failed_transaction_ends_it_also_if_nobody_waits_for_that() {
    run(async {
        let connection = Connection::open(settings()).await?;
        connection.begin().await?;
        connection.execute("select 1 / 0", &[]).await.unwrap_err();
        assert!(connection.commit().now_or_never().is_none(), "sent, and not waited for");
        assert_eq!(number(&connection, "select 7").await?, 7);
        assert_eq!(connection.transaction_status(), TransactionStatus::Idle);
        Ok(())
    });
}

#[test]
fn a_close_that_nobody_waits_for_closes_nevertheless() {
    run(async {
        let (connection, watcher) = (Connection::open(settings()).await?, Connection::open(settings()).await?);
        connection.execute_script(SLOW).await?;
        let backend = connection.backend_pid()?;
        let there = |condition| {
            let sql = format!("select count(*) from pg_stat_activity where pid = {backend} {condition}");
            let watcher = &watcher;
            async move { number(watcher, &sql).await.expect("the watcher can ask") > 0 }
        };
        connection.begin().await?;
        connection.execute("insert into slow default values", &[]).await?;
        let committing = connection.clone();
        let commit = tokio::spawn(async move { committing.commit().await });
        while !there("and wait_event = 'PgSleep'").await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(connection.close().now_or_never().is_none(), "it waits for the commit");
        commit.await.expect("it does not panic")?;
        for _ in 0..200 {
            if !there("").await {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the session is still there");
    });
}

#[test]
fn an_end_that_goes_on_leaves_the_connection_to_the_threads_that_wait() {
    let connection = wait(Connection::open(settings())).expect("it connects");
    wait(connection.execute_script(SLOW)).expect("it is made");
    for behind in [false, true] {
        wait(connection.begin()).expect("it begins");
        wait(connection.execute("insert into slow default values", &[])).expect("it is inserted");
        std::thread::scope(|scope| {
            if behind {
                // At the wheel, while the one that gives up is only one of the others.
                scope.spawn(|| wait(connection.execute("select pg_sleep(0.4)::text", &[])).expect("it is answered"));
                std::thread::sleep(Duration::from_millis(100));
            }
            let given_up = async {
                let soon = Duration::from_millis(200);
                tokio::time::timeout(soon, connection.commit()).await.expect_err("it takes longer");
                Ok(())
            };
            wait(given_up).expect("it is given up");
            let (answer, answered) = std::sync::mpsc::channel();
            let connection = &connection;
            scope.spawn(move || answer.send(wait(number(connection, "select 7"))));
            let seven = answered.recv_timeout(Duration::from_secs(20)).expect("somebody reads the answers");
            assert_eq!(seven.expect("it is answered"), 7);
        });
        let kept = wait(number(&connection, "select count(*) from slow")).expect("it is answered");
        assert_eq!(kept, 1 + i64::from(behind), "and is done");
    }
}
#[test]
fn a_savepoint_that_nobody_waited_for_does_not_stand_in_for_the_one_around_it() {
    run(async {
        let connection = Connection::open(settings()).await?;
        connection.execute_script("create temporary table points (n int)").await?;
        let insert = async || connection.execute_script("insert into points values (1)").await;
        connection.begin().await?;
        connection.savepoint().await?;
        insert().await?;
        assert!(connection.savepoint().now_or_never().is_none(), "sent, and not waited for");
        connection.rollback_to_savepoint().await?;
        assert_eq!(number(&connection, "select count(*) from points").await?, 0);

        connection.savepoint().await?;
        insert().await?;
        connection.savepoint().await?;
        insert().await?;
        assert!(connection.rollback_to_savepoint().now_or_never().is_none(), "sent, and not waited for");
        connection.rollback_to_savepoint().await?;
        assert_eq!(number(&connection, "select count(*) from points").await?, 0);
        connection.commit().await
    });
}

#[test]
fn a_transaction_that_failed_behind_the_return_to_a_savepoint_is_not_committed() {
    run(async {
        let connection = Connection::open(settings()).await?;
        connection.begin().await?;
        connection.savepoint().await?;
        let (mut back, mut bad) =
            (Box::pin(connection.rollback_to_savepoint()), Box::pin(connection.execute("select 1 / 0", &[])));
        assert!(futures_util::poll!(back.as_mut()).is_pending());
        assert!(futures_util::poll!(bad.as_mut()).is_pending());
        // Both are answered, and heard in the other order.
        tokio::time::sleep(Duration::from_millis(200)).await;
        bad.await.unwrap_err();
        back.await?;
        assert_eq!(connection.transaction_status(), TransactionStatus::Failed);
        assert_eq!(connection.commit().await.unwrap_err().sqlstate(), Some("25P02"));
        Ok(())
    });
}
