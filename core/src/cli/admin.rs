//! The engine, its queues and subscriptions.

use std::io::{IsTerminal, Write};

use super::args::Global;
use super::failure::{Failure, Outcome};
use super::{connect, output};
use crate::client::Client;
use crate::error::{Error, Kind};
use crate::runtime::wait;
use crate::schema::SCHEMA_VERSION;

const STATUS_COLUMNS: [(&str, &str); 3] = [("component", "component"), ("status", "status"), ("detail", "detail")];
const QUEUE_COLUMNS: [(&str, &str); 5] = [
    ("queue_name", "queue"),
    ("ev_new", "new events"),
    ("ev_per_sec", "events/s"),
    ("last_tick_id", "tick"),
    ("ticker_lag", "tick age (s)"),
];
const CONSUMER_COLUMNS: [(&str, &str); 6] = [
    ("queue_name", "queue"),
    ("consumer_name", "consumer"),
    ("pending_events", "pending"),
    ("lag", "lag (s)"),
    ("last_seen", "last seen (s)"),
    ("current_batch", "open batch"),
];

pub(super) fn uninstall(global: &Global, yes: bool) -> Outcome {
    if !yes && !confirmed()? {
        return Err(Failure::Other("nothing was removed; repeat and answer `yes`, or give --yes".into()));
    }
    wait(crate::uninstall(&connect(global)?))?;
    output::line("uninstalled")
}

fn confirmed() -> Outcome<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage("uninstall removes all queues with their events; confirm with --yes".into()));
    }
    let mut prompt = std::io::stderr();
    write!(prompt, "This removes all queues with their events. Type `yes` to go on: ")?;
    prompt.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

pub(super) fn status(client: &Client, json: bool) -> Outcome {
    let (status, queues, consumers) = wait(async {
        Ok((client.status().await?, client.queue_info(None).await?, client.consumer_info(None, None).await?))
    })?;
    if json {
        let all = serde_json::json!({
            "status": status.to_json(), "queues": queues.to_json(), "consumers": consumers.to_json(),
        });
        return output::line(&all.to_string());
    }
    output::table(&status, &STATUS_COLUMNS)?;
    output::line("")?;
    output::table(&queues, &QUEUE_COLUMNS)?;
    output::line("")?;
    output::table(&consumers, &CONSUMER_COLUMNS)
}

pub(super) fn create_queue(client: &Client, queue: &str) -> Outcome {
    let new = wait(client.create_queue(queue))? > 0;
    output::line(&format!("queue {queue} {}", if new { "created" } else { "exists already" }))
}

pub(super) fn list_queues(client: &Client, json: bool) -> Outcome {
    let queues = wait(client.queue_info(None))?;
    match json {
        true => output::line(&queues.to_json().to_string()),
        false => output::table(&queues, &QUEUE_COLUMNS),
    }
}

pub(super) fn set_queue_config(client: &Client, queue: &str, name: &str, value: Option<&str>) -> Outcome {
    wait(client.set_queue_config(queue, name, value))?;
    output::line(&format!("{name} of queue {queue} is {}", value.unwrap_or("its default")))
}

pub(super) fn drop_queue(client: &Client, queue: &str, force: bool) -> Outcome {
    wait(client.drop_queue(queue, force))?;
    output::line(&format!("queue {queue} dropped"))
}

pub(super) fn subscribe(client: &Client, queue: &str, consumer: &str) -> Outcome {
    let new = wait(client.subscribe(queue, consumer))? > 0;
    let what = if new { "is subscribed" } else { "was subscribed already" };
    output::line(&format!("consumer {consumer} {what} to {queue}"))
}

pub(super) fn unsubscribe(client: &Client, queue: &str, consumer: &str) -> Outcome {
    match wait(client.unsubscribe(queue, consumer))? {
        0 => {
            let message = format!("{consumer} is not subscribed to {queue}");
            Err(Error::new(Kind::ConsumerNotFound, "unsubscribe", message).into())
        }
        _ => output::line(&format!("consumer {consumer} is removed from {queue}")),
    }
}

/// Asks a server only where one is named: the library's own version must not need any.
pub(super) fn version(global: &Global) -> Outcome {
    let mut versions = serde_json::json!({ "library": crate::VERSION, "schema": SCHEMA_VERSION });
    if global.dsn.is_some() {
        let client = connect(global)?;
        versions["server"] = match wait(client.version()) {
            Ok(version) => version.into(),
            Err(error) if error.kind() == Kind::NotInstalled => serde_json::Value::Null,
            Err(error) => return Err(error.into()),
        };
        versions["postgresql"] = server_version(&client)?.into();
    }
    if global.json {
        return output::line(&versions.to_string());
    }
    for (title, key) in
        [("library", "library"), ("schema", "schema"), ("server", "server"), ("postgresql", "postgresql")]
    {
        match &versions[key] {
            serde_json::Value::String(text) => output::line(&format!("{title:<11}{text}"))?,
            serde_json::Value::Null if versions.get(key).is_some() => {
                output::line(&format!("{title:<11}not installed"))?
            }
            serde_json::Value::Null => {}
            other => output::line(&format!("{title:<11}{other}"))?,
        }
    }
    Ok(())
}

/// As PostgreSQL writes it, for instance `15.18`.
pub(super) fn server_version(client: &Client) -> Outcome<String> {
    let number = wait(client.capabilities())?.server_version;
    Ok(format!("{}.{}", number / 10_000, number % 10_000))
}
