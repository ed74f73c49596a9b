//! The connection against a real server: transactions, loss and return, notifications.
//!
//! `PGQUE_TEST_DSN` names a server where the role may end other sessions.

#[path = "connection/support.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pgque::{Client, Connection, Event, Kind, Settings, Ticker, TickerOptions, TransactionStatus, Value};
use support::{number, run, settings};

/// Ends the server's side of a connection, from another one, and waits until it is gone.
async fn kill(victim: &Connection) -> pgque::Result<()> {
    let pid = number(victim, "select pg_backend_pid()").await?;
    let killer = Connection::open(settings()).await?;
    killer.execute("select pg_terminate_backend($1::int, 5000)", &[Some(pid.to_string())]).await?;
    while !victim.is_closed() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

#[test]
fn a_commit_that_became_a_rollback_is_an_error() {
    run(async {
        let connection = Connection::open(settings()).await?;
        connection.begin().await?;
        connection.execute("create temp table t (n int)", &[]).await?;
        connection.execute("select 1/0", &[]).await.unwrap_err();
        assert_eq!(connection.transaction_status(), TransactionStatus::Failed);
        let error = connection.commit().await.unwrap_err();
        assert_eq!(error.sqlstate(), Some("25P02"));
        assert_eq!(connection.transaction_status(), TransactionStatus::Idle);
        connection.execute("select * from t", &[]).await.expect_err("the table went with the transaction");
        Ok(())
    });
}

#[test]
fn a_commit_that_fails_at_its_end_leaves_the_connection_usable() {
    run(async {
        let connection = Connection::open(settings()).await?;
        connection
            .execute_script(
                "create temp table t (n int unique deferrable initially deferred); insert into t values (1)",
            )
            .await?;
        connection.begin().await?;
        connection.execute("insert into t values (1)", &[]).await?;
        assert_eq!(connection.commit().await.unwrap_err().kind(), Kind::Conflict);
        assert_eq!(number(&connection, "select count(*) from t").await?, 1);
        Ok(())
    });
}

#[test]
fn without_autocommit_the_first_statement_opens_a_transaction() {
    run(async {
        let connection = Connection::open(settings().autocommit(false)).await?;
        connection.execute("create temp table t (n int)", &[]).await?;
        assert_eq!(connection.transaction_status(), TransactionStatus::Active);
        assert_eq!(connection.set_autocommit(true).unwrap_err().kind(), Kind::Conflict);
        connection.rollback().await?;
        connection.execute("select * from t", &[]).await.expect_err("it was rolled back");
        connection.rollback().await
    });
}

#[test]
fn in_autocommit_a_lost_connection_is_replaced_and_listens_again() {
    run(async {
        let connection = Connection::open(settings()).await?;
        connection.listen("Where? \"Here\"").await?;
        kill(&connection).await?;
        assert_eq!(number(&connection, "select 42").await?, 42);
        connection.execute("notify \"Where? \"\"Here\"\"\", 'yes'", &[]).await?;
        let notification = connection.notification(Duration::from_secs(10)).await?.expect("a notification");
        assert_eq!((notification.channel.as_str(), notification.payload.as_str()), ("Where? \"Here\"", "yes"));
        Ok(())
    });
}

#[test]
fn a_transaction_that_is_lost_with_its_connection_is_not_carried_on_in_silence() {
    run(async {
        let connection = Connection::open(settings()).await?;
        connection.begin().await?;
        kill(&connection).await?;
        let error = connection.execute("select 1", &[]).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Connection);
        assert!(error.is_retriable());
        connection.rollback().await?;
        assert_eq!(number(&connection, "select 1").await?, 1);
        Ok(())
    });
}

#[test]
fn a_wait_for_notifications_ends_when_the_connection_does() {
    run(async {
        let connection = Connection::open(settings()).await?;
        let waiting = connection.clone();
        let wait = tokio::spawn(async move { waiting.notification(Duration::from_secs(60)).await });
        kill(&connection).await?;
        let error = wait.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), Kind::Connection, "{error}");
        Ok(())
    });
}

#[test]
fn a_wait_for_notifications_ends_when_the_connection_is_closed() {
    run(async {
        let connection = Connection::open(settings()).await?;
        let waiting = [connection.clone(), connection.clone()];
        let waits = waiting.map(|c| tokio::spawn(async move { c.notification(Duration::from_secs(60)).await }));
        tokio::time::sleep(Duration::from_millis(50)).await;
        connection.close().await;
        for wait in waits {
            let error = tokio::time::timeout(Duration::from_secs(5), wait).await.unwrap().unwrap().unwrap_err();
            assert_eq!(error.kind(), Kind::Closed, "{error}");
        }
        Ok(())
    });
}

