//! Producers, whose calls come from many tasks at once.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use pgque::runtime::{time_limit, wait};
use pgque::{Event, Payload, Payloads, Producer, ProducerOptions, Settings};
use serde_json::{Value, json};

use crate::args::Args;
use crate::background::{object, plain};
use crate::pipeline::send_all;
use crate::{Answer, Fault};

#[derive(Default)]
pub struct Producers(HashMap<String, Producer>);

impl Producers {
    pub fn call(&mut self, op: &str, args: &Args) -> Answer {
        let name = args.text("producer")?.to_owned();
        if op == "producer_start" {
            let mut options = ProducerOptions::default();
            for (name, value) in object(args, "options") {
                options.set(name, &plain(value))?;
            }
            self.0.insert(name, Producer::new(Settings::parse(args.text("dsn")?)?, options)?);
            return Ok(Value::Null);
        }
        let unknown = || Fault::Driver(format!("there is no producer {name}"));
        let producer = self.0.get(&name).ok_or_else(unknown)?;
        match op {
            "producer_send" => Ok(json!(wait(producer.send(args.text("queue")?, &args.event()?))?.to_string())),
            "producer_send_many" => send_many(producer, args),
            "producer_submit" => {
                let producer = pgque::blocking::Producer::from(producer.clone());
                send_all(args, |queue, event| producer.submit(queue, event), || producer.flush())
            }
            "producer_flush" => Ok(wait(producer.flush()).map(|()| Value::Null)?),
            "producer_close" => {
                let deadline = time_limit("close", "deadline", args.number("deadline").unwrap_or(f64::INFINITY))?;
                Ok(wait(producer.close(deadline.unwrap_or(Duration::MAX))).map(|()| Value::Null)?)
            }
            _ => {
                let stats = producer.stats();
                Ok(stats.entries().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect())
            }
        }
    }
}

/// Each payload by a call of its own, from so many tasks at once.
fn send_many(producer: &Producer, args: &Args) -> Answer {
    let (queue, event_type) = (args.text("queue")?, args.maybe_text("type").map(str::to_owned));
    let Payloads::Json(payloads) = args.payloads() else { return Err(Fault::Driver("payloads are missing".into())) };
    let ids: Mutex<Vec<Value>> = Mutex::new(vec![Value::Null; payloads.len()]);
    let next = AtomicUsize::new(0);
    let task = async || -> pgque::Result<()> {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(payload) = payloads.get(index) else { return Ok(()) };
            let payload = Payload::Json(payload.clone());
            let event = Event { event_type: event_type.clone(), payload, ..Event::default() };
            let id = producer.send(queue, &event).await?;
            ids.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[index] = json!(id.to_string());
        }
    };
    let tasks = args.integer("tasks").unwrap_or(1);
    let ended = wait(async { Ok(join_all((0..tasks).map(|_| task())).await) })?;
    ended.into_iter().collect::<pgque::Result<()>>()?;
    Ok(ids.into_inner().unwrap_or_default().into())
}
