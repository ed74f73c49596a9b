//! Batches that are too large to be held.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pgque::runtime::wait;
use pgque::{Interval, Kind, Next, Outcome, Payloads, Result, Verdict};

use crate::support::{PATIENCE, batch, consumer, number, queue, reader, tick};

/// A page stays with its worker for 15 s.
const LEASE_AND_MORE: Duration = Duration::from_secs(30);

#[test]
fn a_large_batch_comes_in_pages_and_each_message_once() -> Result<()> {
    wait(async {
        let client = queue("pages").await?;
        let sent = batch(&client, "pages", 1000).await?;
        batch(&client, "pages", 3).await?;
        let consumer = reader("pages", &[("page_size", "300")])?;
        let (mut ids, mut sizes) = (vec![], vec![]);
        while ids.len() < 1003 {
            let Next::Batch(page) = consumer.next(Some(PATIENCE)).await? else { panic!("there is a page") };
            sizes.push(page.messages().len());
            while let Some(index) = page.take() {
                ids.push(page.messages()[index].msg_id);
                // One of each page fails.
                let fails = index == 7;
                page.settle(index, if fails { Outcome::Failed { error: "no".into() } } else { Verdict::Ack.into() });
            }
            consumer.finish(&page).await?;
        }
        assert_eq!(sizes, [300, 300, 300, 100, 3]);
        assert_eq!(ids[..1000], sent);
        let retries = "select count(*) from pgque.retry_queue join pgque.queue on queue_id = ev_queue \
             where queue_name = 'pages' and ev_retry_after > now() + interval '50 seconds'";
        assert_eq!(number(&client, retries).await?, 4);
        assert!(matches!(consumer.next(Some(Duration::from_millis(50))).await?, Next::Idle));
        client.drop_queue("pages", true).await.map(drop)
    })
}

#[test]
fn a_page_that_was_not_finished_comes_again_and_what_was_does_not() -> Result<()> {
    wait(async {
        let client = queue("pages_again").await?;
        let sent = batch(&client, "pages_again", 30).await?;
        let first = reader("pages_again", &[("page_size", "10")])?;
        let Next::Batch(page) = first.next(Some(PATIENCE)).await? else { panic!("there is a page") };
        while let Some(index) = page.take() {
            page.settle(index, Verdict::Ack);
        }
        first.finish(&page).await?;
        let Next::Batch(_) = first.next(Some(PATIENCE)).await? else { panic!("there is a second page") };
        first.close().await;
        // The page is leased to the first for some seconds more.
        let second = reader("pages_again", &[("page_size", "10")])?;
        let mut ids = vec![];
        while ids.len() < 20 {
            let Next::Batch(page) = second.next(Some(LEASE_AND_MORE)).await? else { panic!("the page is free") };
            while let Some(index) = page.take() {
                ids.push(page.messages()[index].msg_id);
                page.settle(index, Verdict::Ack);
            }
            second.finish(&page).await?;
        }
        assert_eq!(ids, sent[10..]);
        client.drop_queue("pages_again", true).await.map(drop)
    })
}

#[test]
fn a_page_that_was_read_ahead_is_free_at_once_after_a_stop() -> Result<()> {
    wait(async {
        let client = queue("pages_free").await?;
        let sent = batch(&client, "pages_free", 30).await?;
        let first = reader("pages_free", &[("page_size", "10"), ("stop_policy", "handback")])?;
        let Next::Batch(page) = first.next(Some(PATIENCE)).await? else { panic!("there is a page") };
        while let Some(index) = page.take() {
            page.settle(index, Verdict::Ack);
        }
        // With this the second page is the first's, which stops before it asks for it.
        first.finish(&page).await?;
        first.stop();
        assert!(matches!(first.next(Some(PATIENCE)).await?, Next::Stopped));
        let second = reader("pages_free", &[("page_size", "10")])?;
        let Next::Batch(page) = second.next(Some(Duration::from_secs(5))).await? else { panic!("the page is free") };
        assert_eq!(page.messages().iter().map(|m| m.msg_id).collect::<Vec<_>>(), sent[10..20]);
        second.close().await;
        client.drop_queue("pages_free", true).await.map(drop)
    })
}

