//! What the producer costs beside the calls that it is made of, in one run on one server.
//!
//!   scripts/db cargo run --release --package pgque --example producer [seconds]
//!
//! 64 concurrent senders that each wait for their ids, against `send_batch` of 1000; one lone sender, against `send`.
//! Rounds are interleaved, and medians compared, so that a busy machine disturbs both sides alike.

use std::time::{Duration, Instant};

use pgque::runtime::{handle, wait};
use pgque::{Client, Event, Payload, Payloads, Producer, ProducerOptions, Result, Settings};

const ROUNDS: usize = 9;
const BODY: &str = r#"{"id": 12345, "name": "something of an ordinary size"}"#;

fn event() -> Event {
    Event { event_type: Some("bench".into()), payload: Payload::Json(BODY.into()), ..Event::default() }
}

/// Events per second of 1000 at a time.
async fn batches(client: &Client, time: Duration) -> Result<f64> {
    let (begin, mut sent) = (Instant::now(), 0);
    while begin.elapsed() < time {
        sent += client.send_batch("bench", Some("bench"), Payloads::Json(vec![BODY.into(); 1000])).await?.len();
    }
    Ok(sent as f64 / begin.elapsed().as_secs_f64())
}

/// Events per second of so many senders, each with one event on its way.
async fn senders(producer: &Producer, count: usize, time: Duration) -> Result<f64> {
    let begin = Instant::now();
    let tasks: Vec<_> = (0..count)
        .map(|_| {
            let producer = producer.clone();
            tokio::spawn(async move {
                let (event, mut sent) = (event(), 0);
                while begin.elapsed() < time {
                    producer.send("bench", &event).await?;
                    sent += 1;
                }
                Ok::<usize, pgque::Error>(sent)
            })
        })
        .collect();
    let mut sent = 0;
    for task in tasks {
        sent += task.await.unwrap_or(Ok(0))?;
    }
    Ok(sent as f64 / begin.elapsed().as_secs_f64())
}

/// Calls per second of one after the other.
async fn sends(client: &Client, time: Duration) -> Result<f64> {
    let (begin, event, mut sent) = (Instant::now(), event(), 0);
    while begin.elapsed() < time {
        client.send("bench", &event).await?;
        sent += 1;
    }
    Ok(f64::from(sent) / begin.elapsed().as_secs_f64())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Result<()> {
    let dsn = std::env::var("PGQUE_TEST_DSN").unwrap_or_default();
    let seconds = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(1.0);
    let time = Duration::from_secs_f64(seconds);
    let client = wait(Client::connect(&dsn))?;
    wait(pgque::install(&client))?;
    wait(client.create_queue("bench"))?;
    let producer = Producer::new(Settings::parse(&dsn)?, ProducerOptions::default())?;
    let mut shared = (0, 0);
    let mut rates = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        rates[0].push(wait(batches(&client, time))?);
        let (several, lone, before) = (producer.clone(), producer.clone(), producer.stats());
        // On the runtime's own threads, where a service would have them.
        let many = handle()?.spawn(async move { senders(&several, 64, time).await });
        rates[1].push(wait(async { many.await.unwrap_or(Ok(0.0)) })?);
        let after = producer.stats();
        shared = (shared.0 + after.sent - before.sent, shared.1 + after.batches - before.batches);
        rates[2].push(wait(sends(&client, time))?);
        let one = handle()?.spawn(async move { senders(&lone, 1, time).await });
        rates[3].push(wait(async { one.await.unwrap_or(Ok(0.0)) })?);
    }
    let [batch, many, send, lone] = rates.map(median);
    println!("send_batch x 1000      {batch:9.0}/s");
    println!("producer, 64 senders   {many:9.0}/s   {:.2} x   (to reach: 0.80)", many / batch);
    println!("send                   {send:9.0}/s   {:6.0} us", 1e6 / send);
    println!("producer, lone sender  {lone:9.0}/s   {:6.0} us   {:.2} x   (to reach: 1.30)", 1e6 / lone, send / lone);
    println!("average batch of 64 senders {:4.1}", shared.0 as f64 / shared.1 as f64);
    wait(producer.close(Duration::from_secs(10)))
}