#[test]
fn statements_of_many_tasks_share_a_connection_in_and_out_of_transactions() {
    run(async {
        let connection = Connection::open(settings()).await?;
        connection.execute("create temp table t (n int)", &[]).await?;
        let insert = |n: usize| {
            let connection = connection.clone();
            async move { connection.execute("insert into t values ($1::int)", &[Some(n.to_string())]).await }
        };
        for round in 0..10 {
            connection.begin().await?;
            for result in futures_util::future::join_all((0..20).map(insert)).await {
                result?;
            }
            if round % 2 == 0 { connection.commit().await? } else { connection.rollback().await? }
        }
        assert_eq!(number(&connection, "select count(*) from t").await?, 100);
        Ok(())
    });
}

#[test]
fn a_closed_connection_says_so() {
    run(async {
        let connection = Connection::open(settings()).await?;
        connection.close().await;
        connection.close().await;
        assert!(connection.is_closed());
        assert_eq!(connection.execute("select 1", &[]).await.unwrap_err().kind(), Kind::Closed);
        Ok(())
    });
}

/// Each function that is given a future by value may double it, and what runs them in turn needs a stack for all.
#[test]
fn what_waits_for_an_answer_is_small() {
    run(async {
        let dsn = std::env::var("PGQUE_TEST_DSN").expect("PGQUE_TEST_DSN is set; run scripts/test");
        let client = Client::connect(&dsn).await?;
        let send = size_of_val(&client.send("q", &Event::default()));
        let ticker = size_of_val(&Ticker::new(settings(), TickerOptions::default()).run());
        assert!(send < 6_000 && ticker < 12_000, "send: {send} bytes, ticker: {ticker}");
        Ok(())
    });
}

