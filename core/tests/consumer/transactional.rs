//! Effects of handlers that commit with the acknowledgement.

use std::sync::atomic::{AtomicUsize, Ordering};

use pgque::runtime::wait;
use pgque::{Batch, Client, Consumer, ConsumerOptions, Kind, Message, Next, Outcome, Result, Settings, Verdict};

use crate::support::{batch, dsn_with, eventually, number, queue, reader};

const OPTIONS: [(&str, &str); 1] = [("transactional", "true")];

async fn record(batch: &Batch, table: &str, message: &Message) -> Result<()> {
    let sql = format!("insert into {table} values ($1::bigint)");
    let client = batch.client().expect("the transaction's");
    client.connection().expect("our own").execute(&sql, &[Some(message.msg_id.to_string())]).await.map(drop)
}

#[test]
fn what_a_failed_handler_did_is_undone_and_the_rest_commits_with_the_ack() -> Result<()> {
    wait(async {
        let client = queue("effects").await?;
        let run = async |sql: &str| client.connection().expect("our own").execute_script(sql).await;
        run("drop table if exists effects; create table effects (id bigint)").await?;
        let ids = batch(&client, "effects", 5).await?;
        let consumer = reader("effects", &OPTIONS)?;
        let handled = AtomicUsize::new(0);
        let outcome = consumer.run(async |_, message, batch| {
            record(batch, "effects", message).await.unwrap();
            let position = handled.fetch_add(1, Ordering::Relaxed);
            if position == 4 {
                consumer.stop();
                assert_eq!(
                    number(&client, "select count(*) from effects").await.unwrap(),
                    0,
                    "nothing is committed yet"
                );
            }
            let transaction = batch.client().unwrap().connection().unwrap();
            match position {
                1 => Outcome::Failed { error: "no".into() },
                // The server refuses, and the handler does not say so.
                2 => {
                    transaction.execute("select 1/0", &[]).await.unwrap_err();
                    Verdict::Ack.into()
                }
                3 => {
                    assert_eq!(transaction.commit().await.unwrap_err().kind(), Kind::Conflict);
                    Verdict::Ack.into()
                }
                _ => Verdict::Ack.into(),
            }
        });
        outcome.await?;
        let expected = format!("select count(*) from effects where id in ({}, {}, {})", ids[0], ids[3], ids[4]);
        assert_eq!(number(&client, &expected).await?, 3);
        assert_eq!(number(&client, "select count(*) from effects").await?, 3);
        assert_eq!((consumer.stats().handled, consumer.stats().retried), (3, 2));
        assert!(client.receive("effects", "reader", 10).await?.is_empty());
        run("drop table effects").await?;
        client.drop_queue("effects", true).await.map(drop)
    })
}

#[test]
fn a_connection_that_is_lost_takes_the_effects_with_it() -> Result<()> {
    wait(async {
        let client = queue("effects_lost").await?;
        let run = async |sql: &str| client.connection().expect("our own").execute_script(sql).await;
        run("drop table if exists effects_lost; create table effects_lost (id bigint)").await?;
        batch(&client, "effects_lost", 3).await?;
        let consumer = reader("effects_lost", &OPTIONS)?;
        let handled = AtomicUsize::new(0);
        let outcome = consumer.run(async |_, message, batch| {
            if record(batch, "effects_lost", message).await.is_err() {
                return Outcome::Failed { error: "lost".into() };
            }
            if handled.fetch_add(1, Ordering::Relaxed) == 1 {
                let connection = batch.client().unwrap().connection().unwrap();
                connection.execute("select pg_terminate_backend(pg_backend_pid())", &[]).await.unwrap_err();
            }
            if handled.load(Ordering::Relaxed) == 5 {
                consumer.stop();
            }
            Verdict::Ack.into()
        });
        outcome.await?;
        assert_eq!(number(&client, "select count(*) from effects_lost").await?, 3);
        assert_eq!(number(&client, "select count(distinct id) from effects_lost").await?, 3);
        assert_eq!(consumer.stats().reconnects, 1);
        run("drop table effects_lost").await?;
        client.drop_queue("effects_lost", true).await.map(drop)
    })
}

