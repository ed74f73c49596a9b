//! A backlog is worked off without waiting.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pgque::runtime::wait;
use pgque::{Client, Consumer, ConsumerOptions, Event, Result, Settings, TransactionStatus, Verdict};

use crate::support::{batch, dsn_with, event, eventually, number, queue, tick};

/// An engine of which a client cannot see that `receive` has passed an empty window.
const OLD_ENGINE: &str = r"
drop function pgque.finish, pgque.ticker_pending, pgque.receive_page, pgque.receive_page_coop,
  pgque.receive(text, text, integer) cascade;
create function pgque.receive(i_queue text, i_consumer text, i_max_return integer)
returns setof pgque.message language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_batch bigint := pgque.next_batch(i_queue, i_consumer);
begin
  return query
    select ev_id, v_batch, ev_type, ev_data, ev_retry, ev_time, ev_extra1, ev_extra2, ev_extra3, ev_extra4
      from pgque.get_batch_events(v_batch);
  if not found then
    perform pgque.finish_batch(v_batch);
  end if;
end $$;
";

/// Handles so many messages; no poll interval may pass.
async fn works_off(queue: &str, setting: &str, count: usize) -> Result<()> {
    let settings = Settings::parse(&dsn_with(setting))?;
    let consumer = Consumer::new(settings, ConsumerOptions::new(queue, "reader"))?;
    consumer.on("*")?;
    let began = Instant::now();
    let handled = AtomicUsize::new(0);
    let run = consumer.run(async |_, _, _| {
        if handled.fetch_add(1, Ordering::Relaxed) + 1 == count {
            consumer.stop();
        }
        Verdict::Ack
    });
    run.await?;
    assert_eq!(handled.load(Ordering::Relaxed), count);
    assert!(began.elapsed().as_secs() < 20, "no poll interval of 30 s has passed");
    Ok(())
}

async fn fifty_batches(client: &Client, name: &str, setting: &str) -> Result<()> {
    for _ in 0..50 {
        batch(client, name, 3).await?;
    }
    works_off(name, setting, 150).await
}

async fn fifty_empty_windows(client: &Client, name: &str, setting: &str) -> Result<()> {
    for _ in 0..50 {
        tick(client, name).await?;
    }
    event(client, name, Event::default()).await?;
    works_off(name, setting, 1).await
}

#[test]
fn fifty_batches_and_fifty_empty_windows() -> Result<()> {
    wait(async {
        let client = queue("drain").await?;
        fifty_batches(&client, "drain", "").await?;
        fifty_empty_windows(&client, "drain", "").await?;
        eventually("the last batch is finished", async || Ok(client.receive("drain", "reader", 1).await?.is_empty()))
            .await?;
        client.drop_queue("drain", true).await.map(drop)
    })
}

#[test]
fn the_same_on_an_engine_that_has_only_what_pgque_0_2_has() -> Result<()> {
    wait(async {
        // In a database of its own, for the engine is changed.
        let client = queue_in("old_engine").await?;
        client.connection().expect("our own").execute_script(OLD_ENGINE).await?;
        let client = Client::connect(&dsn_with("dbname=old_engine")).await?;
        assert!(!client.capabilities().await?.finish);
        fifty_batches(&client, "drain", "dbname=old_engine").await?;
        fifty_empty_windows(&client, "drain", "dbname=old_engine").await
    })
}

#[test]
fn a_finish_that_nobody_waits_for_leaves_no_transaction_open_on_such_an_engine() -> Result<()> {
    wait(async {
        let client = queue_in("old_engine_finish").await?;
        client.connection().expect("our own").execute_script(OLD_ENGINE).await?;
        let client = Client::connect(&dsn_with("dbname=old_engine_finish")).await?;
        assert!(!client.capabilities().await?.finish);
        batch(&client, "drain", 1).await?;
        let message = client.receive("drain", "reader", 10).await?.remove(0);
        let other = Client::connect(&dsn_with("dbname=old_engine_finish")).await?;
        let lock = other.connection().expect("our own");
        lock.begin().await?;
        lock.execute_script("lock table pgque.retry_queue in access exclusive mode").await?;
        let verdicts = [(message.msg_id, Verdict::Retry { after: None, reason: None })];
        let finish = client.finish(message.batch_id, &verdicts);
        tokio::time::timeout(Duration::from_millis(300), finish).await.expect_err("it is stuck");
        lock.rollback().await?;
        client.send("drain", &Event::default()).await?;
        assert_eq!(client.connection().expect("our own").transaction_status(), TransactionStatus::Idle);
        assert_eq!(number(&other, "select count(*) from pgque.event_1").await?, 2, "it is committed");
        assert_eq!(client.finish(message.batch_id, &verdicts).await?, 1, "nothing was done by half");
        Ok(())
    })
}

/// A database of that name with the queue `drain`.
async fn queue_in(database: &str) -> Result<Client> {
    let admin = Client::connect(&dsn_with("")).await?;
    let run = async |sql: String| admin.connection().expect("our own").execute_script(&sql).await;
    run(format!("drop database if exists {database}")).await?;
    run(format!("create database {database}")).await?;
    let client = Client::connect(&dsn_with(&format!("dbname={database}"))).await?;
    pgque::install(&client).await?;
    client.create_queue("drain").await?;
    client.subscribe("drain", "reader").await?;
    Ok(client)
}