#[test]
fn a_running_statement_can_be_cancelled() {
    run(async {
        let connection = Connection::open(settings()).await?;
        let sleeper = connection.clone();
        let sleep = tokio::spawn(async move { sleeper.execute("select pg_sleep(60)::text", &[]).await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        connection.cancel().await?;
        assert_eq!(sleep.await.unwrap().unwrap_err().kind(), Kind::Timeout);
        assert_eq!(number(&connection, "select 1").await?, 1);
        Ok(())
    });
}

#[test]
fn a_server_that_no_longer_writes_is_left_for_one_that_does() {
    run(async {
        let dsn = std::env::var("PGQUE_TEST_DSN").expect("PGQUE_TEST_DSN is set; run scripts/test");
        let separator = if dsn.contains('?') { '&' } else { '?' };
        for (attrs, goes_on) in [("read-write", true), ("any", false)] {
            let settings = Settings::parse(&format!("{dsn}{separator}target_session_attrs={attrs}"))?;
            let connection = Connection::open(settings).await?;
            connection.execute("set default_transaction_read_only = on", &[]).await?;
            let error = connection.execute("create table never (n int)", &[]).await.unwrap_err();
            assert_eq!(error.sqlstate(), Some("25006"));
            assert!(error.is_retriable());
            let setting =
                "select count(*) from pg_settings where name = 'default_transaction_read_only' and setting = 'off'";
            assert_eq!(number(&connection, setting).await? == 1, goes_on, "{attrs}");
        }
        Ok(())
    });
}

#[test]
fn a_late_answer_of_the_server_that_was_left_does_not_end_the_new_session() {
    run(async {
        let dsn = std::env::var("PGQUE_TEST_DSN").expect("PGQUE_TEST_DSN is set; run scripts/test");
        let separator = if dsn.contains('?') { '&' } else { '?' };
        let settings = Settings::parse(&format!("{dsn}{separator}target_session_attrs=read-write"))?;
        let connection = Connection::open(settings).await?;
        connection.execute("set default_transaction_read_only = on", &[]).await?;
        let write = || Box::pin(connection.execute("create table never (n int)", &[]));
        let (mut first, mut second) = (write(), write());
        assert!(futures_util::poll!(first.as_mut()).is_pending());
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        // Both answers are there before anybody looks at them.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(first.await.unwrap_err().sqlstate(), Some("25006"));
        let backend = number(&connection, "select pg_backend_pid()").await?;
        assert_eq!(second.await.unwrap_err().sqlstate(), Some("25006"));
        assert_eq!(number(&connection, "select pg_backend_pid()").await?, backend);
        Ok(())
    });
}

#[test]
fn a_session_that_comes_before_the_answer_to_listen_is_heard_listens_as_well() {
    run(async {
        let (connection, other) = (Connection::open(settings()).await?, Connection::open(settings()).await?);
        let mut listen = Box::pin(connection.listen("early"));
        assert!(futures_util::poll!(listen.as_mut()).is_pending());
        // It is answered, and nobody looks.
        tokio::time::sleep(Duration::from_millis(200)).await;
        kill(&connection).await?;
        while number(&connection, "select 7").await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        listen.await?;
        other.execute("notify early", &[]).await?;
        assert!(connection.notification(Duration::from_secs(10)).await?.is_some());
        Ok(())
    });
}

#[test]
fn common_types_are_decoded() {
    run(async {
        let connection = Connection::open(settings()).await?;
        let sql = "select true, 1::int2, -2::int4, 3::int8, 0.5::float4, 'é'::varchar, '{\"a\":1}'::jsonb, \
                   -12345.6700::numeric, 0.00001::numeric, 1e20::numeric, '\\x00ff'::bytea, null::text, \
                   '2000-01-01 00:00:00.000001+00'::timestamptz, array[1,null,3], array['a','b'], \
                   'd9428888-122b-11e1-b85c-61cd3cbb3210'::uuid";
        let row = connection.execute(sql, &[]).await?.rows.remove(0);
        let text = |t: &str| Value::Text(t.into());
        let expected = vec![
            Value::Bool(true),
            Value::Int(1),
            Value::Int(-2),
            Value::Int(3),
            Value::Float(0.5),
            text("é"),
            Value::Json("{\"a\": 1}".into()),
            Value::Numeric("-12345.6700".into()),
            Value::Numeric("0.00001".into()),
            Value::Numeric("100000000000000000000".into()),
            Value::Bytes(vec![0, 255]),
            Value::Null,
            Value::Timestamp(pgque::Timestamp::from_unix_micros(946_684_800_000_001)),
            Value::Array(vec![Value::Int(1), Value::Null, Value::Int(3)]),
            Value::Array(vec![text("a"), text("b")]),
            Value::Special(
                pgque::Special::Uuid(0xd942_8888_122b_11e1_b85c_61cd_3cbb_3210_u128.to_be_bytes()),
                "d9428888-122b-11e1-b85c-61cd3cbb3210".into(),
            ),
        ];
        assert_eq!(row, expected);
        let error = connection.execute("select '(1,2)'::point", &[]).await.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidInput);
        assert!(error.message().contains("cast it to text"), "{error}");
        Ok(())
    });
}

#[test]
fn nul_is_refused_under_its_arguments_name_and_costs_no_transaction() {
    run(async {
        let connection = Connection::open(settings()).await?;
        connection.begin().await?;
        let refusals = [
            (connection.execute("select '\0'", &[]).await.map(drop), "execute", "sql"),
            (connection.execute("select $1", &[Some("\0".into())]).await.map(drop), "execute", "parameter"),
            (connection.listen("a\0b").await, "listen", "channel"),
            (connection.unlisten("a\0b").await, "unlisten", "channel"),
        ];
        for (result, op, argument) in refusals {
            let error = result.unwrap_err();
            assert_eq!((error.kind(), error.op()), (Kind::InvalidInput, op));
            assert!(error.message().starts_with(argument), "{error}");
        }
        assert_eq!(number(&connection, "select 1").await?, 1);
        connection.commit().await
    });
}

#[test]
fn an_error_names_the_call_that_failed() {
    run(async {
        let connection = Connection::open(settings()).await?;
        connection.close().await;
        assert_eq!(connection.listen("x").await.unwrap_err().op(), "listen");
        assert_eq!(connection.unlisten("x").await.unwrap_err().op(), "unlisten");
        assert_eq!(connection.execute("select 1", &[]).await.unwrap_err().op(), "execute");
        Ok(())
    });
}

/// Between a client and the server: the answer to BEGIN is held back until the client has said the word, five seconds at
/// most. Its port, and whether the word came in time.
fn holding_back_begin(server: SocketAddr, word: &'static str) -> (u16, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let port = listener.local_addr().expect("it has an address").port();
    let (said, in_time) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (heard, noted) = (said.clone(), in_time.clone());
    thread::spawn(move || -> std::io::Result<()> {
        let (mut client, _) = listener.accept()?;
        let mut upstream = TcpStream::connect(server)?;
        let (mut asking, mut answering) = (client.try_clone()?, upstream.try_clone()?);
        thread::spawn(move || {
            relay(&mut asking, &mut upstream, |bytes| {
                if contains(bytes, word) {
                    heard.store(true, Ordering::SeqCst);
                }
            })
        });
        relay(&mut answering, &mut client, |bytes| {
            let end = Instant::now() + Duration::from_secs(5);
            while contains(bytes, "BEGIN\0") && !said.load(Ordering::SeqCst) && Instant::now() < end {
                thread::sleep(Duration::from_millis(1));
            }
            if contains(bytes, "BEGIN\0") {
                noted.store(said.load(Ordering::SeqCst), Ordering::SeqCst);
            }
        })
    });
    (port, in_time)
}

fn relay(from: &mut TcpStream, to: &mut TcpStream, mut look: impl FnMut(&[u8])) -> std::io::Result<()> {
    let mut buffer = [0; 8192];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return to.shutdown(Shutdown::Write);
        }
        look(&buffer[..count]);
        to.write_all(&buffer[..count])?;
    }
}

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

