//! `pgque tail`: follows a queue, one message on a line.

use std::time::{SystemTime, UNIX_EPOCH};

use super::args::Tailing;
use super::failure::{Failure, Outcome};
use super::{output, signals};
use crate::client::{Client, Verdict};
use crate::connect::{Connection, Settings};
use crate::consumer::{Consumer, ConsumerOptions, Next};
use crate::message::{Message, Timestamp};
use crate::runtime::wait;

pub(super) fn run(settings: &Settings, tailing: &Tailing, json: bool) -> Outcome {
    // From before the subscription, for it must not stay behind.
    signals::graceful();
    if let Some(name) = &tailing.consumer {
        return wait_for(follow(settings, tailing, name, json));
    }
    let name = temporary_name();
    let client = wait(async { Ok(Client::over(Connection::open(settings.clone()).await?)) })?;
    wait(client.subscribe(&tailing.queue, &name))?;
    let outcome = wait_for(follow(settings, tailing, &name, json));
    let removed = wait(client.unsubscribe(&tailing.queue, &name));
    // A queue that was dropped meanwhile took the subscription along; the first failure is the one to tell.
    outcome.and_then(|()| removed.map(drop).map_err(Failure::from))
}

/// Two that follow the same queue must not share a place in it.
fn temporary_name() -> String {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    format!("pgque-tail-{}-{nanos}", std::process::id())
}

async fn follow(settings: &Settings, tailing: &Tailing, name: &str, json: bool) -> Outcome {
    let consumer = Consumer::new(settings.clone(), ConsumerOptions::new(&tailing.queue, name))?;
    consumer.on("*")?;
    let mut left = tailing.count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
    while left > 0 {
        let next = tokio::select! {
            next = consumer.next(None) => next?,
            () = signals::stopped() => break,
        };
        let Next::Batch(batch) = next else { break };
        let (id, all) = (batch.id(), batch.messages().len());
        let printed = print(batch.messages(), left, json)?;
        if printed < all {
            // Neither acknowledged unseen nor charged with a retry. A temporary consumer's is of no interest to anybody.
            if tailing.consumer.is_some() {
                log::warn!(target: "pgque", "batch {id} stays open and comes again: {printed} of {all} messages printed");
            }
            break;
        }
        (0..all).for_each(|index| batch.settle(index, Verdict::Ack));
        consumer.finish(&batch).await?;
        left -= printed;
    }
    consumer.close().await;
    Ok(())
}

/// Prints messages up to the limit or a signal; how many.
fn print(messages: &[Message], limit: usize, json: bool) -> Outcome<usize> {
    for (printed, message) in messages.iter().enumerate() {
        if printed == limit || signals::is_stopped() {
            return Ok(printed);
        }
        output::line(&if json { as_json(message) } else { as_text(message) })?;
    }
    Ok(messages.len())
}

fn as_text(message: &Message) -> String {
    let event_type = message.event_type.as_deref().unwrap_or("NULL");
    let payload = message.payload.as_deref().unwrap_or("NULL");
    let mut line = format!("{} {} {event_type} {payload}", message.msg_id, utc(message.created_at));
    for (number, extra) in (1..).zip(&message.extra) {
        if let Some(extra) = extra {
            line.push_str(&format!(" extra{number}={extra}"));
        }
    }
    one_line(&line)
}

/// Control characters would break the line, or play tricks with the terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

fn as_json(message: &Message) -> String {
    let [extra1, extra2, extra3, extra4] = &message.extra;
    serde_json::json!({
        "msg_id": message.msg_id,
        "batch_id": message.batch_id,
        "type": message.event_type,
        "payload": message.payload,
        "retry_count": message.retry_count,
        "created_at": utc(message.created_at),
        "extra1": extra1, "extra2": extra2, "extra3": extra3, "extra4": extra4,
    })
    .to_string()
}

/// As ISO 8601 with microseconds.
fn utc(time: Timestamp) -> String {
    let micros = time.as_unix_micros();
    let (days, rest) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000));
    let (year, month, day) = civil(days);
    let (seconds, micros) = (rest / 1_000_000, rest % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Days since 1970-01-01 as a date, counted year by year and month by month.
fn civil(mut days: i64) -> (i64, i64, i64) {
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = |year| if leap(year) { 366 } else { 365 };
    let mut year = 1970;
    while days < 0 {
        year -= 1;
        days += length(year);
    }
    while days >= length(year) {
        days -= length(year);
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

/// As [`wait`], for what fails in the command's own way.
fn wait_for(future: impl Future<Output = Outcome>) -> Outcome {
    wait(async { Ok(future.await) })?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (1_760_000_000_123_456, "2025-10-09T08:53:20.123456Z"),
        ] {
            assert_eq!(utc(Timestamp::from_unix_micros(micros)), text);
        }
    }

    #[test]
    fn a_message_stays_on_its_line() {
        assert_eq!(one_line("a\nb\u{1b}[2J é"), "a\\nb\\u{1b}[2J é");
    }
}