/// They share a connection, on which an answer that nobody takes holds up all that is behind it. It takes a consumer
/// that is slow between two steps of its own; of several at once some are.
#[test]
fn reading_ahead_never_holds_up_the_acknowledgement() -> Result<()> {
    const CONSUMERS: usize = 8;
    let client = wait(queue("pages_ahead"))?;
    let count = wait(batch(&client, "pages_ahead", 60_000))?.len();
    let names: Vec<String> = (0..CONSUMERS).map(|n| format!("reader{n}")).collect();
    for name in &names {
        wait(client.subscribe("pages_ahead", name))?;
    }
    wait(batch(&client, "pages_ahead", count))?;
    let work = |name: &str| -> Result<()> {
        let consumer = consumer("pages_ahead", name, &[])?;
        consumer.on("*")?;
        let mut handled = 0;
        while handled < count {
            let Next::Batch(page) = wait(consumer.next(Some(PATIENCE)))? else { panic!("there is a page") };
            while let Some(index) = page.take() {
                page.settle(index, Verdict::Ack);
                handled += 1;
            }
            let finished = async { Ok(tokio::time::timeout(PATIENCE, consumer.finish(&page)).await) };
            wait(finished)?.expect("the acknowledgement gets through")?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = names.iter().map(|name| scope.spawn(|| work(name))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    wait(client.drop_queue("pages_ahead", true)).map(drop)
}

#[test]
fn a_page_that_ends_with_the_batch_finishes_it() -> Result<()> {
    wait(async {
        let client = queue("pages_even").await?;
        batch(&client, "pages_even", 30).await?;
        let consumer = reader("pages_even", &[("page_size", "10")])?;
        for _ in 0..3 {
            let Next::Batch(page) = consumer.next(Some(PATIENCE)).await? else { panic!("there is a page") };
            assert_eq!(page.messages().len(), 10);
            while let Some(index) = page.take() {
                page.settle(index, Verdict::Ack);
            }
            consumer.finish(&page).await?;
        }
        let open = "select count(*) from pgque.subscription join pgque.queue on queue_id = sub_queue \
             where queue_name = 'pages_even' and sub_batch is not null";
        assert_eq!(number(&client, open).await?, 0);
        client.drop_queue("pages_even", true).await.map(drop)
    })
}

#[test]
fn a_verdict_that_the_server_refuses_loses_no_page() -> Result<()> {
    wait(async {
        let client = queue("pages_verdict").await?;
        let sent = batch(&client, "pages_verdict", 45).await?;
        let consumer = reader("pages_verdict", &[("page_size", "10")])?;
        let mut ids = vec![];
        while ids.len() < 45 {
            let Next::Batch(page) = consumer.next(Some(PATIENCE)).await? else { panic!("there is a page") };
            while let Some(index) = page.take() {
                ids.push(page.messages()[index].msg_id);
                let retry = Verdict::Retry { after: Some(Interval::Text("no time".into())), reason: None };
                page.settle(index, if index == 3 { retry } else { Verdict::Ack });
            }
            consumer.finish(&page).await?;
        }
        assert_eq!(ids, sent);
        client.drop_queue("pages_verdict", true).await.map(drop)
    })
}

#[test]
fn pages_of_large_messages_have_fewer_of_them() -> Result<()> {
    wait(async {
        let client = queue("pages_bytes").await?;
        let payload = format!("\"{}\"", "x".repeat(1 << 20));
        client.send_batch("pages_bytes", None, Payloads::Json(vec![payload; 40])).await?;
        tick(&client, "pages_bytes").await?;
        let consumer = reader("pages_bytes", &[("page_size", "12")])?;
        let mut sizes = vec![];
        while sizes.iter().sum::<usize>() < 40 {
            let Next::Batch(page) = consumer.next(Some(PATIENCE)).await? else { panic!("there is a page") };
            sizes.push(page.messages().len());
            while let Some(index) = page.take() {
                page.settle(index, Verdict::Ack);
            }
            consumer.finish(&page).await?;
        }
        assert_eq!(sizes[..3], [12, 3, 3], "four megabytes and no more, once their size is known");
        client.drop_queue("pages_bytes", true).await.map(drop)
    })
}

#[test]
fn a_stop_finishes_the_large_batch_to_its_last_page() -> Result<()> {
    wait(async {
        let client = queue("pages_drain").await?;
        batch(&client, "pages_drain", 50).await?;
        batch(&client, "pages_drain", 5).await?;
        let consumer = reader("pages_drain", &[("page_size", "10")])?;
        let handled = AtomicUsize::new(0);
        let run = consumer.run(async |_, _, _| {
            if handled.fetch_add(1, Ordering::Relaxed) == 3 {
                consumer.stop();
            }
            Verdict::Ack
        });
        run.await?;
        assert_eq!(handled.load(Ordering::Relaxed), 50);
        assert_eq!(client.receive("pages_drain", "reader", 100).await?.len(), 5, "the next batch is untouched");
        client.drop_queue("pages_drain", true).await.map(drop)
    })
}

#[test]
fn a_limit_of_the_users_own_is_an_error_as_ever() -> Result<()> {
    wait(async {
        let client = queue("pages_limit").await?;
        batch(&client, "pages_limit", 11).await?;
        let consumer = reader("pages_limit", &[("max_messages", "10")])?;
        let error = consumer.next(Some(PATIENCE)).await.unwrap_err();
        assert_eq!((error.kind(), error.configured_limit()), (Kind::Overflow, Some(10)));
        client.drop_queue("pages_limit", true).await.map(drop)
    })
}