/// A connection by way of `holding_back_begin`.
async fn with_begin_held_back(word: &'static str) -> pgque::Result<(Connection, Arc<AtomicBool>)> {
    let direct = Connection::open(settings()).await?;
    let result = direct.execute("select host(inet_server_addr()), inet_server_port()", &[]).await?;
    let (Value::Text(host), Value::Int(port)) = (&result.rows[0][0], &result.rows[0][1]) else {
        panic!("the tests' server is reached by TCP");
    };
    let server = SocketAddr::new(host.parse().expect("an address"), u16::try_from(*port).expect("a port"));
    let (port, in_time) = holding_back_begin(server, word);
    let dsn = std::env::var("PGQUE_TEST_DSN").expect("it was set before");
    let between = if dsn.contains('?') { '&' } else { '?' };
    let dsn = format!("{dsn}{between}host=127.0.0.1&port={port}&sslmode=disable");
    Ok((Connection::open(Settings::parse(&dsn)?.autocommit(false)).await?, in_time))
}

#[test]
fn begin_travels_with_the_first_statement() {
    run(async {
        let (connection, in_time) = with_begin_held_back("42 as word").await?;
        assert_eq!(number(&connection, "select 42 as word").await?, 42);
        assert!(in_time.load(Ordering::SeqCst), "BEGIN was answered before the statement was sent");
        assert_eq!(connection.transaction_status(), TransactionStatus::Active);
        connection.commit().await
    });
}

#[test]
fn what_a_thread_sends_does_not_wait_for_the_answer_to_another() {
    let (connection, in_time) =
        pgque::runtime::wait(with_begin_held_back("42 as word")).expect("it connects by way of the relay");
    thread::scope(|scope| {
        scope.spawn(|| pgque::runtime::wait(connection.begin()).expect("it begins"));
        while connection.transaction_status() == TransactionStatus::Idle {
            thread::sleep(Duration::from_millis(1));
        }
        let answer = pgque::runtime::wait(number(&connection, "select 42 as word")).expect("it is answered");
        assert_eq!(answer, 42);
    });
    assert!(in_time.load(Ordering::SeqCst), "it was sent when the other thread had its answer");
}

#[test]
fn threads_that_wait_on_one_connection_each_get_their_own_answers() {
    let connection = pgque::runtime::wait(Connection::open(settings())).expect("it connects");
    thread::scope(|scope| {
        for worker in 0..8 {
            let connection = &connection;
            scope.spawn(move || {
                for n in 0..200 {
                    let wanted = worker * 1000 + n;
                    let sql = format!("select {wanted}::bigint");
                    let answer = pgque::runtime::wait(number(connection, &sql)).expect("it is answered");
                    assert_eq!(answer, wanted);
                }
            });
        }
    });
}

