//! Sends that are begun one behind the other, and waited for together.

use pgque::{Client, Event, Pending, blocking};
use serde_json::{Value, json};

use crate::args::Args;
use crate::json::error as library_error;
use crate::{Answer, Fault};

pub fn pipelined(client: &Client, args: &Args) -> Answer {
    let client = blocking::Client::from(client.clone());
    let pipeline = client.pipeline()?;
    let then = || if args.flag("commit") == Some(true) { client.commit() } else { Ok(()) };
    send_all(args, |queue, event| pipeline.send(queue, event), || then().and(pipeline.flush()))
}

/// The outcome of each of the request's events, and of the flush behind them.
pub fn send_all(
    args: &Args,
    send: impl Fn(&str, Event) -> pgque::Result<Pending<i64>>,
    flush: impl FnOnce() -> pgque::Result<()>,
) -> Answer {
    let no_events = || Fault::Driver("argument events is missing".into());
    let events = args.0.get("events").and_then(Value::as_array).ok_or_else(no_events)?;
    let mut begun = Vec::new();
    for event in events {
        let event = Args(event.as_object().cloned().unwrap_or_default());
        begun.push(send(event.text("queue")?, event.event()?));
    }
    let flushed = flush().map_or_else(|e| library_error(&e), |()| Value::Null);
    let outcome = |begun: pgque::Result<Pending<i64>>| match begun.and_then(|pending| pending.wait(None)) {
        Ok(id) => json!({ "id": id.to_string() }),
        Err(error) => json!({ "error": library_error(&error) }),
    };
    Ok(json!({ "outcomes": begun.into_iter().map(outcome).collect::<Value>(), "flush": flushed }))
}