#[test]
fn what_a_failed_handler_did_is_undone_although_its_message_is_given_up() -> Result<()> {
    wait(async {
        let client = queue("effects_dead").await?;
        let run = async |sql: &str| client.connection().expect("our own").execute_script(sql).await;
        run("drop table if exists effects_dead; create table effects_dead (id bigint)").await?;
        batch(&client, "effects_dead", 2).await?;
        let consumer = reader("effects_dead", &OPTIONS)?;
        consumer.on_failure(|_, _| Some(Verdict::Dead { reason: None }));
        let handled = AtomicUsize::new(0);
        let outcome = consumer.run(async |_, message, batch| {
            record(batch, "effects_dead", message).await.unwrap();
            if handled.fetch_add(1, Ordering::Relaxed) == 1 {
                consumer.stop();
                // A verdict of the handler's own is no failure: what it did belongs to it.
                return Verdict::Dead { reason: None }.into();
            }
            Outcome::Failed { error: "no".into() }
        });
        outcome.await?;
        assert_eq!(number(&client, "select count(*) from effects_dead").await?, 1);
        assert_eq!(consumer.stats().dead, 2);
        run("drop table effects_dead").await?;
        client.drop_queue("effects_dead", true).await.map(drop)
    })
}

#[test]
fn what_a_failed_handler_did_is_undone_although_it_left_a_savepoint_behind() -> Result<()> {
    wait(async {
        let client = queue("effects_point").await?;
        let run = async |sql: &str| client.connection().expect("our own").execute_script(sql).await;
        run("drop table if exists effects_point; create table effects_point (id bigint)").await?;
        let ids = batch(&client, "effects_point", 2).await?;
        let consumer = reader("effects_point", &OPTIONS)?;
        let handled = AtomicUsize::new(0);
        let outcome = consumer.run(async |_, message, batch| {
            record(batch, "effects_point", message).await.unwrap();
            batch.client().unwrap().connection().unwrap().savepoint().await.unwrap();
            if handled.fetch_add(1, Ordering::Relaxed) == 1 {
                consumer.stop();
                return Verdict::Ack.into();
            }
            Outcome::Failed { error: "no".into() }
        });
        outcome.await?;
        assert_eq!(number(&client, "select count(*) from effects_point").await?, 1);
        assert_eq!(number(&client, "select max(id) from effects_point").await?, ids[1]);
        run("drop table effects_point").await?;
        client.drop_queue("effects_point", true).await.map(drop)
    })
}

#[test]
fn a_next_or_a_finish_that_was_given_up_does_not_stand_in_the_way_of_the_following() -> Result<()> {
    wait(async {
        let client = queue("given_up").await?;
        let ids = batch(&client, "given_up", 1).await?;
        let mut options = ConsumerOptions::new("given_up", "reader");
        options.set("transactional", "true")?;
        let consumer = Consumer::new(Settings::parse(&dsn_with("application_name=given_up"))?, options)?;
        consumer.on("*")?;
        let waits = "select count(*) from pg_stat_activity \
                     where application_name = 'given_up' and wait_event_type = 'Lock'";
        let lock = Client::connect(&dsn_with("")).await?;
        let lock = lock.connection().expect("our own");
        // Until it is stuck, and then no longer.
        let give_up = async |table: &str, call: &mut (dyn Future<Output = ()> + Unpin)| {
            lock.begin().await?;
            lock.execute_script(&format!("lock table pgque.{table} in access exclusive mode")).await?;
            tokio::select! {
                () = call => panic!("it was to be stuck"),
                stuck = eventually("it is stuck", async || Ok(number(&client, waits).await? == 1)) => stuck?,
            }
            lock.rollback().await
        };
        give_up("subscription", &mut Box::pin(async { drop(consumer.next(None).await) })).await?;
        let Next::Batch(given_up) = consumer.next(None).await? else { panic!("there is a batch") };
        given_up.settle(0, Outcome::Failed { error: "no".into() });
        give_up("retry_queue", &mut Box::pin(async { drop(consumer.finish(&given_up).await) })).await?;
        let Next::Batch(again) = consumer.next(None).await? else { panic!("it comes again") };
        assert_eq!(again.messages()[0].msg_id, ids[0]);
        again.settle(0, Verdict::Ack);
        consumer.finish(&again).await?;
        assert_eq!(consumer.stats().handled, 1);
        consumer.close().await;
        client.drop_queue("given_up", true).await.map(drop)
    })
}