#[test]
fn a_task_has_its_answer_while_a_thread_drives_the_connection() {
    let connection = pgque::runtime::wait(Connection::open(settings())).expect("it connects");
    let other = connection.clone();
    let (told, tells) = std::sync::mpsc::channel();
    let handle = pgque::runtime::handle().expect("there is a runtime");
    // Both before and behind the statement of the thread that waits.
    for n in 0..20 {
        let (other, told) = (other.clone(), told.clone());
        handle.spawn(async move {
            tokio::time::sleep(Duration::from_millis(n * 5)).await;
            told.send(number(&other, "select 1").await)
        });
    }
    for _ in 0..10 {
        pgque::runtime::wait(connection.execute("select pg_sleep(0.01)", &[])).expect("it sleeps");
    }
    for _ in 0..20 {
        let answer = tells.recv_timeout(Duration::from_secs(10)).expect("the task is answered");
        assert_eq!(answer.expect("and well"), 1);
    }
}

#[test]
fn a_thread_that_drives_the_connection_sends_and_reads_more_than_a_socket_holds() {
    let connection = pgque::runtime::wait(Connection::open(settings())).expect("it connects");
    let text = "x".repeat(30_000_000);
    let result = pgque::runtime::wait(connection.execute("select $1::text", &[Some(text.clone())])).expect("it echoes");
    assert!(matches!(&result.rows[0][0], Value::Text(echo) if *echo == text));
}

/// Calls in close succession, between which the connection is left alone for a while.
fn burst(connection: &Connection, calls: usize) {
    for _ in 0..calls {
        pgque::runtime::wait(number(connection, "select 1")).expect("it answers");
    }
}

fn what_happens_after_blocking_calls_is_noticed(calls: usize) {
    let wait = pgque::runtime::wait::<i64>;
    let connection = pgque::runtime::wait(Connection::open(settings())).expect("it connects");
    let other = pgque::runtime::wait(Connection::open(settings())).expect("it connects");
    pgque::runtime::wait(connection.listen("driven")).expect("it listens");
    let pid = wait(number(&connection, "select pg_backend_pid()::bigint")).expect("it says");
    burst(&connection, calls);
    let listening = connection.clone();
    let handle = pgque::runtime::handle().expect("there is a runtime");
    let (told, tells) = std::sync::mpsc::channel();
    handle.spawn(async move { told.send(listening.notification(Duration::from_secs(10)).await) });
    pgque::runtime::wait(other.execute("notify driven, 'news'", &[])).expect("it notifies");
    let news = tells.recv_timeout(Duration::from_secs(10)).expect("the task hears").expect("and well");
    assert_eq!(news.expect("in time").payload, "news");
    // A call by a task.
    burst(&connection, calls);
    let (told, tells) = std::sync::mpsc::channel();
    let asking = connection.clone();
    handle.spawn(async move { told.send(number(&asking, "select 1").await) });
    assert_eq!(tells.recv_timeout(Duration::from_secs(10)).expect("the task is answered").expect("and well"), 1);
    // And the end of the connection, while nobody waits for anything.
    burst(&connection, calls);
    pgque::runtime::wait(other.execute("select pg_terminate_backend($1::int, 5000)", &[Some(pid.to_string())]))
        .expect("it ends the other");
    let end = Instant::now() + Duration::from_secs(10);
    while !connection.is_closed() {
        assert!(Instant::now() < end, "nobody noticed");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_happens_after_a_blocking_call_is_noticed_by_the_runtime() {
    what_happens_after_blocking_calls_is_noticed(0);
}

#[test]
fn what_happens_after_many_blocking_calls_is_noticed_by_the_runtime() {
    what_happens_after_blocking_calls_is_noticed(200);
}

async fn plans(connection: &Connection) -> pgque::Result<i64> {
    number(connection, "select count(*) from pg_prepared_statements").await
}

#[test]
fn a_call_that_is_made_often_keeps_its_plan_and_does_without_it_when_the_server_has_forgotten() {
    run(async {
        let connection = Connection::open(settings()).await?;
        let client = Client::over(connection.clone());
        client.version().await?;
        assert_eq!(plans(&connection).await?, 0, "once is not often");
        for _ in 0..10 {
            client.version().await?;
        }
        assert_eq!(plans(&connection).await?, 1);
        connection.execute("discard all", &[]).await?;
        client.version().await?;
        for _ in 0..10 {
            client.version().await?;
        }
        assert_eq!(plans(&connection).await?, 1);
        connection.execute("deallocate all", &[]).await?;
        // Inside a transaction the loss is told, once.
        connection.begin().await?;
        assert_eq!(client.version().await.unwrap_err().sqlstate(), Some("26000"));
        connection.rollback().await?;
        connection.begin().await?;
        client.version().await?;
        connection.commit().await
    });
}
