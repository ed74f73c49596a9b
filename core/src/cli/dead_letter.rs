//! Dead letters: look, send again, delete.

use super::args::DeadLetter;
use super::failure::{Failure, Outcome};
use super::output;
use crate::client::{Client, Interval};
use crate::error::{Error, Kind, Result};
use crate::runtime::wait;

const COLUMNS: [(&str, &str); 7] = [
    ("dead_letter_id", "id"),
    ("dead_at", "dead at"),
    ("consumer_name", "consumer"),
    ("retry_count", "retries"),
    ("type", "type"),
    ("payload", "payload"),
    ("reason", "reason"),
];

pub(super) fn run(client: &Client, command: &DeadLetter, json: bool) -> Outcome {
    match command {
        DeadLetter::List { queue, limit } => list(client, queue, *limit, json),
        DeadLetter::Replay { queue: Some(queue), .. } => replay_all(client, queue, json),
        DeadLetter::Replay { ids, .. } => each(ids, "replayed", |id| wait(client.dlq_replay(id))),
        DeadLetter::Redeliver { queue: Some(queue), consumer, .. } => {
            let count = wait(client.dlq_redeliver_all(queue, consumer.as_deref()))?;
            output::line(&format!("{count} redelivered"))
        }
        DeadLetter::Redeliver { ids, .. } => each(ids, "redelivered", |id| wait(client.dlq_redeliver(id))),
        DeadLetter::Purge { queue, older_than } => purge(client, queue, older_than),
    }
}

/// A queue that does not exist has no dead letters either; a person should hear of the misspelt name.
fn check_queue(client: &Client, queue: &str) -> Outcome {
    match wait(client.queue_info(Some(queue)))?.rows.is_empty() {
        true => Err(Error::new(Kind::QueueNotFound, "dlq", format!("queue not found: {queue}")).into()),
        false => Ok(()),
    }
}

fn list(client: &Client, queue: &str, limit: i64, json: bool) -> Outcome {
    check_queue(client, queue)?;
    let letters = wait(client.dlq_inspect(queue, limit))?;
    if json {
        return output::line(&letters.to_json().to_string());
    }
    match letters.rows.is_empty() {
        true => output::line(&format!("queue {queue} has no dead letters")),
        false => output::table(&letters, &COLUMNS),
    }
}

/// Prints the id of each event that comes of it, one on a line.
fn each(ids: &[i64], done: &str, act: impl Fn(i64) -> Result<i64>) -> Outcome {
    for (count, id) in ids.iter().enumerate() {
        let event = act(*id).map_err(|error| match count {
            0 => Failure::from(error),
            _ => Failure::Other(format!("{error}; the {count} before it are {done}")),
        })?;
        output::line(&event.to_string())?;
    }
    Ok(())
}

fn replay_all(client: &Client, queue: &str, json: bool) -> Outcome {
    check_queue(client, queue)?;
    let outcome = wait(client.dlq_replay_all(queue))?;
    let (replayed, failed) = (outcome.replayed, outcome.failed);
    if json {
        let first_error = &outcome.first_error;
        let all = serde_json::json!({ "replayed": replayed, "failed": failed, "first_error": first_error });
        output::line(&all.to_string())?;
    } else {
        output::line(&format!("{replayed} replayed"))?;
    }
    match outcome.first_error {
        Some(error) => Err(Failure::Other(format!("{failed} could not be replayed and stay, the first: {error}"))),
        None => Ok(()),
    }
}

fn purge(client: &Client, queue: &str, older_than: &str) -> Outcome {
    check_queue(client, queue)?;
    let count = wait(client.dlq_purge(queue, &Interval::Text(older_than.to_owned())))?;
    output::line(&format!("{count} deleted"))
}
