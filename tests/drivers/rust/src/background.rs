//! Consumers and tickers, which run on threads of their own.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use pgque::runtime::wait;
use pgque::{Consumer, ConsumerOptions, Interval, Message, Settings, Ticker, TickerOptions, Verdict};
use serde_json::{Map, Value};

use crate::args::Args;
use crate::{Answer, Fault, json};

const HANG: Duration = Duration::from_secs(60);
const SLOW: Duration = Duration::from_secs(3);

/// The messages that handlers were given so far.
#[derive(Default)]
struct Seen {
    messages: Mutex<Vec<Value>>,
    changed: Condvar,
}

pub struct RunningConsumer {
    consumer: Consumer,
    seen: Arc<Seen>,
    thread: JoinHandle<pgque::Result<()>>,
}

impl RunningConsumer {
    pub fn start(args: &Args) -> Answer<RunningConsumer> {
        let mut options = ConsumerOptions::new(args.text("queue")?, args.text("name")?);
        for (name, value) in object(args, "options") {
            options.set(name, &plain(value))?;
        }
        let consumer = Consumer::new(Settings::parse(args.text("dsn")?)?, options)?;
        let mut behaviours = Vec::new();
        for (event_type, behaviour) in object(args, "handlers") {
            // The first handler has the number 0, the next 1, for the types are distinct.
            consumer.on(event_type);
            behaviours.push(plain(behaviour));
        }
        let seen = Arc::new(Seen::default());
        let (running, sees) = (consumer.clone(), seen.clone());
        let thread = std::thread::spawn(move || {
            let mut failed_before = HashSet::new();
            wait(running.run(async |number, message| {
                sees.note(message);
                behave(&behaviours[number], message, &mut failed_before).await
            }))
        });
        Ok(RunningConsumer { consumer, seen, thread })
    }

    pub fn seen(&self, count: usize, timeout: Duration) -> Value {
        self.seen.wait(count, timeout)
    }

    pub fn stop(self) -> Answer {
        self.consumer.stop();
        joined(self.thread)
    }
}

impl Seen {
    fn note(&self, message: &Message) {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).push(json::message(message));
        self.changed.notify_all();
    }

    fn wait(&self, count: usize, timeout: Duration) -> Value {
        let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let too_few = |messages: &mut Vec<Value>| messages.len() < count;
        let waited = self.changed.wait_timeout_while(messages, timeout, too_few);
        let (messages, _) = waited.unwrap_or_else(PoisonError::into_inner);
        messages.clone().into()
    }
}

async fn behave(behaviour: &str, message: &Message, failed_before: &mut HashSet<i64>) -> Verdict {
    match behaviour {
        "fail" => failed(),
        "fail_once" if failed_before.insert(message.msg_id) => failed(),
        "retry" => Verdict::Retry { after: Some(Interval::Seconds(0.0)), reason: Some("later".into()) },
        "dead" => Verdict::Dead { reason: Some("beyond repair".into()) },
        "hang" => after(HANG).await,
        "slow" => after(SLOW).await,
        _ => Verdict::Ack,
    }
}

fn failed() -> Verdict {
    Verdict::Retry { after: None, reason: Some("handler failed on purpose".into()) }
}

async fn after(pause: Duration) -> Verdict {
    tokio::time::sleep(pause).await;
    Verdict::Ack
}

pub struct RunningTicker {
    ticker: Ticker,
    thread: JoinHandle<pgque::Result<()>>,
}

impl RunningTicker {
    pub fn start(args: &Args) -> Answer<RunningTicker> {
        let mut options = TickerOptions::default();
        for (name, value) in object(args, "options") {
            options.set(name, &plain(value))?;
        }
        let ticker = Ticker::new(Settings::parse(args.text("dsn")?)?, options);
        let running = ticker.clone();
        let thread = std::thread::spawn(move || wait(running.run()));
        Ok(RunningTicker { ticker, thread })
    }

    pub fn stop(self) -> Answer {
        self.ticker.stop();
        joined(self.thread)
    }
}

fn joined(thread: JoinHandle<pgque::Result<()>>) -> Answer {
    let ended = thread.join().map_err(|_| Fault::Driver("the thread panicked".into()))?;
    Ok(ended.map(|()| Value::Null)?)
}

fn object<'a>(args: &'a Args, name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    args.0.get(name).and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

/// Text as it is, a number as its digits.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
