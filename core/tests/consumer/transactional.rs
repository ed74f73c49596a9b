//! Effects of handlers that commit with the acknowledgement.

use std::sync::atomic::{AtomicUsize, Ordering};

use pgque::runtime::wait;
use pgque::{Batch, Kind, Message, Outcome, Result, Verdict};

use crate::support::{batch, number, queue, reader};

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
