//! The consumer's loop against a real server, as far as the scenarios of `tests/conformance` do not reach.
//!
//! `PGQUE_TEST_DSN` names a server where the role may install the engine.

use pgque::{Client, Consumer, ConsumerOptions, Event, Interval, Next, Result, Settings, Verdict};

fn dsn() -> String {
    std::env::var("PGQUE_TEST_DSN").expect("PGQUE_TEST_DSN is set; run scripts/test")
}

/// Sends so many events to a queue of the test's own and makes its consumer `reader`.
async fn backlog(queue: &str, count: usize) -> Result<(Client, Consumer)> {
    let client = Client::connect(&dsn()).await?;
    pgque::install(&client).await?;
    client.drop_queue(queue, true).await.ok();
    client.create_queue(queue).await?;
    client.subscribe(queue, "reader").await?;
    for _ in 0..count {
        client.send(queue, &Event::default()).await?;
    }
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
