//! How a consumer stops.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pgque::runtime::wait;
use pgque::{Next, Result, Verdict};

use crate::support::{batch, number, queue, reader};

const NAP: Duration = Duration::from_millis(20);

#[test]
fn an_idle_consumer_stops_at_once_and_can_be_used_again() -> Result<()> {
    wait(async {
        let client = queue("stop_idle").await?;
        let consumer = reader("stop_idle", &[])?;
        consumer.stop();
        assert!(matches!(consumer.next(None).await?, Next::Stopped), "a stop before the start holds");
        assert!(matches!(consumer.next(Some(NAP)).await?, Next::Idle), "and is over");
        let mut times = vec![];
        for _ in 0..15 {
            let stopping = consumer.clone();
            let later = tokio::spawn(async move {
                tokio::time::sleep(NAP).await;
                stopping.stop();
                Instant::now()
            });
            assert!(matches!(consumer.next(None).await?, Next::Stopped));
            times.push(later.await.expect("the task ends").elapsed());
        }
        times.sort();
        assert!(times[times.len() / 2] <= Duration::from_millis(50), "the median of {times:?}");
        client.drop_queue("stop_idle", true).await.map(drop)
    })
}

/// Stops at the third of ten messages; how many handlers ran, and what the server then has.
fn stopped_at_the_third(name: &str, options: &[(&str, &str)], again: bool) -> Result<(usize, i64, i64)> {
    wait(async {
        let client = queue(name).await?;
        batch(&client, name, 10).await?;
        let consumer = reader(name, options)?;
        let handled = AtomicUsize::new(0);
        let run = consumer.run(async |_, _, _| {
            if handled.fetch_add(1, Ordering::Relaxed) == 2 {
                consumer.stop();
                if again {
                    consumer.stop();
                }
            }
            tokio::time::sleep(NAP).await;
            Verdict::Ack
        });
        run.await?;
        let retries =
            "select count(*) from pgque.retry_queue join pgque.queue on queue_id = ev_queue where queue_name =";
        let back = number(&client, &format!("{retries} '{name}'")).await?;
        let counted = number(&client, &format!("{retries} '{name}' and ev_retry > 0")).await?;
        assert!(client.receive(name, "reader", 100).await?.is_empty(), "the batch is finished");
        assert_eq!(i64::try_from(consumer.stats().handed_back), Ok(back));
        client.drop_queue(name, true).await?;
        Ok((handled.load(Ordering::Relaxed), back, counted))
    })
}

#[test]
fn drain_finishes_the_batch() -> Result<()> {
    assert_eq!(stopped_at_the_third("stop_drain", &[], false)?, (10, 0, 0));
    Ok(())
}

#[test]
fn handback_leaves_the_rest_without_counting_an_attempt() -> Result<()> {
    assert_eq!(stopped_at_the_third("stop_handback", &[("stop_policy", "handback")], false)?, (3, 7, 0));
    Ok(())
}

#[test]
fn a_second_stop_does_not_wait_even_for_the_handler_that_runs() -> Result<()> {
    assert_eq!(stopped_at_the_third("stop_forced", &[], true)?, (3, 8, 0));
    Ok(())
}

#[test]
fn the_deadline_ends_a_drain() -> Result<()> {
    let (handled, back, counted) = stopped_at_the_third("stop_deadline", &[("stop_timeout", "0.05")], false)?;
    assert!((4..8).contains(&handled), "{handled} of ten were handled");
    assert!(back >= 10 - i64::try_from(handled).unwrap() && counted == 0, "{back} went back");
    Ok(())
}

#[test]
fn several_handlers_at_once_are_all_waited_for() -> Result<()> {
    wait(async {
        let client = queue("stop_lanes").await?;
        batch(&client, "stop_lanes", 8).await?;
        let consumer = reader("stop_lanes", &[("concurrency", "4"), ("stop_policy", "handback")])?;
        let inside = AtomicUsize::new(0);
        let run = consumer.run(async |_, _, _| {
            if inside.fetch_add(1, Ordering::Relaxed) == 3 {
                consumer.stop();
            }
            tokio::time::sleep(NAP).await;
            Verdict::Ack
        });
        run.await?;
        assert_eq!((consumer.stats().handled, consumer.stats().handed_back), (4, 4));
        client.drop_queue("stop_lanes", true).await.map(drop)
    })
}

#[test]
fn a_finished_batch_hands_nothing_out_and_takes_no_verdict() -> Result<()> {
    wait(async {
        let client = queue("stop_late").await?;
        batch(&client, "stop_late", 3).await?;
        let consumer = reader("stop_late", &[])?;
        let Next::Batch(late) = consumer.next(None).await? else { panic!("there is a batch") };
        let first = late.take().expect("a message");
        consumer.stop();
        consumer.stop();
        consumer.finish(&late).await?;
        assert!(matches!(consumer.next(None).await?, Next::Stopped));
        assert_eq!(late.take(), None, "although the stop is over");
        late.settle(first, Verdict::Ack);
        assert_eq!((consumer.stats().handled, consumer.stats().handed_back), (0, 3));
        client.drop_queue("stop_late", true).await.map(drop)
    })
}

#[test]
fn a_run_that_ends_by_itself_leaves_no_stop_behind() -> Result<()> {
    wait(async {
        let client = queue("stop_stale").await?;
        batch(&client, "stop_stale", 2).await?;
        let consumer = reader("stop_stale", &[])?;
        consumer.begin_run()?;
        let Next::Batch(left) = consumer.next(None).await? else { panic!("there is a batch") };
        consumer.stop();
        // The handler's own exception ends the run before the loop gets to answer the stop.
        consumer.close().await;
        assert_eq!(left.take(), None, "nothing more of an abandoned batch");
        consumer.begin_run()?;
        let next = consumer.next(None).await?;
        assert!(matches!(&next, Next::Batch(again) if again.messages().len() == 2), "{next:?}");
        consumer.close().await;
        client.drop_queue("stop_stale", true).await.map(drop)
    })
}
