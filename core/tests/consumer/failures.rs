//! What becomes of messages whose handlers fail, and of verdicts that cannot be carried out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pgque::runtime::wait;
use pgque::{Event, Interval, Next, Outcome, Result, Verdict};

use crate::support::{PATIENCE, batch, consumer, event, number, queue, reader};

fn failed(error: &str) -> Outcome {
    Outcome::Failed { error: error.into() }
}

/// Fetches a batch, settles its messages in order, and finishes it.
async fn settle(consumer: &pgque::Consumer, outcomes: Vec<Outcome>) -> Result<()> {
    let Next::Batch(batch) = consumer.next(Some(PATIENCE)).await? else { panic!("there is a batch") };
    for outcome in outcomes {
        let index = batch.take().expect("another message");
        batch.settle(index, outcome);
    }
    consumer.finish(&batch).await
}

/// Of the messages in the retry queue of a queue.
async fn retry(client: &pgque::Client, queue: &str, what: &str) -> Result<i64> {
    let of = "from pgque.retry_queue join pgque.queue on queue_id = ev_queue where queue_name =";
    number(client, &format!("select {what} {of} '{queue}'")).await
}

#[test]
fn an_interval_that_the_server_cannot_read_does_not_end_the_loop() -> Result<()> {
    wait(async {
        let client = queue("bad_interval").await?;
        batch(&client, "bad_interval", 3).await?;
        let after = |text: &str| Verdict::Retry { after: Some(Interval::Text(text.into())), reason: None }.into();
        let outcomes = vec![after("nonsense"), after("5 minutes"), Verdict::Ack.into()];
        settle(&reader("bad_interval", &[])?, outcomes).await?;
        assert!(client.receive("bad_interval", "reader", 10).await?.is_empty(), "the batch is finished");
        assert_eq!(retry(&client, "bad_interval", "count(*)").await?, 2);
        client.drop_queue("bad_interval", true).await.map(drop)
    })
}

#[test]
fn exponential_delays_grow_with_the_attempt() -> Result<()> {
    wait(async {
        let client = queue("exponential").await?;
        event(&client, "exponential", Event::default()).await?;
        let options = [("retry_backoff", "exponential"), ("retry_after", "100"), ("retry_after_max", "250")];
        let consumer = reader("exponential", &options)?;
        for (least, most) in [(50, 100), (100, 200), (125, 250)] {
            settle(&consumer, vec![failed("no luck")]).await?;
            let delay = retry(&client, "exponential", "extract(epoch from ev_retry_after - now())::bigint").await?;
            assert!((least - 10..=most).contains(&delay), "{delay} s, expected {least} to {most}");
            let now = "update pgque.retry_queue set ev_retry_after = now() - interval '1 second'";
            client.connection().expect("our own").execute(now, &[]).await?;
            client.maint_retry_events().await?;
            crate::support::tick(&client, "exponential").await?;
        }
        client.drop_queue("exponential", true).await.map(drop)
    })
}

#[test]
fn a_callback_decides_with_the_attempt_and_the_error() -> Result<()> {
    wait(async {
        let client = queue("callback").await?;
        batch(&client, "callback", 3).await?;
        let consumer = reader("callback", &[])?;
        consumer.on_failure(|attempt, error| match error {
            "hopeless" => Some(Verdict::Dead { reason: None }),
            "later" => {
                Some(Verdict::Retry { after: Some(Interval::Seconds(5000.0)), reason: Some(format!("{attempt}")) })
            }
            _ => None,
        });
        settle(&consumer, vec![failed("hopeless"), failed("later"), failed("as usual")]).await?;
        let dead = client.dlq_inspect("callback", 10).await?;
        assert_eq!(dead.get(0, "reason"), Some(&pgque::Value::Text("hopeless".into())));
        assert_eq!(retry(&client, "callback", "count(*)").await?, 2);
        let far = "count(*) filter (where ev_retry_after > now() + interval '4000 seconds')";
        assert_eq!(retry(&client, "callback", far).await?, 1);
        assert_eq!((consumer.stats().failed, consumer.stats().dead, consumer.stats().retried), (3, 1, 2));
        client.drop_queue("callback", true).await.map(drop)
    })
}

#[test]
fn hooks_see_each_message_and_its_outcome() -> Result<()> {
    wait(async {
        let client = queue("hooks").await?;
        batch(&client, "hooks", 2).await?;
        let consumer = reader("hooks", &[])?;
        let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (begins, ends) = (begun.clone(), ended.clone());
        consumer.before_message(move |_| {
            begins.fetch_add(1, Ordering::Relaxed);
        });
        consumer.after_message(move |_, outcome, time| {
            assert!(time >= Duration::ZERO);
            ends.fetch_add(if *outcome == Outcome::from(Verdict::Ack) { 1 } else { 10 }, Ordering::Relaxed);
        });
        settle(&consumer, vec![Verdict::Ack.into(), failed("no")]).await?;
        assert_eq!((begun.load(Ordering::Relaxed), ended.load(Ordering::Relaxed)), (2, 11));
        client.drop_queue("hooks", true).await.map(drop)
    })
}

#[test]
fn a_batch_that_cannot_be_finished_stays_whole_and_is_not_hammered() -> Result<()> {
    wait(async {
        let client = queue("unfinishable").await?;
        batch(&client, "unfinishable", 3).await?;
        let run = async |sql: &str| client.connection().expect("our own").execute_script(sql).await;
        let id = number(&client, "select queue_id from pgque.queue where queue_name = 'unfinishable'").await?;
        run(&format!(
            "create or replace function refuse() returns trigger language plpgsql as \
             $$ begin raise exception 'no' using errcode = '40001'; end $$; \
             create trigger refuse before insert on pgque.retry_queue for each row \
             when (new.ev_queue = {id}) execute function refuse()"
        ))
        .await?;
        let consumer = reader("unfinishable", &[])?;
        let tries = AtomicUsize::new(0);
        let handled = consumer.run(async |_, message, batch| {
            if message.msg_id == batch.messages()[0].msg_id && tries.fetch_add(1, Ordering::Relaxed) == 4 {
                consumer.stop();
            }
            failed("always")
        });
        let began = std::time::Instant::now();
        handled.await?;
        // Pauses of at least 0.1, 0.2, 0.4 and 0.8 s, less or more by jitter.
        assert!(began.elapsed() > Duration::from_millis(700), "five tries in {:?}", began.elapsed());
        run("drop trigger refuse on pgque.retry_queue").await?;
        assert_eq!(retry(&client, "unfinishable", "count(*)").await?, 0, "nothing half done");
        assert_eq!(client.receive("unfinishable", "reader", 10).await?.len(), 3, "the batch is whole");
        client.drop_queue("unfinishable", true).await.map(drop)
    })
}

#[test]
fn a_batch_handlers_answer_decides_and_what_it_leaves_out_has_failed() -> Result<()> {
    wait(async {
        let client = queue("whole").await?;
        batch(&client, "whole", 4).await?;
        let consumer = consumer("whole", "reader", &[])?;
        consumer.on_batch()?;
        assert!(consumer.on("a").is_err());
        let run = consumer.run_batches(async |messages, _| {
            assert_eq!(messages.len(), 4);
            consumer.stop();
            vec![Some(Verdict::Ack.into()), None, Some(Verdict::Dead { reason: Some("bad".into()) }.into())]
        });
        run.await?;
        assert_eq!(retry(&client, "whole", "count(*)").await?, 2);
        assert_eq!(client.dlq_inspect("whole", 10).await?.rows.len(), 1);
        client.drop_queue("whole", true).await.map(drop)
    })
}
