//! Statements whose callers no longer wait, against a real server.
//!
//! `PGQUE_TEST_DSN` names a server where the role may look at other sessions.

#[path = "connection/support.rs"]
mod support;

use std::time::Duration;

use pgque::{Connection, TransactionStatus};
use support::{number, run, settings};

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
fn a_begin_or_an_end_that_was_given_up_before_it_was_sent_has_not_happened() {
    run(async {
        let (connection, watcher) = (Connection::open(settings()).await?, Connection::open(settings()).await?);
        let soon = Duration::from_millis(50);
        abandon_deaf(&connection, &watcher).await?;
        tokio::time::timeout(soon, connection.begin()).await.expect_err("it is kept back");
        assert_eq!(connection.transaction_status(), TransactionStatus::Idle);

        connection.begin().await?;
        abandon_deaf(&connection, &watcher).await?;
        tokio::time::timeout(soon, connection.rollback()).await.expect_err("it is kept back");
        assert_ne!(connection.transaction_status(), TransactionStatus::Idle);
        connection.rollback().await?;
        assert_eq!(number(&connection, "select 7").await?, 7);
        Ok(())
    });
}
