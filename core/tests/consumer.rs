//! The consumer's loop against a real server, as far as the scenarios of `tests/conformance` do not reach.
//!
//! `PGQUE_TEST_DSN` names a server where the role may install the engine.

use std::time::Duration;

use pgque::{Client, Consumer, ConsumerOptions, Event, Interval, Next, Payloads, Result, Settings, Verdict};
use tokio::sync::OnceCell;

/// Shorter than the poll interval of 30 s.
const PATIENCE: Duration = Duration::from_secs(2);

static INSTALLED: OnceCell<()> = OnceCell::const_new();

fn dsn() -> String {
    std::env::var("PGQUE_TEST_DSN").expect("PGQUE_TEST_DSN is set; run scripts/test")
}

/// Sends so many events to a queue of the test's own and makes its consumer `reader`.
async fn backlog(queue: &str, count: usize) -> Result<(Client, Consumer)> {
    let client = Client::connect(&dsn()).await?;
    INSTALLED.get_or_try_init(|| pgque::install(&client)).await?;
    client.drop_queue(queue, true).await.ok();
    client.create_queue(queue).await?;
    client.subscribe(queue, "reader").await?;
    // One statement, so that one batch has them all whoever else ticks.
    client.send_batch(queue, None, Payloads::Json(vec!["null".into(); count])).await?;
    client.force_tick(queue).await?;
    client.ticker(queue).await?;
    let consumer = Consumer::new(Settings::parse(&dsn())?, ConsumerOptions::new(queue, "reader"))?;
    consumer.on("*");
    Ok((client, consumer))
}

#[test]
fn an_interval_that_the_server_cannot_read_does_not_end_the_loop() -> Result<()> {
    pgque::runtime::wait(async {
        let (client, consumer) = backlog("bad_interval", 3).await?;
        let retry = |after: &str| Verdict::Retry { after: Some(Interval::Text(after.into())), reason: None };
        let Next::Batch(batch) = consumer.next(None).await? else { panic!("there is a batch") };
        let verdicts = vec![Some(retry("nonsense")), Some(retry("5 minutes")), Some(Verdict::Ack)];
        consumer.finish(&batch, verdicts).await?;
        assert!(client.receive("bad_interval", "reader", 10).await?.is_empty(), "the batch is finished");
        client.drop_queue("bad_interval", true).await.map(drop)
    })
}

#[test]
fn an_idle_worker_takes_a_dead_ones_batch_over_long_before_it_would_poll() -> Result<()> {
    pgque::runtime::wait(async {
        let (client, _) = backlog("takeover", 0).await?;
        let worker = |member: &str| {
            let mut options = ConsumerOptions::new("takeover", "group");
            options.subconsumer = Some(member.into());
            options.dead_interval = Some(Interval::Seconds(0.3));
            Consumer::new(Settings::parse(&dsn())?, options)
        };
        let (dies, idle) = (worker("dies")?, worker("idle")?);
        client.subscribe_subconsumer("takeover", "group", "dies", false).await?;
        client.subscribe_subconsumer("takeover", "group", "idle", false).await?;
        client.send("takeover", &Event::default()).await?;
        client.force_tick("takeover").await?;
        client.ticker("takeover").await?;
        let next = dies.next(Some(PATIENCE)).await?;
        assert!(matches!(next, Next::Batch(_)), "{next:?}");
        assert!(matches!(idle.next(Some(Duration::from_millis(50))).await?, Next::Idle));
        dies.close().await; // and with it the heart-beat
        let next = idle.next(Some(PATIENCE)).await?;
        assert!(matches!(next, Next::Batch(_)), "{next:?}");
        client.drop_queue("takeover", true).await.map(drop)
    })
}

#[test]
fn a_worker_whose_connection_is_lost_while_its_handlers_run_is_not_taken_for_dead() -> Result<()> {
    const DEAD_AFTER: Duration = Duration::from_millis(600);
    pgque::runtime::wait(async {
        let (client, _) = backlog("cut_off", 0).await?;
        client.subscribe_subconsumer("cut_off", "group", "works", false).await?;
        client.send("cut_off", &Event::default()).await?;
        client.force_tick("cut_off").await?;
        client.ticker("cut_off").await?;
        let mut options = ConsumerOptions::new("cut_off", "group");
        options.subconsumer = Some("works".into());
        options.dead_interval = Some(DEAD_AFTER.into());
        let settings = format!("{}{}application_name=cut_off", dsn(), if dsn().contains("://") { "?" } else { " " });
        let works = Consumer::new(Settings::parse(&settings)?, options)?;
        let next = works.next(Some(PATIENCE)).await?;
        assert!(matches!(next, Next::Batch(_)), "{next:?}");
        let end = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'cut_off'";
        client.connection().expect("our own").execute(end, &[]).await?;
        tokio::time::sleep(2 * DEAD_AFTER).await;
        let stolen = client.receive_coop("cut_off", "group", "thief", 10, Some(&DEAD_AFTER.into())).await?;
        assert!(stolen.is_empty(), "the batch of a live worker was taken over");
        works.close().await;
        client.drop_queue("cut_off", true).await.map(drop)
    })
}
