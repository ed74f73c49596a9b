//! A queue with a backlog and its consumer, for each test its own.

use std::time::{Duration, Instant};

use pgque::{Client, Consumer, ConsumerOptions, Event, Payloads, Result, Settings};
use tokio::sync::OnceCell;

/// Shorter than the poll interval of 30 s.
pub const PATIENCE: Duration = Duration::from_secs(10);

static INSTALLED: OnceCell<()> = OnceCell::const_new();

pub fn dsn() -> String {
    std::env::var("PGQUE_TEST_DSN").expect("PGQUE_TEST_DSN is set; run scripts/test")
}

/// The same server, with another keyword of the connection string.
pub fn dsn_with(setting: &str) -> String {
    let dsn = dsn();
    let separator = match (dsn.contains("://"), dsn.contains('?')) {
        (true, true) => "&",
        (true, false) => "?",
        (false, _) => " ",
    };
    format!("{dsn}{separator}{setting}")
}

/// A fresh queue with the consumer `reader` subscribed.
pub async fn queue(name: &str) -> Result<Client> {
    let client = Client::connect(&dsn()).await?;
    INSTALLED.get_or_try_init(|| pgque::install(&client)).await?;
    client.drop_queue(name, true).await.ok();
    client.create_queue(name).await?;
    client.subscribe(name, "reader").await?;
    Ok(client)
}

/// One batch of so many events; their ids.
pub async fn batch(client: &Client, queue: &str, count: usize) -> Result<Vec<i64>> {
    // One statement, so that one batch has them all whoever else ticks.
    let ids = client.send_batch(queue, None, Payloads::Json(vec!["null".into(); count])).await?;
    tick(client, queue).await?;
    Ok(ids)
}

/// One batch with one event.
pub async fn event(client: &Client, queue: &str, event: Event) -> Result<i64> {
    let id = client.send(queue, &event).await?;
    tick(client, queue).await?;
    Ok(id)
}

pub async fn tick(client: &Client, queue: &str) -> Result<()> {
    client.force_tick(queue).await?;
    client.ticker(queue).await.map(drop)
}

/// A consumer `reader` with one handler for everything, and options by name.
pub fn reader(queue: &str, options: &[(&str, &str)]) -> Result<Consumer> {
    let consumer = consumer(queue, "reader", options)?;
    consumer.on("*")?;
    Ok(consumer)
}

pub fn consumer(queue: &str, name: &str, options: &[(&str, &str)]) -> Result<Consumer> {
    let mut chosen = ConsumerOptions::new(queue, name);
    options.iter().try_for_each(|(name, value)| chosen.set(name, value))?;
    Consumer::new(Settings::parse(&dsn())?, chosen)
}

pub async fn number(client: &Client, sql: &str) -> Result<i64> {
    let rows = client.connection().expect("our own").execute(sql, &[]).await?.rows;
    match rows.first().and_then(|row| row.first()) {
        Some(pgque::Value::Int(number)) => Ok(*number),
        other => panic!("a number was expected of {sql}, not {other:?}"),
    }
}

/// Looks again and again until it is so.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !is_so().await? {
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
